"""`kit runs`."""

from kit.cli.options import Json


def command(json: Json = False) -> None:
    """List the runs: competition, model, size, folds, epochs, score, minutes, state.

    \b
    Example:
        kit runs --json
    """
    from kit.console import Console
    from kit.files import read_json
    from kit.paths import runs_dir
    from kit.run import all_runs

    console = Console(json)
    documents = []
    for run in all_runs():
        results = [read_json(path) for path in sorted(run.path.glob("fold-*/result.json"))]
        config = run.config
        documents.append(
            {
                "run": run.id,
                "competition": config.competition,
                "origin": run.record["origin"],
                "model": config.model,
                "size": config.size,
                "folds": f"{len(results)}/{config.folds}",
                "epochs": config.epochs,
                "metric": (run.record.get("score") or {}).get("metric"),
                "score": (run.record.get("score") or {}).get("value"),
                "minutes": round(sum(result["seconds"] for result in results) / 60, 1),
                "state": run.state,
            }
        )
    if not documents:
        console.say(f"no runs in {runs_dir()}: kit train makes one")
    else:
        rows = [[f"{cell:.4f}" if name == "score" and cell is not None else cell for name, cell in document.items()]
                for document in documents]  # fmt: skip
        console.table("", list(documents[0]), rows)
    console.result({"runs": documents})
