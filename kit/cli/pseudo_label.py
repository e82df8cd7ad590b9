"""`kit pseudo-label`."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import Json, Plates, RunName


def command(
    run: RunName = None,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", min=0, max=1, help="Least probability of an answer that is kept.")
    ] = 0.9,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The csv; by default pseudo-labels.csv in the run.")
    ] = None,
    plates: Plates = False,
    json: Json = False,
) -> None:
    """Write what a run is sure of among the test images as a csv of further training data, for kit train --extra.

    \b
    Example:
        kit pseudo-label --min-confidence 0.95
        kit pseudo-label recursion-20260101-120000 --plates --out sure.csv
        kit train recursion --extra sure.csv
    """
    from kit.console import Console
    from kit.ensemble.pseudo_label import pseudo_label
    from kit.hooks.registry import Registry
    from kit.run import find_run

    console = Console(json)
    found = find_run(run, lambda each: each.has("test.npz"), "with predictions (kit predict)")
    path = out or found.path / "pseudo-labels.csv"
    document = pseudo_label(Registry(), found, min_confidence, path, plates)
    name = found.config.competition
    console.say(
        f"{document['ids']} of {document['of']} test ids at {min_confidence:g} or more: {path}   "
        f"next: kit train {name} --extra {path}"
    )
    console.result(document)
