"""A run: one directory that records how a model was trained and its results. One class reads and writes it.

run.json                 configuration, folds' digest, versions, state, results
folds.csv                id, fold
fold-<k>/checkpoint.json names the fold's current weight files with their digests
fold-<k>/*.safetensors   weights, optimiser state
fold-<k>/history.csv     one row per validation
fold-<k>/steps.csv       the training loss of every step
fold-<k>/loss.png        its picture
fold-<k>/result.json     the result of a finished fold
fold-<k>/oof.npz         predictions of the fold's validation images
fold-<k>/not-finite.json the rows of a batch whose loss was not finite
oof.npz, test.npz        out-of-fold and test predictions
manifest.json            sha256 of every file that does not carry its own
thresholds.json          the decision rule, and for each fold the rule tuned without it
external.csv             the ids of --external, each with the folds that don't learn from it
submission.csv
report.html, report.json written by kit report, which can write them again
gradcam/                 written by kit gradcam
log.txt                  what training printed

A blend (`kit blend`) has no weights: its predictions are those of its members.

A run appears whole, in one rename. Its parts are plain files: one with a link in it, which could lead a write anywhere,
is refused. JSON files carry their own digest (`kit.files`), weights have theirs in `checkpoint.json`.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from kit import __version__
from kit.config import TrainConfig, validate
from kit.errors import DISK, KitError
from kit.files import (
    atomic,
    cant_write,
    clear_temporaries,
    is_locked,
    locked,
    need_writable,
    read_json,
    refuse_links,
    sha256,
    write_json,
)
from kit.paths import runs_dir
from kit.record import FORMAT, LOSS_PICTURE, STEPS, FoldResult, Grown, Manifest, RuleRecord, RunRecord, read_history

# Writes one file of a new run to the path that it is given.
WriteFile = Callable[[Path], object]


class Run:
    """A run's directory. `record` holds the content of `run.json`; `update` changes it here and on disk."""

    def __init__(self, path: Path, record: RunRecord) -> None:
        self.path, self.record = path, record

    @classmethod
    def create(
        cls, config: TrainConfig, facts: Mapping[str, Any], files: Mapping[str, WriteFile] | None = None
    ) -> "Run":
        """Create a run under `$KIT_RUNS` with its configuration and these files, all at once."""
        now, folder = datetime.now(UTC), need_writable(runs_dir(), "set KIT_RUNS to a folder where runs can be written")
        folder.mkdir(parents=True, exist_ok=True)
        clear_temporaries(folder)
        name = f"{config.competition}-{now:%Y%m%d-%H%M%S}"
        draft = folder / f".{name}.{os.getpid()}.tmp"
        record: Any = {
            "format": FORMAT,
            "kit": __version__,
            "created": now.isoformat(timespec="microseconds"),
            "state": "created",
            "config": config.model_dump(mode="json"),
            **facts,
        }
        run = cls(draft, record)
        try:
            draft.mkdir()
            for name_, write in (files or {}).items():
                with run.writing(name_) as path:
                    write(path)
            write_json(draft / "run.json", record)
            run.path = _renamed(draft, folder / name)
        except OSError as error:
            raise cant_write(draft, error) from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Read a run; raise `KitError` if it is missing, damaged, in another format, or not made of plain files."""
        if not (path / "run.json").is_file():
            raise KitError(f"{path} is not a run (it has no run.json): kit runs lists them")
        refuse_links(path)
        clear_temporaries(path)
        return cls(path, _record(path))

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    @cached_property
    def config(self) -> TrainConfig:
        """The resolved configuration; a `KitError` names the first value that is not one of this kit's."""
        given = {**self.record["config"]}
        unknown = sorted(given.keys() - TrainConfig.model_fields.keys())
        try:
            if unknown:
                raise KitError(f"its configuration has {', '.join(unknown)}, which this kit does not know")
            return validate(given)
        except KitError as error:
            mend = f"use the kit that wrote it, {self.record['kit']} (this is {__version__})"
            raise KitError(f"{self.path / 'run.json'}: {error}: {mend}", error.code) from None

    @property
    def state(self) -> str:
        """created, running, interrupted, failed or finished; `stopped` if the process of a running one is gone."""
        state = self.record["state"]
        return "stopped" if state == "running" and not is_locked(self.path / ".lock") else state

    @property
    def decision(self) -> dict[str, Any] | None:
        """The nested estimate of the run's decision rule, with its method; None without a rule.

        A rule that was tuned on other out-of-fold predictions than the run has now does not count.
        """
        path = self.path / "thresholds.json"
        if not path.is_file():
            return None
        document = read_json(path, RuleRecord, f"kit thresholds {self.id} tunes it again")
        return document["decision"] if document["oof"] in self.manifest["files"].get("oof.npz", ()) else None

    @property
    def score(self) -> dict[str, Any] | None:
        """The run's expected score: the nested estimate of its decision rule, if it has one and its metric judges
        predicted classes, or else the cross-validated score; None if it has neither.

        Keys: metric, value, low, high, ids, and `ranked_by`: whether the `pooled` value or the mean over `folds` ranks
        runs (`MetricSpec.ranked_by`).
        """
        decision = self.decision
        return decision if decision is not None and decision.get("counts", True) else self.cross_validated

    @property
    def cross_validated(self) -> dict[str, Any] | None:
        """The cross-validated score without a decision rule; None if the run has none."""
        score = self.record.get("score")
        return None if score is None else {**score}

    @property
    def fold_scores(self) -> dict[int, float | None]:
        """The score of each finished fold by its own images, decided as for `score`; None where it is undefined."""
        by_fold: dict[str, float | None] = (self.score or {}).get("folds", {})
        return {fold: by_fold.get(str(fold), result["score"]) for fold, result in self.results.items()}

    @property
    def mean_over_folds(self) -> float | None:
        """The mean of `fold_scores`; None if one is undefined or there are none."""
        scores = list(self.fold_scores.values())
        known = [score for score in scores if score is not None]
        return sum(known) / len(known) if known and len(known) == len(scores) else None

    @property
    def ranking(self) -> float | None:
        """The figure that ranks runs of one competition: the score's value, or the mean over folds."""
        score = self.score or {}
        by_folds = self.mean_over_folds if score.get("ranked_by") == "folds" else None
        value: float | None = score.get("value") if by_folds is None else by_folds
        return value

    def update(self, change: Callable[[RunRecord], Mapping[str, Any]] | None = None, **fields: Any) -> None:
        """Change fields of `run.json`, here and on disk, where other processes may have changed others meanwhile.

        Args:
            change: what is on disk now -> the fields to change.
            fields: further fields.
        """
        with self._locked_record():
            now = _record(self.path)
            changed: Any = {**now, **fields, **(change(now) if change is not None else {})}
            if changed != now:
                write_json(self.path / "run.json", changed)
            self.record = changed

    @property
    def trained_folds(self) -> list[int]:
        """The folds whose training is complete."""
        return [fold for fold in self.record["planned"] if (self.fold_dir(fold) / "result.json").is_file()]

    def result(self, fold: int) -> FoldResult | None:
        """Return the result of a fold; None if it is not finished."""
        path = self.fold_dir(fold) / "result.json"
        mend = f"kit train --resume {self.id} trains the fold again once {path} is removed"
        return read_json(path, FoldResult, mend) if path.is_file() else None

    @property
    def results(self) -> dict[int, FoldResult]:
        """The result of each finished fold, by its number."""
        return {fold: found for fold in self._folds_with("result.json") if (found := self.result(fold)) is not None}

    def _folds_with(self, name: str) -> list[int]:
        """Return the numbers of the folds that have a file; a copy (`fold-0.bak`) is no fold."""
        folders = (path.parent.name for path in self.path.glob(f"fold-*/{name}"))
        return sorted(int(found[1]) for folder in folders if (found := re.fullmatch(r"fold-(\d{1,9})", folder)))

    def history(self, fold: int) -> list[dict[str, float | None]]:
        """Return the rows of a fold's `history.csv`, an empty cell as None; no rows if there is no such file yet."""
        name = f"fold-{fold}/history.csv"
        path = self.path / name
        if not path.is_file():
            return []
        if name in self.manifest["files"]:
            self.reading(name)
        return read_history(path)

    @property
    def epoch_seconds(self) -> dict[tuple[int, float], float]:
        """The seconds of training (without validation) of each whole epoch, by fold and number of epochs."""
        folds = self._folds_with("history.csv")
        return {(fold, epoch): seconds for fold in folds for epoch, seconds in self.epoch_seconds_of(fold).items()}

    def epoch_seconds_of(self, fold: int) -> dict[float, float]:
        """Return the seconds of training of each whole epoch of one fold."""
        # Seconds count from the start of an epoch, so the row at its end has the total.
        return {
            row["epoch"]: row["seconds"] or 0.0
            for row in self.history(fold)
            if row["epoch"] is not None and row["epoch"].is_integer()
        }

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

    def need_writable(self) -> None:
        """Raise `KitError` (code 5) if nothing can be written into the run; call it before computing."""
        need_writable(self.path, f"copy it (cp -r {self.path} FOLDER) and give the copy, FOLDER/{self.id}")

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Write one file of the run atomically and enter its digest into the manifest."""
        with atomic(self.path / name) as temporary:
            yield temporary
            digest = sha256(temporary)
            # Both digests are valid until the rename, so a kill in between does no harm.
            self.enter({name: [*self.manifest["files"].get(name, [])[-1:], digest]})
        self.enter({name: [digest]})

    def reading(self, name: str) -> Path:
        """Return the path of one file of the run after checking its bytes against the manifest."""
        path = self.path / name
        if not path.is_file():
            raise KitError(f"run {self.id} has no {name}: {self._mend(name)}")
        if sha256(path) not in self.manifest["files"].get(name, []):
            raise KitError(f"{path} was changed or damaged (its digest is not in the manifest): {self._mend(name)}")
        return path

    def _mend(self, name: str) -> str:
        """Return what makes a file of the run anew."""
        again = {
            "test.npz": f"kit predict {self.id} writes it again",
            "submission.csv": f"kit submit {self.id} --dry-run writes it again",
            "report.html": f"kit report {self.id} writes it again",
            "oof.npz": f"kit train --resume {self.id} joins it again from the folds",
        }
        return again.get(name, "restore it or train again")

    def has(self, name: str) -> bool:
        """Return whether the run has this file."""
        return (self.path / name).is_file()

    @property
    def manifest(self) -> Manifest:
        """The digests of the run's files: of those written whole, and of the beginnings of those that grow."""
        path = self.path / "manifest.json"
        if not path.exists():
            return {"files": {}, "grown": {}}
        return read_json(path, Manifest, "restore the run from a copy, or train again")

    def enter(self, files: Mapping[str, list[str] | None], grown: Mapping[str, Any] | None = None) -> None:
        """Enter digests into the manifest; None takes a file out of it."""
        # Several processes may train folds at once; none may lose an entry of another.
        with self._locked_record():
            now = self.manifest
            kept = {name: digests for name, digests in {**now["files"], **files}.items() if digests is not None}
            write_json(self.path / "manifest.json", {"files": kept, "grown": {**now["grown"], **(grown or {})}})

    def restart_fold(self, fold: int) -> None:
        """Remove what a fold has learned, so that it is trained again from the start."""
        folder = self.fold_dir(fold)
        # The result goes first and the weights last: whatever a kill leaves is an unfinished fold.
        for name in ("result.json", "checkpoint.json"):
            (folder / name).unlink(missing_ok=True)
        for name in ("oof.npz", "history.csv", STEPS, LOSS_PICTURE):
            self.remove(f"fold-{fold}/{name}")
        for path in folder.glob("*.safetensors"):
            path.unlink()

    def enter_grown(self) -> None:
        """Enter what files that are appended to (the log, those of trackers) hold by now, so that damage is noticed."""
        whole = self.manifest["files"]
        grown: dict[str, Grown] = {}
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            own = path.name.startswith(".") or path.suffix in (".json", ".safetensors") or name.startswith("gradcam/")
            if not own and name not in whole and path.is_file():
                grown[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        self.enter({}, grown)

    def remove(self, name: str) -> None:
        """Remove one file of the run, and its digest."""
        (self.path / name).unlink(missing_ok=True)
        if name in self.manifest["files"]:
            self.enter({name: None})

    @contextlib.contextmanager
    def _locked_record(self) -> Iterator[None]:
        with locked(self.path / ".record.lock"):
            yield


def _record(path: Path) -> RunRecord:
    file, mend = path / "run.json", "restore it from a copy, or train again"
    record = read_json(file, RunRecord, mend, FORMAT)
    folds = record["config"].get("folds")
    if folds is not None and any(not 0 <= fold < folds for fold in record["planned"]):
        raise KitError(f"{file} plans folds that are not among its {folds}: {mend}")
    return record


def _renamed(draft: Path, path: Path) -> Path:
    """Give a new run its name, the next free one of its second."""
    for attempt in range(1, 1000):
        target = path if attempt == 1 else path.with_name(f"{path.name}-{attempt}")
        try:
            # An empty folder is no run: it is replaced.
            os.rename(draft, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            return target
    raise KitError(f"no free name for a run in {path.parent}: clean it up", DISK)
