"""`kit log`: render the experiment log."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import CompetitionName, Json


def command(
    competition: CompetitionName,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the Markdown to this file, not to stdout.")
    ] = None,
    json: Json = False,
) -> None:
    """Print a competition's experiment log as Markdown.

    One row per run, oldest first. Set a run's note when you train it: kit train histo --set note="larger images".

    \b
    Example:
        kit log histo
        kit log histo --out EXPERIMENTS.md
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.errors import KitError
    from kit.files import write_bytes
    from kit.paths import runs_dir
    from kit.reports.experiment_log import log_markdown, log_rows
    from kit.runs import all_runs

    console, known = Console(json), current_registry().competitions.get(competition)
    rows = log_rows([run for run in all_runs() if run.record["config"]["competition"] == known.name])
    if not rows:
        raise KitError(f"no run of {known.name} in {runs_dir()}: kit train {known.name} makes one")
    text = log_markdown(known.title, rows)
    if out is not None:
        write_bytes(out, text.encode())
        console.say(f"{out}: {len(rows)} runs")
    elif not json:
        console.say(text.removesuffix("\n"))
    console.result({"competition": known.name, "runs": rows})
