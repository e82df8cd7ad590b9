"""`kit thresholds`: tune the decision rule."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import Json, RunName

if TYPE_CHECKING:
    from kit.console import Console

# Columns of the table of classes: heading, key, format; those that a kind of rule lacks are left out.
COLUMNS = (
    ("class", "class", ""),
    ("ids", "positives", ""),
    ("predicted", "predicted", ""),
    ("threshold", "threshold", ".3f"),
    ("weight", "weight", ".3g"),
    ("cut", "cut", ".3f"),
    ("F1 at 0.5", "f1_at_half", ".3f"),
    ("F1 nested", "f1", ".3f"),
    ("recall by largest", "recall_by_largest", ".3f"),
    ("recall by rounding", "recall_by_rounding", ".3f"),
    ("recall nested", "recall", ".3f"),
    ("precision nested", "precision", ".3f"),
    ("sensitivity nested", "sensitivity", ".3f"),
    ("specificity nested", "specificity", ".3f"),
)
# Further columns of the table of methods, for a binary task.
FIGURES = (("cut", "cut"), ("sensitivity", "sensitivity"), ("specificity", "specificity"))


def command(
    run: RunName = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="half, one, per-class, share; largest, prior, power, weights; half, f-beta, youden; rounding, argmax, "
            "share, spread, tuned. By default the best.",
        ),
    ] = None,
    beta: Annotated[
        float | None, typer.Option("--beta", min=0, help="Weight of recall in F-beta; by default the metric's.")
    ] = None,
    sensitivity: Annotated[
        float | None, typer.Option("--sensitivity", min=0, max=1, help="Binary: the highest cut that reaches it.")
    ] = None,
    specificity: Annotated[
        float | None, typer.Option("--specificity", min=0, max=1, help="Binary: the lowest cut that reaches it.")
    ] = None,
    cost: Annotated[
        float | None,
        typer.Option("--cost", min=0, help="Binary: least cost, if a missed positive costs so many false alarms."),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="CLASS=P,...", help="Cuts by hand, scored like the tuned ones; of grades CUT,CUT,..."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Tune how probabilities become predicted classes.

    kit submit then uses the tuned rule. Task and metric choose what is tuned on out-of-fold predictions: the threshold
    from which a class is predicted, the weight of each class, or the cuts between grades. A rule scores too well on the
    rows it was tuned on; the nested estimate uses other rows. A binary task scored by AUC gets a cut that does not
    change its score.

    \b
    Example:
        kit thresholds
        kit thresholds protein-20260101-120000 --method share
        kit thresholds histopathology-20260101-120000 --sensitivity 0.95
        kit thresholds ham10000-20260101-120000 --at mel=0.2,nv=0.5
        kit thresholds --at 0.4,1.5,2.6,3.5
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.data.open_run import OpenRun
    from kit.decision.tune import METHODS, Wish, tune_run
    from kit.errors import KitError, nearest
    from kit.runs import find_run

    if method is not None and method not in METHODS:
        raise KitError(f"--method {method}: {nearest(method, list(METHODS))}")
    wanted = {"sensitivity": sensitivity, "specificity": specificity, "cost": cost}
    numbers = {name: number for name, number in wanted.items() if number is not None}
    chosen = [*(f"--{name}" for name in numbers), *(["--at"] if at else []), *(["--method"] if method else [])]
    if len(chosen) > 1 and chosen != [f"--{method}", "--method"]:
        raise KitError(f"{chosen[0]} and {chosen[1]} both choose the rule: give one of them")
    console = Console(json)
    found = find_run(run, "oof.npz")
    document = tune_run(OpenRun(current_registry(), found), Wish(method, beta, numbers, at), console)
    _print(document, console)
    console.result(document)


def _print(document: dict[str, Any], console: "Console") -> None:
    estimate, title = document["estimate"], document["metric"].replace("_", " ")
    figures = [(heading, key) for heading, key in FIGURES if key in next(iter(document["methods"].values()))]
    rows = [
        [
            ("-> " if name == document["chosen"] else "   ") + name,
            tuned["what"],
            _number(tuned["fitted"]),
            _number(tuned["estimate"]),
            *(_number(tuned[key]) for _, key in figures),
        ]
        for name, tuned in document["methods"].items()
    ]
    console.table(
        f"{document['run']}: {title} over {estimate['ids']} ids",
        ["method", "what it does", "fitted (optimistic)", "nested estimate", *(heading for heading, _ in figures)],
        rows,
    )
    console.table("", *_classes(document["classes"]))
    interval = "" if estimate["low"] is None else f" [{estimate['low']:.4f}, {estimate['high']:.4f}]"
    console.say(
        f"{document['chosen']}: {title} {_number(estimate['value'])}{interval}   "
        f"saved: {document['path']}   next: kit submit {document['run']} --dry-run"
    )
    if not document["counts"]:
        scored_by = document["scored_by"]
        console.say(f"{scored_by} judges probabilities as they are: the run's score stays what it was")


def _number(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.4f}"


def _classes(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    columns = [each for each in COLUMNS if each[1] in rows[0]]
    cells = [["" if row[key] is None else f"{row[key]:{form}}" for _, key, form in columns] for row in rows]
    return [heading for heading, _, _ in columns], cells
