"""A run's out-of-fold predictions together with the truth."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kit.data.open_run import OpenRun
from kit.decision.apply import predict_fold, rule_of
from kit.errors import KitError
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.task import HALF, Task


@dataclass(frozen=True)
class Scored:
    """One row per id, one column per class; a binary task has two columns.

    Args:
        task: of the competition.
        classes: K names.
        ids: n.
        fold: n, the fold whose network has not seen the id.
        truth: nxK truth values.
        predicted: nxK truth values, by the decision rule that has not seen the row, if the run has one.
        probabilities: nxK.
        losses: n, the loss of each id's prediction (`Task.losses`).
        thresholds: K for a multi-label task, the probability from which each class is predicted; else None.
    """

    task: Task
    classes: tuple[str, ...]
    ids: np.ndarray
    fold: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    losses: np.ndarray
    thresholds: np.ndarray | None = None

    @property
    def scored_classes(self) -> list[int]:
        """The classes with a curve of their own; in a binary task only the positive one."""
        return [self.classes.index(name) for name in self.task.outputs(self.classes)]

    @property
    def right(self) -> np.ndarray:
        """Whether each id is predicted right in all classes, n."""
        right: np.ndarray = (self.truth == self.predicted).all(1)
        return right

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each id."""
        return {id_: row for row, id_ in enumerate(self.ids.tolist())}


def score_run(opened: OpenRun) -> Scored:
    """Join a run's out-of-fold predictions with the index; raise `KitError` if the data does not fit."""
    run, index = opened.run, opened.index
    task, count = index.task, len(index.classes)
    oof = Predictions.load(run.reading("oof.npz"))
    unknown = ~np.isin(oof.ids.astype(str), index.train["id"].to_numpy(str))
    if unknown.any():
        raise KitError(
            f"{unknown.sum()} ids of run {run.id} are not in the data, the first is {oof.ids[unknown][0]!r}: "
            "restore the data it was trained on, or train again"
        )
    fold, target = opened.folds.of_ids(oof.ids), index.targets_of(oof.ids)
    return Scored(
        task=task,
        classes=tuple(index.classes),
        ids=oof.ids,
        fold=fold,
        truth=task.one_hot(target, count),
        predicted=task.one_hot(_predicted(run, task, oof.values, fold), count),
        probabilities=task.by_class(oof.values),
        losses=task.losses(target, oof.values),
        thresholds=None if task.single_label else _thresholds(run, oof.values),
    )


def _thresholds(run: Run, values: np.ndarray) -> np.ndarray:
    """Return the probability from which each class is predicted, K, by the rule of all folds, as for the test set."""
    rule = rule_of(run)
    thresholds = None if rule is None else rule.thresholds_for(values)
    return np.full(values.shape[1], HALF) if thresholds is None else thresholds


def _predicted(run: Run, task: Task, values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Predict fold by fold as `kit evaluate` does, and return it in the order of the rows."""
    by_fold = np.concatenate([predict_fold(run, task, each, values[fold == each]) for each in np.unique(fold).tolist()])
    predicted = np.empty_like(by_fold)
    predicted[np.argsort(fold, kind="stable")] = by_fold
    return predicted
