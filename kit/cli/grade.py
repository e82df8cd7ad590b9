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
    truth: Annotated[
        Path | None,
        typer.Option("--truth", metavar="FILE", help="Csv of the ground truth; by default that of a miniature."),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Run to grade; by default the newest with a submission.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE.csv", help="Grade this csv instead of a run's.")
    ] = None,
    json: Json = False,
) -> None:
    """Score a submission against the ground truth of the test set.

    A miniature has its own; for real data give a csv, e.g. a published one. The official score is written into the
    run's record, if that can be written.

    \b
    Example:
        kit grade histo
        kit grade ham10000 --truth ISIC2018_Task3_Test_GroundTruth.csv
        kit grade ham10000 --truth truth.csv --file other.csv
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.errors import DISK, KitError

    if run is not None and file is not None:
        raise KitError("--run and --file exclude each other: give one of them")
    console, registry = Console(json), current_registry()
    known = registry.competitions.get(competition)
    grade = registry.submissions.get(known.submission).grade
    if grade is None:
        raise KitError(f"{known.name} has no score that kit can compute itself: kit submit {known.name}")
    found = None if file is not None else _run(run, known.name)
    path = file if found is None else found.reading("submission.csv")
    if path is None or not path.is_file():
        raise KitError(f"no csv at {path}: give --file a submission")
    truth = _truth_of_miniature(known.name) if truth is None else truth
    if not truth.is_file():
        raise KitError(f"no ground truth at {truth}: give --truth the published csv")
    scores = dict(grade(path, truth))
    metric, value = next(iter(scores.items()))
    if not all(map(math.isfinite, scores.values())):
        raise KitError(f"{path} has no finite score against {truth}: is it the truth of these test images?")
    own = (found.score if found else None) or {}
    if found is not None:
        try:
            found.need_writable()
            found.update(lambda now: {"leaderboard": {**now.get("leaderboard", {}), "official": value}})
        except KitError as error:
            if error.code != DISK:
                raise
            console.warn(f"the score is not entered into the run: {error}")
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


def _truth_of_miniature(competition: str) -> Path:
    """Return the labels of the test images that a miniature was drawn with."""
    from kit.cli.context import current_registry
    from kit.data.store import Store
    from kit.errors import KitError
    from kit.paths import OWN

    store = Store.of(current_registry(), competition)
    path = store.root / OWN / "sample_test_labels.csv"
    if not store.is_miniature or not path.is_file():
        raise KitError(
            f"the truth of {competition}'s test images is not in {store.root}: give it with --truth FILE.csv"
        )
    return path


def _run(name: str | None, competition: str) -> "Run":
    from kit.errors import KitError
    from kit.runs import find_run, step_to

    found = find_run(name, "submission.csv", competition)
    if found.config.competition != competition:
        raise KitError(
            f"run {found.id} is of {found.config.competition}: kit grade {found.config.competition} grades it"
        )
    if not found.has("submission.csv"):
        raise KitError(f"run {found.id} has no submission: {step_to(found, 'submission.csv')}")
    return found
