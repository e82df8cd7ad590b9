"""Find runs on this disk. One that is damaged is named and passed over: it stops nothing of the others."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from kit.console import Console
from kit.errors import KitError, nearest
from kit.paths import runs_dir
from kit.run import Run

T = TypeVar("T")


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


def find_run(reference: str | None, suits: Callable[[Run], bool] = lambda run: True, wanted: str = "") -> Run:
    """Find a run by its folder or name; without a reference, the newest one that `suits`.

    Args:
        reference: a path, a name under `$KIT_RUNS`, or None.
        suits: which runs qualify when none is named.
        wanted: how the error describes such a run, e.g. "with predictions (kit predict)".
    """
    if reference is None:
        suiting = [run for run, suiting in of_each(all_runs(), suits) if suiting]
        if not suiting:
            raise KitError(f"no run {wanted} in {runs_dir()}: kit train makes one".replace("  ", " "))
        return suiting[-1]
    path = find_run_path(reference)
    if path is None:
        raise KitError(f"no run {reference!r} in {runs_dir()}: {nearest_run(reference)}")
    return Run.open(path)


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
