"""`kit grade`: score a submission against published ground truth."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import CompetitionName, Json

if TYPE_CHECKING:
    from kit.run import Run


def command(
    competition: CompetitionName,
    truth: Annotated[Path, typer.Option("--truth", metavar="FILE", help="Csv of the published ground truth.")],
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Run to grade; by default the newest with a submission.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE.csv", help="Grade this csv instead of a run's.")
    ] = None,
    json: Json = False,
) -> None:
    """Score a submission against the published ground truth.

    The official score is written into the run's record.

    \b
    Example:
        kit submit ham10000 --dry-run
        kit grade ham10000 --truth ISIC2018_Task3_Test_GroundTruth.csv
        kit grade ham10000 --truth truth.csv --file other.csv
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.errors import KitError

    if run is not None and file is not None:
        raise KitError("--run and --file exclude each other: give one of them")
    console, registry = Console(json), current_registry()
    known = registry.competitions.get(competition)
    grade = registry.submissions.get(known.submission).grade
    if grade is None:
        raise KitError(
            f"{known.name} has no published ground truth that kit can grade against: kit submit {known.name}"
        )
    found = None if file is not None else _run(run, known.name)
    path = file if found is None else found.reading("submission.csv")
    if path is None or not path.is_file():
        raise KitError(f"no csv at {path}: give --file a submission")
    if not truth.is_file():
        raise KitError(f"no ground truth at {truth}: give --truth the published csv")
    scores = dict(grade(path, truth))
    metric, value = next(iter(scores.items()))
    if not all(map(math.isfinite, scores.values())):
        raise KitError(f"{path} has no finite score against {truth}: is it the truth of these test images?")
    own = (found.score if found else None) or {}
    if found is not None:
        found.update(lambda now: {"leaderboard": {**now.get("leaderboard", {}), "official": value}})
    console.table(
        f"{path}", ["", ""], [[name, f"{score:.4f}".rstrip("0").rstrip(".")] for name, score in scores.items()]
    )
    promise = ""
    if own.get("value") is not None:
        interval = "" if own["low"] is None else f" [{own['low']:.4f}, {own['high']:.4f}]"
        promise = f"   cross-validated {own['metric']}: {own['value']:.4f}{interval}"
    console.say(f"{metric}: {value:.4f}{promise}")
    console.result(
        {
            "competition": known.name,
            "run": found.id if found else None,
            "path": path,
            "metric": metric,
            "value": value,
            "scores": scores,
            "cross_validated": own or None,
        }
    )


def _run(name: str | None, competition: str) -> "Run":
    from kit.errors import KitError
    from kit.runs import find_run

    found = find_run(
        name, lambda each: each.has("submission.csv"), "with a submission", "kit submit {} --dry-run", competition
    )
    if found.config.competition != competition or not found.has("submission.csv"):
        raise KitError(f"run {found.id} has no submission of {competition}: kit submit {found.id} --dry-run")
    return found
