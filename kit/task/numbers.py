"""The task that predicts numbers."""

# ruff: noqa: D102 - what a method of a task does is said where it is abstract

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kit.task.kind import HALF, Task, one_hot

if TYPE_CHECKING:
    from torch import Tensor

PARTS = 10  # of a target's values, by which folds are balanced
LARGEST = float(np.finfo(np.float32).max)


class Regression(Task):
    """One or several numbers."""

    name = "regression"
    single_label = True
    softmax = False
    average = "macro"
    has_classes = False
    in_order = True
    loss = "mse"

    def targets(self, column: pd.Series, classes: int) -> np.ndarray:
        if pd.api.types.is_numeric_dtype(column):
            return column.to_numpy(np.float32)[:, None]
        numbers = np.array([_numbers_of(value) for value in column], np.float32)
        return numbers.reshape(len(column), classes)

    def known(self, column: pd.Series, classes: int) -> np.ndarray:
        rows = (_numbers_of(value) for value in column)
        return np.fromiter((len(row) == classes and _is_finite(row) for row in rows), bool, len(column))

    def good_target(self, classes: int) -> str:
        return "a finite number" if classes == 1 else f"a tuple of {classes} finite numbers"

    def flat(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values

    def strata(self, targets: np.ndarray, classes: int) -> np.ndarray:
        """Divide each target into ten parts of equally many rows: what folds are balanced by. None is empty."""
        return np.concatenate([_parts(column)[1] for column in targets.T], 1)

    def strata_names(self, targets: np.ndarray, classes: Sequence[str]) -> tuple[str, ...]:
        names = []
        for name, column in zip(classes, targets.T, strict=True):
            numbers, parts = _parts(column)
            whose = f"{name} " if len(classes) > 1 else ""
            ends = ((own.min(), own.max()) for own in (column[part] for part in parts.T))
            names += [
                f"{whose}tenth {number + 1}: {low:.4g}..{high:.4g}"
                for number, (low, high) in zip(numbers, ends, strict=True)
            ]
        return tuple(names)

    def class_counts(self, targets: np.ndarray, classes: int) -> np.ndarray:
        """Count the rows of each target: all of them."""
        return np.full(classes, len(targets))

    def one_hot(self, labels: np.ndarray, classes: int) -> np.ndarray:
        raise TypeError("a regression has no classes")

    def predicted(self, values: np.ndarray, threshold: float = HALF) -> np.ndarray:
        return values

    def as_probabilities(self, predicted: np.ndarray, classes: int) -> np.ndarray:
        return predicted

    def losses(self, target: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the squared error of each row in standard deviations of the targets, n; the mean over several."""
        truth = np.asarray(target, np.float64).reshape(len(target), -1)
        spread = truth.std(0)
        error = (np.asarray(values, np.float64).reshape(truth.shape) - truth) / np.where(spread > 0, spread, 1)
        return np.asarray(np.square(error).mean(1))

    def entropy(self, values: np.ndarray) -> np.ndarray:
        raise TypeError("numbers have no entropy")

    def confidence(self, values: np.ndarray) -> np.ndarray:
        raise TypeError("a number says nothing of how sure it is")

    def logits(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values, np.float64)

    def from_logits(self, logits: np.ndarray) -> np.ndarray:
        return logits

    def probabilities(self, logits: "Tensor") -> "Tensor":
        return logits

    def label_text(self, classes: Sequence[str], target: np.ndarray) -> str:
        """Give the numbers of one row, with the names of several targets."""
        numbers = [f"{number:.4g}" for number in np.asarray(target).reshape(-1).tolist()]
        pairs = zip(classes, numbers, strict=True)
        return numbers[0] if len(numbers) == 1 else ", ".join(f"{name} {number}" for name, number in pairs)


def _numbers_of(value: object) -> tuple[float, ...]:
    """Return the numbers of one target, `()` if it has something else."""
    row = value if isinstance(value, (tuple, list)) else (value,)
    if any(isinstance(each, (str, bool)) or not isinstance(each, (Real, np.number)) for each in row):
        return ()
    return tuple(float(each) for each in row)


def _is_finite(row: tuple[float, ...]) -> bool:
    """Return whether float32, as which targets are learned from, holds all numbers of a row."""
    return all(abs(number) <= LARGEST for number in row)


def _parts(values: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Return the numbers of the tenths that have rows, and which rows each of them has, nxP."""
    hot = one_hot(_tenths(values), PARTS)
    numbers = np.flatnonzero(hot.any(0))
    return numbers.tolist(), hot[:, numbers]


def _tenths(values: np.ndarray) -> np.ndarray:
    """Return in which tenth of the rows each value lies, n; equal values lie in the same one."""
    ranks = pd.Series(values).rank(method="average").to_numpy()
    return ((ranks - 0.5) / max(len(values), 1) * PARTS).astype(np.int64)
