"""`kit thresholds`: tune the decision rule."""

from typing import Annotated, Any

import typer

from kit.cli.options import Json, RunName

# Columns of the table of classes, by kind of rule: heading, key, format.
COLUMNS = {
    "thresholds": (
        ("class", "class", ""),
        ("positives", "positives", ""),
        ("predicted", "predicted", ""),
        ("threshold", "threshold", ".3f"),
        ("F1 at 0.5", "f1_at_half", ".3f"),
        ("F1 nested", "f1", ".3f"),
    ),
    "weights": (
        ("class", "class", ""),
        ("ids", "positives", ""),
        ("predicted", "predicted", ""),
        ("weight", "weight", ".3g"),
        ("recall by largest", "recall_by_largest", ".3f"),
        ("recall nested", "recall", ".3f"),
    ),
}


def command(
    run: RunName = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method", help="half, one, per-class, share; largest, prior, power, weights. By default the best."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Tune how probabilities become predicted classes.

    kit submit then uses the tuned rule. The metric chooses what is tuned on out-of-fold predictions: the threshold from
    which a class is predicted, or the weight of each class. A rule scores too well on the rows it was tuned on; the
    nested estimate uses other rows.

    \b
    Example:
        kit thresholds
        kit thresholds protein-20260101-120000 --method share
        kit thresholds ham10000-20260101-120000 --method prior
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.data.open_run import OpenRun
    from kit.decision.tune import METHODS, has_rule, tune_run
    from kit.errors import KitError, nearest
    from kit.runs import find_run

    if method is not None and method not in METHODS:
        raise KitError(f"--method {method}: {nearest(method, list(METHODS))}")
    console, registry = Console(json), current_registry()

    def suits(each: Any) -> bool:
        competition = registry.competitions.get(each.config.competition)
        return each.has("oof.npz") and has_rule(competition.task, registry.metrics.get(competition.metric))

    found = find_run(run, suits, "with out-of-fold predictions and a metric that needs a decision rule")
    document = tune_run(OpenRun(registry, found), method, console)
    rows = [
        (
            "-> " + name if name == document["chosen"] else "   " + name,
            tuned["what"],
            f"{tuned['fitted']:.4f}",
            f"{tuned['estimate']:.4f}",
        )
        for name, tuned in document["methods"].items()
    ]
    estimate = document["estimate"]
    title = document["metric"].replace("_", " ")
    console.table(
        f"{found.id}: {title} over {estimate['ids']} ids",
        ["method", "what it does", "fitted (optimistic)", "nested estimate"],
        rows,
    )
    console.table("", *_classes(document["kind"], document["classes"]))
    console.say(
        f"{document['chosen']}: {title} {estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]   "
        f"saved: {document['path']}   next: kit submit {found.id} --dry-run"
    )
    console.result(document)


def _classes(kind: str, rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    columns = COLUMNS[kind]
    return [heading for heading, _, _ in columns], [[f"{row[key]:{form}}" for _, key, form in columns] for row in rows]
