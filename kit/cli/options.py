"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

CompetitionName = Annotated[str, typer.Argument(metavar="COMPETITION", help="Name, alias or slug: kit list.")]
RunName = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Name or folder of a run; by default the newest that suits.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
Postprocess = Annotated[bool, typer.Option("--postprocess", help="Apply the competition's own post-processing.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE|RUN", help="A .toml file or an earlier run's folder.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of kit config; may be repeated.")
]
Tta = Annotated[int | None, typer.Option("--tta", help="Views averaged: 1, 2, 4 or 8 flips and right angles.")]
Scales = Annotated[
    str | None, typer.Option("--scales", metavar="S1,S2,...", help="Scales averaged, above 1 in ordered crops: 1,1.25.")
]
