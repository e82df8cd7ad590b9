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
    summary = report["summary"]
    console.say(f"{report['title']}: run {report['run']}, {report['ids']} ids out of fold")
    scores = [
        (_named(score, bool(report["decision"])), _value(score["value"]), _interval(score)) for score in _scores(report)
    ]
    scores += [(f"fold {fold['fold']}", _value(fold["score"]), "") for fold in report["folds"]]
    scores.append(("mean over folds", _value(report["mean_over_folds"]), ""))
    console.table("score", ["", report["metric"]["label"], "95 % interval"], scores)
    for note in report["notes"]:
        console.say(f"note: {note}")
    if report["metrics"]:
        console.table("metrics", list(report["metrics"]), [[_value(value) for value in report["metrics"].values()]])
    console.table("summary", list(summary), [[_value(value) for value in summary.values()]])
    (_print_classes if report["has_classes"] else _print_numbers)(report, console)
    losses = [(id_, report["samples"][id_]) for id_ in report["top_losses"][:WORST]]
    console.table(
        "top losses",
        ["id", "truth", "predicted", "loss"],
        [
            [id_, _names(sample["truth"], report), _names(sample["predicted"], report), _value(sample["loss"])]
            for id_, sample in losses
        ],
    )
    suspects = report["suspects"]
    console.say(
        f"suspect {'labels' if report['has_classes'] else 'targets'}: {suspects['count']} of {suspects['of']}; "
        f"trained in {duration(report['provenance']['seconds'])}\n"
    )


def _print_classes(report: dict[str, Any], console: Console) -> None:
    classes = report["classes"]
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
    if report["grades"] and report["grades"]["cuts"]:
        cuts = zip(classes[1:], report["grades"]["cuts"], strict=True)
        console.say("grades by the expected grade: " + ", ".join(f"{name} from {cut:.3f}" for name, cut in cuts))


def _print_numbers(report: dict[str, Any], console: Console) -> None:
    names, numbers = report["classes"], report["numbers"]
    keys = {"RMSE": "rmse", "MAE": "mae", "R2": "r2", "bias": "bias"}
    rows = [[names[row["target"]], row["support"], *(_value(row[key]) for key in keys.values())] for row in numbers]
    console.table("errors by target", ["target", "ids", *keys], rows)
    shares = [f"{100 * float(share):g} %" for share in numbers[0]["quantiles"]]
    rows = [[names[row["target"]], *map(_value, row["quantiles"].values())] for row in numbers]
    console.table("quantiles of the residuals (predicted - true)", ["target", *shares], rows)


def _print_comparison(comparison: dict[str, Any], console: Console) -> None:
    rows = [
        [key, *("none" if value is None else str(value) for value in values)]
        for key, values in comparison["config"].items()
    ]
    console.table("what differs", ["configuration", *comparison["runs"]], rows)
    if not comparison["comparable"]:
        console.say(f"not comparable: they differ in {' and '.join(comparison['differ_in'])}")


def _scores(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the run's own figure first, then what it is with or without the decision rule."""
    found = [report["headline"], report["decision"], report["score"]]
    return [score for place, score in enumerate(found) if score and score not in found[:place]]


def _named(score: dict[str, Any], has_rule: bool) -> str:
    if "method" in score:
        return f"{score['metric']} by {score['method']}, nested"
    return f"{score['metric']}, without the rule" if has_rule else score["metric"]


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(score: dict[str, Any]) -> str:
    return "" if score["low"] is None else f"{score['low']:.4f} to {score['high']:.4f}"


def _names(chosen: list[list[Any]], report: dict[str, Any]) -> str:
    """Name the chosen classes with their probabilities, or targets with their numbers; an only target needs no name."""
    names = report["classes"]
    if report["has_classes"]:
        return ", ".join(f"{names[number]} {value:.2f}" for number, value in chosen) or "none"
    return ", ".join(f"{names[number]} {value:.4g}" if len(names) > 1 else f"{value:.4g}" for number, value in chosen)
