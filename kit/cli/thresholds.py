"""`kit thresholds`."""

from typing import Annotated, Any

import typer

from kit.cli.options import Json, RunName


def command(
    run: RunName = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="half, one, per-class or share; by default that of the highest estimate."),
    ] = None,
    json: Json = False,
) -> None:
    """Tune from which probability on a class is given, on out-of-fold predictions; kit submit then uses it.

    Thresholds flatter on the rows that chose them: the nested estimate is made on rows that did not.

    \b
    Example:
        kit thresholds
        kit thresholds protein-20260101-120000 --method share
    """
    from kit.console import Console
    from kit.errors import KitError, nearest
    from kit.inference.decision import tune_run
    from kit.inference.thresholds import METHODS
    from kit.plugin.registry import Registry
    from kit.run import find_run

    if method is not None and method not in METHODS:
        raise KitError(f"--method {method}: {nearest(method, list(METHODS))}")
    console, registry = Console(json), Registry()

    def suits(each: Any) -> bool:
        return each.has("oof.npz") and registry.competitions.get(each.config.competition).task == "multilabel"

    found = find_run(run, suits, "of a multi-label task with out-of-fold predictions")
    document = tune_run(registry, found, method, console)
    rows = [
        ("-> " + name if name == document["chosen"] else "   " + name, way["what"], f"{way['fitted']:.4f}",
         f"{way['estimate']:.4f}")
        for name, way in document["methods"].items()
    ]  # fmt: skip
    estimate = document["estimate"]
    console.table(f"{found.id}: macro F1 over {estimate['ids']} ids",
                  ["method", "what it does", "fitted (flatters)", "nested estimate"], rows)  # fmt: skip
    console.table(
        "",
        ["class", "positives", "given", "cut", "F1 at 0.5", "F1 nested"],
        [[row["class"], row["positives"], row["given"], f"{row['cut']:.3f}", f"{row['f1_at_half']:.3f}",
          f"{row['f1']:.3f}"] for row in document["classes"]],
    )  # fmt: skip
    console.say(
        f"{document['chosen']}: macro F1 {estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]   "
        f"saved: {document['path']}   next: kit submit {found.id} --dry-run"
    )
    console.result(document)
