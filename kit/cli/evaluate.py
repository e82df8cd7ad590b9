"""`kit evaluate`."""

from typing import Annotated, Any

import typer

from kit.cli.options import Json, RunName


def command(
    run: RunName = None,
    fold: Annotated[int | None, typer.Option("--fold", help="Only this fold.")] = None,
    threshold: Annotated[float, typer.Option("--threshold", min=0, max=1, help="Cut of the probability.")] = 0.5,
    beta: Annotated[float, typer.Option("--beta", min=0, help="Weight of recall in F-beta.")] = 2.0,
    json: Json = False,
) -> None:
    """Validate a saved run again from its weights: metrics, report by class, confusion matrix.

    \b
    Example:
        kit evaluate histopathology-20260101-120000 --threshold 0.4
    """
    from kit.console import Console
    from kit.inference.evaluate import evaluate
    from kit.inference.trained import trained_folds
    from kit.plugin.registry import Registry
    from kit.run import find_run

    console = Console(json)
    found = find_run(run, lambda each: bool(trained_folds(each)), "with a trained fold")
    document = evaluate(Registry(), found, fold, threshold, beta, console)
    _print(document, console)
    console.result(document)


def _print(document: dict[str, Any], console: Any) -> None:
    scalars = [[name, f"{value:.4f}"] for name, value in document.items()
               if isinstance(value, float) and name not in ("threshold", "difference")]  # fmt: skip
    console.say(f"{document['run']}: {document['ids']} ids, threshold {document['threshold']}")
    console.table("", ["metric", "value"], scalars)
    columns = ["precision", "recall", "f1-score", "support"]
    report = {name: row for name, row in document["report"].items() if isinstance(row, dict)}
    rows = [[name, *(f"{row[column]:.4f}" for column in columns[:3]), int(row["support"])]
            for name, row in report.items()]  # fmt: skip
    console.table("report by class", ["class", *columns], rows)
    matrix = document["confusion"]
    if not isinstance(matrix[0][0], list):
        names = [name for name in report if "avg" not in name]
        console.table("confusion (rows: truth, columns: prediction)", ["", *names],
                      [[name, *row] for name, row in zip(names, matrix, strict=True)])  # fmt: skip
    folds = ", ".join(f"{number}: {value:.4f}" for number, value in document["folds"].items())
    console.say(f"{document['metric']} a fold: {folds}")
    console.say(f"largest difference from what training saved: {document['difference']:.2g}")
