"""`kit thresholds`."""

from typing import Annotated, Any

import typer

from kit.cli.options import Json, RunName

TITLES = {"macro_f1": "macro F1", "balanced_accuracy": "balanced accuracy"}
# Heading, key and form of the columns of a row a class.
CUTS = (
    ("class", "class", ""),
    ("positives", "positives", ""),
    ("given", "given", ""),
    ("cut", "cut", ".3f"),
    ("F1 at 0.5", "f1_at_half", ".3f"),
    ("F1 nested", "f1", ".3f"),
)
WEIGHTS = (
    ("class", "class", ""),
    ("ids", "positives", ""),
    ("given", "given", ""),
    ("weight", "weight", ".3g"),
    ("recall by largest", "recall_by_largest", ".3f"),
    ("recall nested", "recall", ".3f"),
)


def command(
    run: RunName = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method", help="half, one, per-class, share; or largest, prior, power, weights. By default the best."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Tune how probabilities become answers, on out-of-fold predictions; kit submit then uses it.

    From which probability on a class is given (multi-label), or how much each class weighs (balanced accuracy). A rule
    flatters on the rows that chose it: the nested estimate is made on rows that did not.

    \b
    Example:
        kit thresholds
        kit thresholds protein-20260101-120000 --method share
        kit thresholds ham10000-20260101-120000 --method prior
    """
    from kit.console import Console
    from kit.decision.thresholds import METHODS
    from kit.decision.tune import has_rule, tune_run
    from kit.decision.weights import WEIGHINGS
    from kit.errors import KitError, nearest
    from kit.hooks.registry import Registry
    from kit.run import find_run

    if method is not None and method not in {**METHODS, **WEIGHINGS}:
        raise KitError(f"--method {method}: {nearest(method, [*METHODS, *WEIGHINGS])}")
    console, registry = Console(json), Registry()

    def suits(each: Any) -> bool:
        return each.has("oof.npz") and has_rule(registry.competitions.get(each.config.competition))

    found = find_run(run, suits, "of a multi-label task, or one of balanced accuracy, with out-of-fold predictions")
    document = tune_run(registry, found, method, console)
    rows = [
        (
            "-> " + name if name == document["chosen"] else "   " + name,
            way["what"],
            f"{way['fitted']:.4f}",
            f"{way['estimate']:.4f}",
        )
        for name, way in document["methods"].items()
    ]
    estimate = document["estimate"]
    title = TITLES[document["metric"]]
    console.table(
        f"{found.id}: {title} over {estimate['ids']} ids",
        ["method", "what it does", "fitted (flatters)", "nested estimate"],
        rows,
    )
    console.table("", *_classes(document["classes"]))
    console.say(
        f"{document['chosen']}: {title} {estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]   "
        f"saved: {document['path']}   next: kit submit {found.id} --dry-run"
    )
    console.result(document)


def _classes(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    columns = CUTS if "cut" in rows[0] else WEIGHTS
    return [heading for heading, _, _ in columns], [[f"{row[key]:{form}}" for _, key, form in columns] for row in rows]
