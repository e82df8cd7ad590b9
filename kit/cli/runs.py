"""`kit runs`: list runs or compare them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import Json

if TYPE_CHECKING:
    from kit.console import Console
    from kit.run import Run


def command(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN", help="Runs to compare, with --compare.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Show side by side how these runs differ.")] = False,
    json: Json = False,
) -> None:
    """List the runs with their scores, or compare some of them.

    Each row has competition, model, size, folds, epochs, score, its mean over folds, minutes and state. The metric
    chooses which of the two ranks runs: --compare marks it.

    \b
    Example:
        kit runs --json
        kit runs --compare RUN RUN
    """
    from kit.console import Console
    from kit.errors import KitError
    from kit.runs import find_run

    console = Console(json)
    if not compare:
        if runs:
            raise KitError(
                f"{runs[0]} without --compare: kit runs --compare RUN RUN compares runs, kit config RUN shows one's "
                "configuration"
            )
        _list(console)
        return
    if runs is None or len(set(runs)) < 2:
        raise KitError("a comparison needs two runs or more: kit runs --compare RUN RUN (kit runs lists them)")
    from kit.reports.compare import compare as compare_runs

    document = compare_runs([find_run(name) for name in dict.fromkeys(runs)])
    _print_comparison(document, console)
    console.result(document)


def _list(console: "Console") -> None:
    from kit.paths import runs_dir
    from kit.runs import all_runs, of_each

    documents = [row for _, row in of_each(all_runs(), _row)]
    if not documents:
        console.say(f"no runs in {runs_dir()}: kit train makes one")
    else:
        rows = [
            [
                f"{cell:.4f}" if name in ("score", "mean") and cell is not None else cell
                for name, cell in document.items()
            ]
            for document in documents
        ]
        console.table("", list(documents[0]), rows)
    console.result({"runs": documents})


def _row(run: "Run") -> dict[str, Any]:
    results, config, score = run.results, run.record["config"], run.score or {}
    return {
        "run": run.id,
        "competition": config["competition"],
        "origin": run.record["origin"],
        "model": config.get("model"),
        "size": config.get("size"),
        "folds": f"{len(results)}/{config.get('folds')}",
        "epochs": config.get("epochs"),
        "metric": score.get("metric"),
        "score": score.get("value"),
        "mean": run.mean_over_folds,
        "minutes": round(sum(result["seconds"] for result in results.values()) / 60, 1),
        "state": run.state,
    }


def _print_comparison(document: dict[str, Any], console: "Console") -> None:
    """Print two tables, and whether the runs are comparable."""
    names = document["runs"]
    config = [
        (key, *("none" if value is None else str(value) for value in values))
        for key, values in document["config"].items()
    ]
    if config:
        console.table("", ["configuration", *names], config)
    else:
        console.say("their configurations are the same")
    rows = [(f"fold {fold}", *map(_number, values)) for fold, values in document["folds"].items()]
    if document["common"]["folds"]:
        rows.append(("mean of common folds", *map(_number, document["common"]["scores"])))
    ranks = {document["ranked_by"]: "-> "}
    rows.append((ranks.get("folds", "") + "mean over folds", *map(_number, document["means"])))
    values = (_number(score and score["value"]) for score in document["score"])
    rows.append((ranks.get("pooled", "") + "all out-of-fold", *values))
    rows.append(
        (
            "95 % interval",
            *(
                f"{score['low']:.4f} to {score['high']:.4f}" if score and score["low"] is not None else ""
                for score in document["score"]
            ),
        )
    )
    if any(document["decided"]):
        rows.append(("decision rule", *(method or "none" for method in document["decided"])))
    console.table("", [document["metric"] or "score", *names], rows)
    if document["ranked_by"]:
        console.say(f"-> ranks runs of this metric{', each by its decision rule' * any(document['decided'])}")
    if not document["comparable"]:
        console.say(f"not comparable: they differ in {' and '.join(document['differ_in'])}")
    elif document["same_folds_trained"]:
        console.say(f"comparable: the folds are the same (digest {document['digests'][0][:12]})")
    else:
        console.say(
            f"comparable fold by fold: the folds are the same (digest {document['digests'][0][:12]}), "
            "but different ones are trained"
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
