"""Which samples to look at first: by their loss, by how unsure the network is, or class by class."""

from typing import Literal

import numpy as np

from kit.data.index import Index
from kit.run import Run
from kit.scoring.predictions import out_of_fold
from kit.task import Task

Order = Literal["worst", "best", "uncertain", "per-class"]


def ranked(task: Task, target: np.ndarray, values: np.ndarray, order: Order, count: int) -> np.ndarray:
    """Numbers of the rows to look at, in that order; of equal rows the earlier ones come first.

    `worst` and `best` go by the loss, `uncertain` by the entropy, `count` rows each. `per-class` gives, class by class,
    up to `count` rows of that label: those that are given it most surely, the typical ones.

    Args:
        task: of the competition.
        target, values: as `kit.task` has them.
        order: one of the four.
        count: rows in all, or rows a class.
    """
    if order == "per-class":
        return _per_class(task, target, values, count)
    if order == "uncertain":
        key = -task.entropy(values)
    else:
        key = task.losses(target, values) * (-1 if order == "worst" else 1)
    return np.argsort(key, kind="stable")[:count]


def _per_class(task: Task, target: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    shares = task.by_class(values)
    hot = task.one_hot(np.asarray(target), shares.shape[1])
    chosen = []
    for number in range(shares.shape[1]):
        own = np.flatnonzero(hot[:, number])
        chosen.append(own[np.argsort(-shares[own, number], kind="stable")[:count]])
    # A row of several labels is shown once.
    return np.array(list(dict.fromkeys(np.concatenate(chosen).tolist())), np.int64)


def ranked_ids(run: Run, index: Index, order: Order, count: int, fold: int | None = None) -> list[str]:
    """Training ids in the order of `ranked` by a run's out-of-fold predictions, or by those of one fold.

    Args:
        run: with a trained fold.
        index: of the run's data.
        order, count: as of `ranked`.
        fold: only ids that this fold has judged.
    """
    oof = out_of_fold(run, fold)
    rows = ranked(index.task, index.targets_of(oof.ids), oof.values, order, count)
    return [str(id_) for id_ in oof.ids[rows]]
