"""Choose the samples to look at first: by loss, by uncertainty, or class by class."""

from typing import Literal

import numpy as np

from kit.data.index import Index
from kit.errors import KitError
from kit.run import Run
from kit.scoring.predictions import out_of_fold
from kit.task import Task

Order = Literal["worst", "best", "uncertain", "per-class"]


def ranked(task: Task, target: np.ndarray, values: np.ndarray, order: Order, count: int) -> np.ndarray:
    """Return the numbers of the rows to look at, in that order; of equal rows the earlier ones come first.

    `worst` and `best` order by loss, `uncertain` by entropy; each returns `count` rows. `per-class` returns, class by
    class, up to `count` rows with that label: the typical ones, where its probability is highest.

    Args:
        task: of the competition.
        target, values: in the shapes of `kit.task`.
        order: one of the four.
        count: rows in total, or rows per class.

    Raises:
        KitError: `uncertain` or `per-class` for a task without classes.
    """
    if order in ("uncertain", "per-class") and not task.has_classes:
        raise KitError(f"--{order} goes by probabilities of classes, which numbers have not: give --worst or --best")
    if order == "per-class":
        return _per_class(task, target, values, count)
    if order == "uncertain":
        key = -task.entropy(values)
    else:
        key = task.losses(target, values) * (-1 if order == "worst" else 1)
    return np.argsort(key, kind="stable")[:count]


def _per_class(task: Task, target: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    probabilities = task.by_class(values)
    hot = task.one_hot(np.asarray(target), probabilities.shape[1])
    chosen = []
    for number in range(probabilities.shape[1]):
        own = np.flatnonzero(hot[:, number])
        chosen.append(own[np.argsort(-probabilities[own, number], kind="stable")[:count]])
    # A row with several labels is shown once.
    return np.array(list(dict.fromkeys(np.concatenate(chosen).tolist())), np.int64)


def ranked_ids(run: Run, index: Index, order: Order, count: int, fold: int | None = None) -> list[str]:
    """Return training ids in the order of `ranked` by a run's out-of-fold predictions, or by those of one fold.

    Args:
        run: with a trained fold.
        index: of the run's data.
        order, count: as in `ranked`.
        fold: return only ids that this fold validates.
    """
    oof = out_of_fold(run, fold)
    rows = ranked(index.task, index.targets_of(oof.ids), oof.values, order, count)
    return [str(id_) for id_ in oof.ids[rows]]
