"""`kit blend`: blend the predictions of several runs."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import Json

if TYPE_CHECKING:
    from kit.console import Console


def command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Runs with test predictions.")],
    oof: Annotated[
        list[Path] | None,
        typer.Option("--oof", metavar="FILE", help="Another tool's out-of-fold predictions: id, a column per class."),
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option("--test", metavar="FILE", help="Its test predictions; one per --oof, in the same order."),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", help="mean, rank, logit or weights; by default the best estimate.")
    ] = None,
    json: Json = False,
) -> None:
    """Blend predictions made on the same folds into a new run.

    kit thresholds and kit submit take the new run. Each method is judged on out-of-fold predictions; what it learns
    from them, such as weights, it learns without the fold that judges it.

    \b
    Example:
        kit blend histopathology-20260101-120000 histopathology-20260102-080000
        kit blend RUN --oof theirs.csv --test theirs-test.csv --method rank
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.ensemble.blend import METHODS, blend
    from kit.errors import KitError, nearest
    from kit.runs import find_run

    oof, test = oof or [], test or []
    if len(oof) != len(test):
        raise KitError(f"{len(oof)} --oof and {len(test)} --test: give both for each tool, in the same order")
    if method is not None and method not in METHODS:
        raise KitError(f"--method {method} is not known: {nearest(method, METHODS)}")
    console = Console(json)
    found = [find_run(name) for name in runs]
    document = blend(current_registry(), found, list(zip(oof, test, strict=True)), method, console)
    _print(document, console)
    console.result(document)


def _print(document: dict[str, Any], console: "Console") -> None:
    rows = [
        (
            row["name"],
            row["kind"],
            _number(row["estimate"]),
            ", ".join(f"{weight:.3f}" for weight in (row["weights"] or {}).values()),
        )
        for row in document["estimates"]
    ]
    score, run = document["score"], document["run"]
    console.table(document["scored_by"], ["blend of", "", "estimate", "weights"], rows)
    console.say(
        f"{document['method']}: {document['scored_by']} {_number(score['value'])} "
        f"[{_number(score['low'])}, {_number(score['high'])}] over {score['ids']} ids"
    )
    # Estimates made with thresholds need thresholds for the predictions too.
    following = f"kit submit {run} --dry-run" if document["scored_by"] == score["metric"] else f"kit thresholds {run}"
    console.say(f"run: {document['path']}   next: {following}")


def _number(value: float | None) -> str:
    return "undefined" if value is None or not isfinite(value) else f"{value:.4f}"
