"""A run's out-of-fold predictions together with the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from kit.data.open_run import OpenRun
from kit.decision.apply import RunRules, figure_of, held_out, rules_of
from kit.errors import KitError
from kit.scoring.choice import named_metrics
from kit.scoring.predictions import Predictions
from kit.task import HALF, ORDINAL, Task


@dataclass(frozen=True)
class Scored:
    """One row per id, one column per class; a binary task has two columns, a regression one per target.

    Args:
        task: of the competition.
        classes: K names.
        ids: n.
        fold: n, the fold whose network has not seen the id.
        truth: nxK truth values, of a regression numbers.
        predicted: nxK truth values, by the decision rule that has not seen the row, if the run has one; of a regression
            numbers.
        probabilities: nxK; of a regression the predicted numbers.
        losses: n, the loss of each id's prediction (`Task.losses`).
        thresholds: of each output (one of a binary task), the probability from which it is predicted; None without a
            rule that has such thresholds.
        cuts: of an ordinal task, between which expected grades each grade is predicted; None where they do not decide.
        unseen: whether each row was decided by a rule that has not seen it.
        metrics: those that were asked for, by name.
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
    cuts: tuple[float, ...] | None = None
    unseen: bool = True
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def scored_classes(self) -> list[int]:
        """The classes with a curve of their own; in a binary task only the positive one."""
        return [self.classes.index(name) for name in self.task.outputs(self.classes)]

    @property
    def right(self) -> np.ndarray:
        """Whether each id is predicted right in all classes, n; of numbers, whether of the nearer half."""
        if not self.task.has_classes:
            return np.asarray(self.losses <= np.median(self.losses))
        right: np.ndarray = (self.truth == self.predicted).all(1)
        return right

    def threshold_of(self, number: int) -> float | None:
        """Return the probability from which a class with a curve is predicted; None where the likeliest class is."""
        if self.thresholds is None:
            return None if self.task.softmax else HALF
        return float(self.thresholds[self.scored_classes.index(number)])

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each id."""
        return {id_: row for row, id_ in enumerate(self.ids.tolist())}


def score_run(opened: OpenRun, further: Sequence[str] = ()) -> Scored:
    """Join a run's out-of-fold predictions with the index; raise `KitError` if the data does not fit.

    Args:
        opened: the run.
        further: names of metrics to compute.
    """
    specs = named_metrics(opened, further)
    run, index = opened.run, opened.index
    task, count = index.task, len(index.classes)
    oof = Predictions.load(run.reading("oof.npz"))
    unknown = ~np.isin(oof.ids.astype(str), index.train["id"].to_numpy(str))
    if unknown.any():
        raise KitError(
            f"{unknown.sum()} ids of run {run.id} are not in the data, the first is {oof.ids[unknown][0]!r}: "
            "restore the data it was trained on, or train again"
        )
    target, decided = index.targets_of(oof.ids), held_out(opened, oof.ids, oof.values)
    rules = rules_of(run)
    truth, predicted = target, decided.predicted
    if task.has_classes:
        truth, predicted = task.one_hot(target, count), task.one_hot(decided.predicted, count)
    return Scored(
        task=task,
        classes=tuple(index.classes),
        ids=oof.ids,
        fold=opened.folds.of_ids(oof.ids),
        truth=truth,
        predicted=predicted,
        probabilities=task.by_class(oof.values),
        losses=task.losses(target, oof.values),
        # As for the test set, by the rule of all folds.
        thresholds=None if rules is None else rules.rule.thresholds_for(oof.values),
        cuts=_cuts(task, count, rules),
        unseen=decided.unseen,
        metrics={spec.name: figure_of(opened, spec, target, oof.values, decided) for spec in specs},
    )


def _cuts(task: Task, count: int, rules: RunRules | None) -> tuple[float, ...] | None:
    """Return the cuts between grades: those of the run's rule, or without one those of rounding."""
    if task is not ORDINAL:
        return None
    if rules is None:
        return tuple(number + HALF for number in range(count - 1))
    cuts = rules.rule.document().get("cuts")
    return tuple(cuts) if cuts else None
