"""Which samples to look at first: by their loss, by how unsure the network is, or class by class."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from kit.data.index import Index
from kit.inference.trained import out_of_fold
from kit.run import Run

if TYPE_CHECKING:
    from kit.hooks.specs import Task

Order = Literal["worst", "best", "uncertain", "per-class"]
SMALLEST = 1e-7  # probability; of a smaller one float32 could not tell its distance from 1


def sample_losses(task: "Task", target: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The cross-entropy of each sample in nats, n float64; of a multilabel task the mean over its classes.

    Args:
        task: binary, multiclass or multilabel.
        target: as the index gives it: binary n or nx1, multiclass n class numbers, multilabel nxK.
        values: probabilities nxK; of a binary task n or nx1 of the positive class. Cut off at 1e-7 from 0 and 1.
    """
    sure = np.clip(np.asarray(values, np.float64), SMALLEST, 1 - SMALLEST)
    if task == "multiclass":
        losses: np.ndarray = -np.log(sure[np.arange(len(sure)), target])
        return losses
    sure, hot = sure.reshape(len(sure), -1), np.asarray(target, np.float64).reshape(len(sure), -1)
    return -(hot * np.log(sure) + (1 - hot) * np.log(1 - sure)).mean(1)


def uncertainty(task: "Task", values: np.ndarray) -> np.ndarray:
    """The entropy of each sample's probabilities in nats, n float64: the loss that the network itself expects."""
    sure = np.clip(np.asarray(values, np.float64).reshape(len(values), -1), SMALLEST, 1 - SMALLEST)
    if task == "multiclass":
        entropy: np.ndarray = -(sure * np.log(sure)).sum(1)
        return entropy
    return -(sure * np.log(sure) + (1 - sure) * np.log(1 - sure)).mean(1)


def ranked(task: "Task", target: np.ndarray, values: np.ndarray, order: Order, count: int) -> np.ndarray:
    """Numbers of the rows to look at, in that order; of equal rows the earlier ones come first.

    `worst` and `best` go by the loss, `uncertain` by the entropy, `count` rows each. `per-class` gives, class by class,
    up to `count` rows of that label: those that are given it most surely, the typical ones.

    Args:
        task, target, values: as of `sample_losses`.
        order: one of the four.
        count: rows in all, or rows a class.
    """
    if order == "per-class":
        return _per_class(task, target, values, count)
    if order == "uncertain":
        key = -uncertainty(task, values)
    else:
        key = sample_losses(task, target, values) * (-1 if order == "worst" else 1)
    return np.argsort(key, kind="stable")[:count]


def _per_class(task: "Task", target: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    values, target = np.asarray(values).reshape(len(values), -1), np.asarray(target)
    if task == "binary":
        values, target = np.column_stack([1 - values, values]), target.reshape(-1).astype(np.int64)
    chosen = []
    for number in range(values.shape[1]):
        own = np.flatnonzero(target[:, number] > 0 if target.ndim == 2 else target == number)
        chosen.append(own[np.argsort(-values[own, number], kind="stable")[:count]])
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
