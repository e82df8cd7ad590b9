"""The essentials of a report, printed to the terminal."""

from typing import Any

from kit.console import Console, duration

WORST = 12  # classes, pairs of classes, losses


def print_document(document: dict[str, Any], console: Console) -> None:
    """Print the document of `kit report` as a few tables per run."""
    for report in document["runs"]:
        _print_run(report, console)
    if document["comparison"]:
        _print_comparison(document["comparison"], console)


def _print_run(report: dict[str, Any], console: Console) -> None:
    classes, summary = report["classes"], report["summary"]
    console.say(f"{report['title']}: run {report['run']}, {report['ids']} ids out of fold")
    scores = [
        (_named(score), _value(score["value"]), _interval(score))
        for score in (report["decision"], report["score"])
        if score
    ]
    scores += [(f"fold {fold['fold']}", _value(fold["score"]), "") for fold in report["folds"]]
    console.table("score", ["", report["metric"]["label"], "95 % interval"], scores)
    console.table("summary", list(summary), [[_value(value) for value in summary.values()]])
    rows = sorted(report["by_class"], key=lambda row: row["f1"])[:WORST]
    keys = ("support", "precision", "recall", "f1", "auc")
    cells = [[classes[row["class"]], row["support"], *(_value(row[key]) for key in keys[1:])] for row in rows]
    more = f" (the {WORST} of lowest F1, of {len(classes)})" if len(classes) > WORST else ""
    console.table(f"classes{more}", ["class", *keys], cells)
    pairs = report["confusion"]["pairs"][:WORST]
    console.table(
        "confused",
        ["truth", "predicted", "ids"],
        [[classes[pair["truth"]], classes[pair["predicted"]], pair["count"]] for pair in pairs],
    )
    losses = [(id_, report["samples"][id_]) for id_ in report["top_losses"][:WORST]]
    console.table(
        "top losses",
        ["id", "truth", "predicted", "loss"],
        [
            [id_, _names(sample["truth"], classes), _names(sample["predicted"], classes), _value(sample["loss"])]
            for id_, sample in losses
        ],
    )
    suspects = report["suspects"]
    console.say(
        f"{suspects['count']} of {suspects['of']} labels are suspect; trained in "
        f"{duration(report['provenance']['seconds'])}\n"
    )


def _print_comparison(comparison: dict[str, Any], console: Console) -> None:
    rows = [
        [key, *("none" if value is None else str(value) for value in values)]
        for key, values in comparison["config"].items()
    ]
    console.table("what differs", ["configuration", *comparison["runs"]], rows)
    if not comparison["comparable"]:
        console.say(f"not comparable: they differ in {' and '.join(comparison['differ_in'])}")


def _named(score: dict[str, Any]) -> str:
    return f"{score['metric']} by {score['method']}, nested" if "method" in score else score["metric"]


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(score: dict[str, Any]) -> str:
    return "" if score["low"] is None else f"{score['low']:.4f} to {score['high']:.4f}"


def _names(chosen: list[list[Any]], classes: list[str]) -> str:
    """Name the chosen classes with their probabilities."""
    return ", ".join(f"{classes[number]} {value:.2f}" for number, value in chosen) or "none"
