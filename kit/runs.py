"""Find runs on this disk. One that is damaged is named and passed over: it stops nothing of the others."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from kit.console import Console
from kit.errors import KitError, nearest
from kit.paths import runs_dir
from kit.run import Run

T = TypeVar("T")
# What commands need of a run, and how errors name a run that has it.
NEEDS = {
    "fold": "with a trained fold",
    "oof.npz": "with out-of-fold predictions",
    "test.npz": "with predictions",
    "submission.csv": "with a submission",
}


def all_runs() -> list[Run]:
    """Return every readable run, oldest first; warn of each that is not."""
    runs = []
    for path in sorted(runs_dir().glob("*/run.json")):
        if path.parent.name.startswith("."):
            continue  # a draft
        try:
            runs.append(Run.open(path.parent))
        except KitError as error:
            Console().warn(f"passed over a run: {error}")
    return sorted(runs, key=lambda run: (run.record["created"], run.id))


def find_run(
    reference: str | None, need: str | None = None, competition: str | None = None, older: bool = False
) -> Run:
    """Find a run by its folder or name; without a reference, the newest one, which must have what is needed of it.

    An older run never stands in for the newest without a word: nobody would see that what is printed is of another
    training, or even of another competition.

    Args:
        reference: a path, a name under `$KIT_RUNS`, or None.
        need: without a reference, what the run must have: a key of `NEEDS`.
        competition: without a reference, look only at runs of this one.
        older: whether an older run of the newest run's competition will do, with a warning.
    """
    if reference is not None:
        path = find_run_path(reference)
        if path is None:
            raise KitError(f"no run {reference!r} in {runs_dir()}: {nearest_run(reference)}")
        return Run.open(path)
    wanted = "" if need is None else NEEDS[need]
    runs = [run for run in all_runs() if competition in (None, run.record["config"]["competition"])]
    of = f"of {competition} " if competition else ""
    if not runs:
        raise KitError(f"no run {of}{wanted} in {runs_dir()}: kit train makes one".replace("  ", " "))
    newest = runs[-1]
    if need is None or _has(newest, need):
        return newest
    found = [run for run, suits in of_each(reversed(runs[:-1]), lambda run: _has(run, need)) if suits]
    own = [run for run in found if run.record["config"]["competition"] == newest.record["config"]["competition"]]
    if older and own:
        Console().warn(f"the newest run, {newest.id}, is no run {wanted}: {own[0].id} is taken")
        return own[0]
    another = f", or name another, e.g. {found[0].id}" if found else ""
    raise KitError(f"the newest run {of}is {newest.id}, which is no run {wanted}: {step_to(newest, need)}{another}")


def step_to(run: Run, need: str) -> str:
    """Return the command that comes first on the way to a key of `NEEDS` that a run lacks."""
    if "blend" in run.record:
        if need == "submission.csv":
            return f"kit submit {run.id} --dry-run"
        return (
            f"it is a blend of {', '.join(each['name'] for each in run.record['blend']['members'])}, name one of these"
        )
    if need in ("test.npz", "submission.csv") and run.trained_folds:
        return f"kit submit {run.id} --dry-run" if run.has("test.npz") else f"kit predict {run.id}"
    return f"kit train --resume {run.id}"


def _has(run: Run, need: str) -> bool:
    return bool(run.trained_folds) if need == "fold" else run.has(need)


def find_run_path(reference: str) -> Path | None:
    """Return the folder of a run by its path or name, readable or not; None if there is none."""
    paths = (runs_dir() / reference, Path(reference)) if "\0" not in reference else ()
    return next((path for path in paths if (path / "run.json").is_file()), None)


def of_each(runs: Iterable[Run], look: Callable[[Run], T]) -> Iterator[tuple[Run, T]]:
    """Yield each run with what `look` finds in it; warn of one that is damaged, and pass it over."""
    for run in runs:
        try:
            yield run, look(run)
        except KitError as error:
            Console().warn(f"passed over run {run.id}: {error}")


def nearest_run(reference: str) -> str:
    """Return the end of an error about an unknown run."""
    names = [path.parent.name for path in runs_dir().glob("*/run.json") if not path.parent.name.startswith(".")]
    return nearest(reference, names) if names else "kit train makes one"
