"""Arguments and options shared by several commands."""

from pathlib import Path
from typing import Annotated

import typer

CompetitionName = Annotated[str, typer.Argument(metavar="COMPETITION", help="Name, alias or slug (see kit list).")]
RunName = Annotated[
    str | None, typer.Argument(metavar="RUN", help="Name or folder of a run; by default the newest one.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
Postprocess = Annotated[bool, typer.Option("--postprocess", help="Apply the competition's own post-processing.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE|RUN", help="Read a .toml file or an earlier run's folder.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of kit config; repeatable.")
]
MachineSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set workers, pack or compile for this command; repeatable."),
]
Metrics = Annotated[
    list[str] | None, typer.Option("--metrics", metavar="NAME,...", help="Further metrics to compute; repeatable.")
]
Tta = Annotated[int | None, typer.Option("--tta", help="Views to average: 1, 2, 4 or 8 flips and quarter turns.")]
Scales = Annotated[
    str | None,
    typer.Option("--scales", metavar="S1,S2,...", help="Scales to average, e.g. 1,1.25; above 1 in ordered crops."),
]


def words(given: list[str] | None) -> list[str]:
    """Return the words of a repeatable option whose words may be joined by commas."""
    return [word.strip() for words in given or [] for word in words.split(",") if word.strip()]
