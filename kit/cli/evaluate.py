"""`kit evaluate`: validate a saved run again."""

from typing import Annotated, Any

import typer

from kit.cli.options import Json, MachineSettings, Metrics, Postprocess, RunName, Scales, Tta, words

CONFUSED = 12  # pairs of labels in the table; --json has all of them


def command(
    run: RunName = None,
    fold: Annotated[int | None, typer.Option("--fold", help="Evaluate this fold only.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0, max=1, help="Probability threshold; by default the tuned one, else 0.5."),
    ] = None,
    beta: Annotated[float, typer.Option("--beta", min=0, help="Weight of recall in F-beta.")] = 2.0,
    postprocess: Postprocess = False,
    tta: Tta = None,
    scales: Scales = None,
    metrics: Metrics = None,
    settings: MachineSettings = None,
    json: Json = False,
) -> None:
    """Validate a run again from its saved weights.

    Print metrics, a report by class and the confusion matrix; of numbers the errors of each target.

    \b
    Example:
        kit evaluate histopathology-20260101-120000 --threshold 0.4
        kit evaluate recursion-20260101-120000 --postprocess
        kit evaluate --tta 8 --scales 1,1.25 --metrics log_loss,roc_auc
    """
    from kit.cli.context import current_registry, need_card

    need_card()
    from kit.console import Console
    from kit.data.open_run import OpenRun
    from kit.inference.evaluate import evaluate
    from kit.inference.tta import views_of
    from kit.resolve import on_this_machine
    from kit.runs import find_run

    console = Console(json)
    found = find_run(run, "fold")
    views = [] if tta is None and scales is None else views_of(found.config, tta, scales)
    opened, names = OpenRun(current_registry(), found, on_this_machine(found, settings)), words(metrics)
    document = evaluate(opened, fold, threshold, beta, console, postprocess, views, names)
    _print(document, console)
    console.result(document)


def _print(document: dict[str, Any], console: Any) -> None:
    by = document["threshold"]
    decided = f", threshold {by:g}" if isinstance(by, float) else f", classes by the decision rule ({by})"
    console.say(f"{document['run']}: {document['ids']} ids{'' if by is None else decided}")
    scores = {**document["metrics"]}
    if "postprocessed" in document:
        scores[f"{document['metric']}, post-processed"] = document["postprocessed"]
    console.table("metrics", ["", "value"], [[name, _number(value)] for name, value in scores.items()])
    if by is None:
        _print_numbers(document, console)
    else:
        _print_classes(document, console)
    folds = ", ".join(f"{number}: {_number(value)}" for number, value in document["folds"].items())
    mean = document["mean_over_folds"]
    console.say(f"{document['metric']} per fold: {folds}" + ("" if mean is None else f"   mean {mean:.4f}"))
    if document["apart"]:
        console.warn(document["apart"])
    if document["difference"] is not None:
        console.say(f"largest difference from what training saved: {document['difference']:.2g}")


def _print_numbers(document: dict[str, Any], console: Any) -> None:
    """Print the errors of each target, and how the residuals are spread."""
    report = document["report"]
    keys = {"RMSE": "rmse", "MAE": "mae", "R2": "r2", "bias": "bias"}
    rows = [[name, row["support"], *(_number(row[key]) for key in keys.values())] for name, row in report.items()]
    console.table("errors by target", ["target", "ids", *keys], rows)
    shares = [f"{100 * float(share):g} %" for share in next(iter(report.values()))["quantiles"]]
    rows = [[name, *(_number(value) for value in row["quantiles"].values())] for name, row in report.items()]
    console.table("quantiles of the residuals (predicted - true)", ["target", *shares], rows)


def _print_classes(document: dict[str, Any], console: Any) -> None:
    """Print the figures of the predicted classes, class by class, and which are confused."""
    console.table(
        "of the predicted classes", ["", "value"], [[name, _number(value)] for name, value in document["table"].items()]
    )
    report = {name: row for name, row in document["report"].items() if isinstance(row, dict)}
    columns = {"precision": "precision", "recall": "recall", "F1": "f1-score", "AUC": "auc", "threshold": "threshold"}
    shown = {title: key for title, key in columns.items() if any(key in row for row in report.values())}
    rows = [
        [name, int(row["support"]), *(_number(row.get(key)) for key in shown.values())] for name, row in report.items()
    ]
    console.table("report by class", ["class", "support", *shown], rows)
    matrix = document["confusion"]
    names = [name for name in report if "avg" not in name]
    if "label_confusion" in document:
        _print_confused(names, document["label_confusion"], console)
    else:
        console.table(
            "confusion (rows: truth, columns: prediction)",
            ["", *names],
            [[name, *row] for name, row in zip(names, matrix, strict=True)],
        )


def _print_confused(names: list[str], matrix: list[list[int]], console: Any) -> None:
    """Print the pairs of labels most often confused: one is missed, the other predicted instead."""
    pairs = [
        (count, missed, predicted)
        for missed, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if missed != predicted and count
    ]
    rows = [
        [names[missed], names[predicted], count] for count, missed, predicted in sorted(pairs, reverse=True)[:CONFUSED]
    ]
    console.table("confusion between labels", ["missed", "predicted instead", "ids"], rows)


def _number(value: float | None) -> str:
    return "" if value is None else "undefined" if value != value else f"{value:.4f}"
