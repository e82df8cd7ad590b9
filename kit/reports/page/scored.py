"""A run's out-of-fold predictions beside the truth."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from kit.data.folds import folds_of_run
from kit.data.index import Index
from kit.decision.thresholds import Rule
from kit.decision.tune import decide_fold, rule_of
from kit.errors import KitError
from kit.hooks.specs import Task
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.scoring.ranking import sample_losses

CUT = 0.5


@dataclass(frozen=True)
class Scored:
    """One row an id, one column a class; a binary task has two.

    Args:
        task: of the competition.
        classes: K names.
        ids: n.
        fold: n, the fold whose network has not seen the id.
        truth: nxK truth values.
        decided: nxK truth values, the answers: by the decision rule that has not seen the row, where the run has one.
        probabilities: nxK.
        losses: n, what each id's prediction costs (`kit.scoring.ranking.sample_losses`).
        cuts: K of a multi-label task, from which probability on a class is given; else None.
    """

    task: Task
    classes: tuple[str, ...]
    ids: np.ndarray
    fold: np.ndarray
    truth: np.ndarray
    decided: np.ndarray
    probabilities: np.ndarray
    losses: np.ndarray
    cuts: np.ndarray | None = None

    @property
    def scored_classes(self) -> list[int]:
        """The classes with a curve of their own: of a binary task the positive one."""
        return [1] if self.task == "binary" else list(range(len(self.classes)))

    @property
    def right(self) -> np.ndarray:
        """Which answers are right in all classes, n."""
        right: np.ndarray = (self.truth == self.decided).all(1)
        return right

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each id."""
        return {id_: row for row, id_ in enumerate(self.ids.tolist())}


def score_run(run: Run, index: Index) -> Scored:
    """Join what a run predicted out of fold with what the index says; data that does not fit is a `KitError`."""
    if list(index.classes) != run.record["classes"]:
        raise KitError(f"the data's classes are not those of run {run.id}: train again on this data")
    oof = Predictions.load(run.reading("oof.npz"))
    unknown = ~np.isin(oof.ids.astype(str), index.train["id"].to_numpy(str))
    if unknown.any():
        raise KitError(
            f"{unknown.sum()} ids of run {run.id} are not in the data, the first is {oof.ids[unknown][0]!r}: "
            "bring back the data that it was trained on, or train again"
        )
    fold = folds_of_run(run).table.set_index("id")["fold"].loc[oof.ids].to_numpy()
    target, answers = index.targets_of(oof.ids), _answers(run, index.task, oof.values, fold)
    binary = index.task == "binary"
    return Scored(
        task=index.task,
        classes=tuple(index.classes),
        ids=oof.ids,
        fold=fold,
        truth=_columns(target, len(index.classes)),
        decided=_columns(answers, len(index.classes)),
        probabilities=np.column_stack([1 - oof.values, oof.values]) if binary else oof.values,
        losses=sample_losses(index.task, target, oof.values),
        cuts=_cuts(run, oof.values) if index.task == "multilabel" else None,
    )


def _cuts(run: Run, values: np.ndarray) -> np.ndarray:
    """From which probability on each class is given, K: by the rule made on all folds, as for the test part."""
    rule = rule_of(run)
    return rule.cuts_for(values) if isinstance(rule, Rule) else np.full(values.shape[1], CUT)


def _answers(run: Run, task: Task, values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """What `kit evaluate` answers, fold by fold, in the order of the rows."""
    by_fold = np.concatenate([decide_fold(run, task, part, values[fold == part]) for part in np.unique(fold).tolist()])
    answers = np.empty_like(by_fold)
    answers[np.argsort(fold, kind="stable")] = by_fold
    return answers


def _columns(answers: np.ndarray, classes: int) -> np.ndarray:
    """Class numbers n (or nx1) or truth values nxK as truth values nxK."""
    if answers.ndim == 2 and answers.shape[1] == classes:
        return answers > 0
    numbers = answers.reshape(-1).astype(np.int64)
    columns = np.zeros((len(numbers), classes), bool)
    columns[np.arange(len(numbers)), numbers] = True
    return columns


def frame_of(index: Index, ids: np.ndarray) -> pd.DataFrame:
    """The first training row of each id, in their order."""
    frame = index.train.drop_duplicates("id")
    return frame.iloc[pd.Index(frame["id"]).get_indexer(pd.Index(ids))]
