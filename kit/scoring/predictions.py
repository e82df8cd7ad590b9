"""Predictions: ids x classes of probabilities, or ids x targets of numbers, saved as npz without pickle."""

import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.run import Run
from kit.task import Task


@dataclass(frozen=True)
class Predictions:
    """Probabilities per id and class; of a regression numbers per id and target.

    Args:
        ids: n ids as text; preferably an object array, which shares the index's strings.
        classes: K names; a binary task has one, the positive class.
        values: float32 nxK in 0..1; of a regression numbers in their own unit. Of an ordinal task whose grades a rule
            has decided, 1 for the grade and 0 for the rest.
        thresholds: K, of a binary or multi-label task: a class is predicted from its threshold on; None: 0.5. Not
            saved with the rest: `kit thresholds` keeps them.
        task: of the competition, where known, for `predicted`; not saved with the rest.
    """

    ids: np.ndarray
    classes: tuple[str, ...]
    values: np.ndarray
    thresholds: np.ndarray | None = None
    task: Task | None = None

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.ids), len(self.classes)):
            raise ValueError(f"values {self.values.shape} do not fit {len(self.ids)} ids x {len(self.classes)} classes")

    def save(self, path: Path) -> None:
        """Write an npz; equal predictions give equal bytes."""
        with path.open("wb") as file:
            np.savez(
                file,
                ids=_encode(self.ids),
                classes=np.asarray(self.classes, dtype=np.str_),
                values=np.asarray(self.values, dtype=np.float32),
            )

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read what `save` wrote."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(_decode(file["ids"]), tuple(str(name) for name in file["classes"]), file["values"])
        except (
            ValueError,
            TypeError,
            OSError,
            KeyError,
            EOFError,
            MemoryError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            mend = "kit predict writes it again" if path.name == "test.npz" else "restore it or train again"
            raise KitError(f"{path} can't be read ({error}): {mend}") from None

    def mean_by_id(self) -> "Predictions":
        """Return one row per id, in order of first appearance: the mean over the samples that share it."""
        codes, unique = pd.factorize(pd.Series(self.ids))
        if len(unique) == len(self.ids):
            return self
        sums = np.zeros((len(unique), len(self.classes)), np.float64)
        np.add.at(sums, codes, self.values)
        means = sums / np.bincount(codes)[:, None]
        return replace(self, ids=np.asarray(unique, dtype=object), values=means.astype(np.float32))

    def reorder(self, ids: "np.ndarray | list[str]") -> "Predictions":
        """Return the rows in the order of `ids`; an id without a prediction is a `KitError`."""
        rows = pd.Index(self.ids).get_indexer(pd.Index(ids))
        if (rows < 0).any():
            first = np.asarray(ids)[rows < 0][0]
            raise KitError(f"{(rows < 0).sum()} ids have no prediction, the first is {first}: kit predict makes them")
        return replace(self, ids=np.asarray(ids, dtype=object), values=self.values[rows])

    def predicted(self) -> np.ndarray:
        """Return what is predicted of each row.

        An ordinal task: n grades, class numbers, by tuned cuts if the run has some. A regression: nxK numbers. All
        others: the predicted classes, nxK booleans, of several classes at least one per row.
        """
        if self.task is not None and self.task.in_order:
            return self.task.predicted(self.values)
        thresholds = np.full(len(self.classes), 0.5) if self.thresholds is None else self.thresholds
        return at_thresholds(self.values, thresholds)


def out_of_fold(run: Run, fold: int | None = None) -> Predictions:
    """Join the out-of-fold predictions of all trained folds of a run, finished or not, or read those of one fold."""
    folds = run.need_network() if fold is None else [run.trained_fold(fold)]
    by_fold = [Predictions.load(run.reading(f"fold-{number}/oof.npz")) for number in folds]
    ids, values = (np.concatenate(several) for several in zip(*((p.ids, p.values) for p in by_fold), strict=True))
    return Predictions(ids, by_fold[0].classes, values)


def need_sound(run: Run, values: np.ndarray, ids: np.ndarray) -> None:
    """Raise `KitError` for predictions nxK that say nothing: not numbers, or the same for every image."""
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise KitError(
            f"the networks of run {run.id} predict no number for {len(bad)} of {len(values)} images, the first is "
            f"{ids[bad[0]]}: their weights are broken: train again with a smaller --lr than {run.config.lr:g}"
        )
    if len(values) > 2 and (values == values[0]).all():
        raise KitError(
            f"the networks of run {run.id} predict the same for all {len(values)} images, so they tell nothing apart: "
            f"train again with a smaller --lr than {run.config.lr:g}, or look at the images (kit explore)"
        )


def at_thresholds(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Apply K thresholds to probabilities nxK; of several classes, a row that reaches none gets its most probable."""
    predicted: np.ndarray = values >= thresholds
    if values.shape[1] == 1:  # the positive class of a binary task, which a row need not be of
        return predicted
    empty = np.flatnonzero(~predicted.any(1))
    predicted[empty, values[empty].argmax(1)] = True
    return predicted


def _encode(ids: np.ndarray) -> np.ndarray:
    """Encode ids as UTF-8 of one width: a quarter of the size of numpy's own text, with four bytes per character."""
    width = max((len(id_.encode()) for id_ in ids), default=1)
    return np.fromiter((id_.encode() for id_ in ids), np.dtype(f"S{max(width, 1)}"), len(ids))


def _decode(ids: np.ndarray) -> np.ndarray:
    """Decode what `_encode` returned, or the numpy text of files that earlier versions wrote."""
    texts = (id_.decode() for id_ in ids) if ids.dtype.kind == "S" else (str(id_) for id_ in ids)
    return np.fromiter(texts, object, len(ids))
