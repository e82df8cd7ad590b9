"""Tasks that predict classes: binary, several of several, one of several, one of several in an order."""

# ruff: noqa: D102 - what a method of a task does is said where it is abstract

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kit.task.kind import HALF, Task, one_hot

if TYPE_CHECKING:
    from torch import Tensor

# Float32 can't resolve a smaller distance of a probability from 1.
SMALLEST = 1e-7
EDGE = 1e-6  # probabilities are clipped at this distance from 0 and 1 before taking their logit


class _Sigmoids(Task):
    """Each output is a probability of its own."""

    softmax = False

    def losses(self, target: np.ndarray, values: np.ndarray) -> np.ndarray:
        p, hot = _rows(values), np.asarray(target, np.float64).reshape(len(target), -1)
        return -(hot * np.log(p) + (1 - hot) * np.log(1 - p)).mean(1)

    def entropy(self, values: np.ndarray) -> np.ndarray:
        p = _rows(values)
        return -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean(1)

    def confidence(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(values, 1 - values).min(1))

    def logits(self, values: np.ndarray) -> np.ndarray:
        inside = np.clip(values.astype(np.float64), EDGE, 1 - EDGE)
        return np.asarray(np.log(inside / (1 - inside)))

    def from_logits(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-logits)))

    def probabilities(self, logits: "Tensor") -> "Tensor":
        return logits.sigmoid()


class Binary(_Sigmoids):
    """Two classes, one sigmoid: the probability of the second one."""

    name = "binary"
    single_label = True
    average = "binary"

    def fits(self, classes: int) -> bool:
        return classes == 2

    def outputs(self, classes: Sequence[str]) -> tuple[str, ...]:
        return tuple(classes[1:2])

    def targets(self, column: pd.Series, classes: int) -> np.ndarray:
        return column.to_numpy(np.float32)[:, None]

    def flat(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0] if values.ndim == 2 else values

    def one_hot(self, labels: np.ndarray, classes: int) -> np.ndarray:
        return one_hot(labels, classes)

    def by_class(self, values: np.ndarray) -> np.ndarray:
        values = values.reshape(len(values), -1)
        return np.column_stack([1 - values, values])

    def predicted(self, values: np.ndarray, threshold: float = HALF) -> np.ndarray:
        return np.asarray(self.flat(values) >= threshold)

    def as_probabilities(self, predicted: np.ndarray, classes: int) -> np.ndarray:
        return predicted.astype(np.float32)

    def class_logits(self, logits: "Tensor") -> "Tensor":
        # The evidence against one class is the evidence for the other.
        return logits.new_tensor([[-1.0, 1.0]]) * logits


class Multilabel(_Sigmoids):
    """Any number of classes per row, one sigmoid each."""

    name = "multilabel"
    single_label = False
    average = "macro"

    def targets(self, column: pd.Series, classes: int) -> np.ndarray:
        return multi_hot(column.tolist(), classes)

    def known(self, column: pd.Series, classes: int) -> np.ndarray:
        numbers = set(range(classes))
        return np.fromiter((isinstance(row, tuple) and numbers.issuperset(row) for row in column), bool, len(column))

    def good_target(self, classes: int) -> str:
        return f"a tuple of class numbers from 0 to {classes - 1}"

    def class_counts(self, targets: np.ndarray, classes: int) -> np.ndarray:
        return np.asarray(targets.sum(0))

    def one_hot(self, labels: np.ndarray, classes: int) -> np.ndarray:
        return np.asarray(labels > 0)

    def predicted(self, values: np.ndarray, threshold: float = HALF) -> np.ndarray:
        return np.asarray(values >= threshold)

    def as_probabilities(self, predicted: np.ndarray, classes: int) -> np.ndarray:
        return predicted.astype(np.float32)

    def label_text(self, classes: Sequence[str], target: np.ndarray) -> str:
        """Name the classes of one row's target, `none` without any."""
        return ", ".join(classes[number] for number in np.flatnonzero(target).tolist()) or "none"

    def predicted_numbers(self, values: np.ndarray) -> list[int]:
        order = np.argsort(-values, kind="stable").tolist()
        # Every row gets at least one class.
        return [number for number in order if values[number] >= HALF] or order[:1]


class Multiclass(Task):
    """One of several classes: a softmax."""

    name = "multiclass"
    single_label = True
    softmax = True
    average = "macro"
    loss = "cross_entropy"

    def targets(self, column: pd.Series, classes: int) -> np.ndarray:
        return column.to_numpy(np.int64)

    def one_hot(self, labels: np.ndarray, classes: int) -> np.ndarray:
        return one_hot(labels, classes)

    def predicted(self, values: np.ndarray, threshold: float = HALF) -> np.ndarray:
        return np.asarray(values.argmax(1))

    def as_probabilities(self, predicted: np.ndarray, classes: int) -> np.ndarray:
        return self.one_hot(predicted, classes).astype(np.float32)

    def losses(self, target: np.ndarray, values: np.ndarray) -> np.ndarray:
        p = _rows(values)
        return np.asarray(-np.log(p[np.arange(len(p)), target]))

    def entropy(self, values: np.ndarray) -> np.ndarray:
        p = _rows(values)
        return np.asarray(-(p * np.log(p)).sum(1))

    def confidence(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values.max(1))

    def logits(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(np.log(np.clip(values.astype(np.float64), EDGE, 1 - EDGE)))

    def from_logits(self, logits: np.ndarray) -> np.ndarray:
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))

    def probabilities(self, logits: "Tensor") -> "Tensor":
        return logits.softmax(1)


class Ordinal(Multiclass):
    """One of several classes in an order, the grades: the expected grade decides, by cuts between grades."""

    name = "ordinal"
    in_order = True

    def fits(self, classes: int) -> bool:
        return classes >= 2

    def expected(self, values: np.ndarray) -> np.ndarray:
        """Return the expected grade of each row of probabilities nxC, n float64: 0 to C - 1."""
        return np.asarray(values, np.float64) @ np.arange(values.shape[1])

    def predicted(self, values: np.ndarray, threshold: float = HALF) -> np.ndarray:
        """Round the expected grade, halves up."""
        return np.floor(self.expected(values) + HALF).astype(np.int64)

    def judged(self, values: np.ndarray) -> np.ndarray:
        """Return 1 for the rounded expected grade and 0 for the rest, so that a metric's `argmax` is that grade."""
        return self.as_probabilities(self.predicted(values), values.shape[1])

    def predicted_numbers(self, values: np.ndarray) -> list[int]:
        return self.predicted(values[None]).tolist()


def multi_hot(labels: list[tuple[int, ...]], classes: int) -> np.ndarray:
    """Encode tuples of class numbers as float32 nxC of 0 and 1."""
    result = np.zeros((len(labels), classes), np.float32)
    rows = np.repeat(np.arange(len(labels)), [len(row) for row in labels])
    result[rows, [number for row in labels for number in row]] = 1
    return result


def _rows(values: np.ndarray) -> np.ndarray:
    """Return probabilities as float64 nxK, clipped away from 0 and 1."""
    return np.clip(np.asarray(values, np.float64).reshape(len(values), -1), SMALLEST, 1 - SMALLEST)
