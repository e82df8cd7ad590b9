"""`kit pseudo-label`: turn confident test predictions into training data."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import Json, Postprocess, RunName


def command(
    run: RunName = None,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", min=0, max=1, help="Minimum probability of a prediction to keep.")
    ] = 0.9,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Csv to write; by default pseudo-labels.csv in the run."),
    ] = None,
    postprocess: Postprocess = False,
    json: Json = False,
) -> None:
    """Write confident test predictions as training labels.

    kit train --external takes the csv as further training data.

    \b
    Example:
        kit pseudo-label --min-confidence 0.95
        kit pseudo-label recursion-20260101-120000 --postprocess --out sure.csv
        kit train recursion --external sure.csv
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.data.open_run import OpenRun
    from kit.ensemble.pseudo_label import pseudo_label
    from kit.runs import find_run

    console = Console(json)
    found = find_run(run, "test.npz")
    if out is None:
        found.need_writable("give --out FILE to write elsewhere")
    path = out or found.path / "pseudo-labels.csv"
    document = pseudo_label(OpenRun(current_registry(), found), min_confidence, path, postprocess)
    name = found.config.competition
    console.say(
        f"{document['ids']} of {document['of']} test ids at {min_confidence:g} or more: {path}   "
        f"next: kit train {name} --external {path}"
    )
    console.result(document)
