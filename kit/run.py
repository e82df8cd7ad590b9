"""A run: one directory that records how a model was trained and its results. One class reads and writes it.

run.json                 configuration, folds' digest, versions, state, results
folds.csv                id, fold
fold-<k>/checkpoint.json names the fold's current weight files with their digests
fold-<k>/*.safetensors   weights, optimiser state
fold-<k>/history.csv     one row per validation
fold-<k>/result.json     the result of a finished fold
fold-<k>/oof.npz         predictions of the fold's validation images
oof.npz, test.npz        out-of-fold and test predictions
manifest.json            sha256 of the predictions, the folds and the submission
thresholds.json          the decision rule, and for each fold the rule tuned without it
external.csv             the ids of --external, each with the folds that don't learn from it
submission.csv
report.html, report.json written by kit report, which can write them again
gradcam/                 written by kit gradcam
log.txt                  what training printed

A blend (`kit blend`) has no weights: its predictions are those of its members.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit import __version__
from kit.config import TrainConfig, validate
from kit.errors import DISK, KitError, nearest
from kit.files import atomic, locked, read_json, sha256, write_json
from kit.paths import runs_dir

FORMAT = 2


class Run:
    """A run's directory. `record` holds the content of `run.json`; `update` changes it here and on disk."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path, self.record = path, record

    @classmethod
    def create(cls, config: TrainConfig, facts: Mapping[str, Any]) -> "Run":
        """Create a directory under `$KIT_RUNS` and write the configuration into it."""
        now = datetime.now(UTC)
        name = f"{config.competition}-{now:%Y%m%d-%H%M%S}"
        for attempt in range(1, 1000):
            path = runs_dir() / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            record = {
                "format": FORMAT,
                "kit": __version__,
                "id": path.name,
                "created": now.isoformat(timespec="microseconds"),
                "state": "created",
                "config": config.model_dump(mode="json"),
                **facts,
            }
            run = cls(path, record)
            run.update()
            return run
        raise KitError(f"no free name for a run in {runs_dir()}: clean it up", DISK)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Read a run; raise `KitError` if it is missing, damaged, or in another format."""
        if not (path / "run.json").is_file():
            raise KitError(f"{path} is not a run (it has no run.json): kit runs lists them")
        record = read_json(path / "run.json")
        found = record.get("format") if isinstance(record, dict) else None
        if found != FORMAT:
            older = isinstance(found, int) and found < FORMAT
            mend = "train again, or use the kit that wrote it" if older else "use the kit that wrote it"
            raise KitError(f"{path}/run.json has format {found!r}, this kit reads format {FORMAT}: {mend}")
        return cls(path, record)

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def config(self) -> TrainConfig:
        """The resolved configuration."""
        return validate(self.record["config"])

    @property
    def state(self) -> str:
        """created, running, interrupted, failed or finished; `stopped` if the process of a running one is gone."""
        state: str = self.record["state"]
        if state == "running":
            with contextlib.suppress(KitError), self.lock():
                return "stopped"
        return state

    @property
    def score(self) -> dict[str, Any] | None:
        """The run's expected score: the nested estimate of its decision rule if it has one, or else the
        cross-validated score; None if it has neither. Keys: metric, value, low, high, ids."""
        found: dict[str, Any] | None = self.record.get("decision") or self.record.get("score")
        return found

    def update(self, **fields: Any) -> None:
        """Change fields of `run.json`."""
        self.record.update(fields)
        write_json(self.path / "run.json", self.record)

    @property
    def trained_folds(self) -> list[int]:
        """The folds whose training is complete."""
        return [fold for fold in self.record["planned"] if (self.fold_dir(fold) / "result.json").is_file()]

    def result(self, fold: int) -> dict[str, Any] | None:
        """Return the result of a fold; None if it is not finished."""
        path = self.fold_dir(fold) / "result.json"
        result: dict[str, Any] | None = read_json(path) if path.is_file() else None
        return result

    @property
    def results(self) -> dict[int, dict[str, Any]]:
        """The result of each finished fold, by its number."""
        paths = {int(path.parent.name.removeprefix("fold-")): path for path in self.path.glob("fold-*/result.json")}
        return {fold: read_json(paths[fold]) for fold in sorted(paths)}

    def trained_fold(self, fold: int) -> int:
        """Return the number of a fold if it is trained; otherwise raise `KitError`."""
        if fold not in self.trained_folds:
            raise KitError(
                f"fold {fold} of run {self.id} is not trained: kit train --resume {self.id} --fold {fold}, "
                f"or --fold {' or '.join(map(str, self.trained_folds))}"
            )
        return fold

    def need_network(self) -> list[int]:
        """Return the trained folds; raise `KitError` if there are none."""
        if "blend" in self.record:
            names = ", ".join(member["name"] for member in self.record["blend"]["members"])
            raise KitError(f"run {self.id} is a blend of {names}, which has no network of its own: name one of these")
        if not self.trained_folds:
            raise KitError(f"run {self.id} has no trained fold: kit train --resume {self.id}")
        return self.trained_folds

    def fold_dir(self, fold: int) -> Path:
        """Return the folder of one fold."""
        return self.path / f"fold-{fold}"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for training; raise `KitError` if another process is training it."""
        busy = f"run {self.id} is being trained by another process: wait for it or stop it"
        with locked(self.path / ".lock", busy):
            yield

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Write one file of the run atomically and enter its digest into the manifest."""
        with atomic(self.path / name) as temporary:
            yield temporary
            digest = sha256(temporary)
            # Both digests are valid until the rename, so a kill in between does no harm.
            self._enter(name, [*self._manifest().get(name, [])[-1:], digest])
        self._enter(name, [digest])

    def reading(self, name: str) -> Path:
        """Return the path of one file of the run after checking its bytes against the manifest."""
        path = self.path / name
        if not path.is_file():
            raise KitError(f"run {self.id} has no {name}: kit train --resume {self.id} completes it")
        if sha256(path) not in self._manifest().get(name, []):
            raise KitError(f"{path} is damaged (its digest is not in the manifest): restore it or train again")
        return path

    def has(self, name: str) -> bool:
        """Return whether the run has this file."""
        return (self.path / name).is_file()

    def _manifest(self) -> dict[str, list[str]]:
        path = self.path / "manifest.json"
        manifest: dict[str, list[str]] = read_json(path) if path.is_file() else {}
        return manifest

    def _enter(self, name: str, digests: list[str]) -> None:
        # Several processes may train folds at once; none may lose an entry of another.
        with locked(self.path / ".manifest.lock"):
            write_json(self.path / "manifest.json", {**self._manifest(), name: digests})


def all_runs() -> list[Run]:
    """Return every readable run, oldest first."""
    runs = []
    for path in runs_dir().glob("*/run.json"):
        with contextlib.suppress(KitError):
            runs.append(Run.open(path.parent))
    return sorted(runs, key=lambda run: (run.record["created"], run.id))


def find_run(reference: str | None, suits: Callable[[Run], bool] = lambda run: True, wanted: str = "") -> Run:
    """Find a run by its folder or name; without a reference, the newest one that `suits`.

    Args:
        reference: a path, a name under `$KIT_RUNS`, or None.
        suits: which runs qualify when none is named.
        wanted: how the error describes such a run, e.g. "with predictions (kit predict)".
    """
    if reference is None:
        suiting = [run for run in all_runs() if suits(run)]
        if not suiting:
            raise KitError(f"no run {wanted} in {runs_dir()}: kit train makes one".replace("  ", " "))
        return suiting[-1]
    for path in (runs_dir() / reference, Path(reference)):
        if (path / "run.json").is_file():
            return Run.open(path)
    raise KitError(f"no run {reference!r} in {runs_dir()}: {nearest_run(reference)}")


def nearest_run(reference: str) -> str:
    """Return the end of an error about an unknown run."""
    return nearest(reference, [run.id for run in all_runs()]) if all_runs() else "kit train makes one"
