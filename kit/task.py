"""The kinds of task, defined once: targets, outputs, probabilities, predicted classes, losses, label texts.

Code that depends on the kind of task asks its `Task`. A new kind is one more object in `TASKS` and its name in
`kit.hooks.specs.TaskName`. Shapes, for n rows, C classes and K outputs:

| task | target | probabilities | predicted |
|---|---|---|---|
| binary | float32 nx1 of 0 and 1 | nx1, of the positive class | n truth values |
| multiclass | int64 n, class numbers | nxC, rows of sum 1 | n class numbers |
| multilabel | float32 nxC of 0 and 1 | nxC | nxC truth values |
"""

# ruff: noqa: D102 - what a method of a task does is said where it is abstract

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor

HALF = 0.5
# Float32 can't resolve a smaller distance of a probability from 1.
SMALLEST = 1e-7
EDGE = 1e-6  # probabilities are clipped at this distance from 0 and 1 before taking their logit


@dataclass(frozen=True)
class Task(ABC):
    """One kind of task."""

    name: ClassVar[str]
    single_label: ClassVar[bool]
    """Whether every row has exactly one class."""
    softmax: ClassVar[bool]
    """Whether the largest probability decides; otherwise each output decides by itself, by a threshold."""
    average: ClassVar[Literal["binary", "macro"]]
    """How scikit-learn averages figures over classes."""
    loss: ClassVar[str] = "bce"
    """What training minimises where neither the competition nor the person says so."""

    def __str__(self) -> str:
        return self.name

    def fits(self, classes: int) -> bool:
        """Return whether the task can have this number of classes."""
        return classes > 0

    def outputs(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the classes that have an output (a logit) of their own."""
        return tuple(classes)

    @abstractmethod
    def targets(self, column: pd.Series, classes: int) -> np.ndarray:
        """Encode the index's column `target`."""

    def flat(self, values: np.ndarray) -> np.ndarray:
        """Shape targets or probabilities as metrics take them."""
        return values

    def class_counts(self, targets: np.ndarray, classes: int) -> np.ndarray:
        """Count the rows of each class, C."""
        return np.bincount(targets.reshape(-1).astype(np.int64), minlength=classes)

    @abstractmethod
    def one_hot(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Spread targets or predicted classes over one column per class: truth values nxC."""

    def by_class(self, values: np.ndarray) -> np.ndarray:
        """Spread probabilities over one column per class, nxC."""
        return values

    @abstractmethod
    def predicted(self, values: np.ndarray, threshold: float = HALF) -> np.ndarray:
        """Predict classes without a tuned rule: that of the largest probability, or those at the threshold or above."""

    @abstractmethod
    def as_probabilities(self, predicted: np.ndarray, classes: int) -> np.ndarray:
        """Shape predicted classes as metrics take probabilities: 1 for these, 0 for the rest, float32."""

    @abstractmethod
    def losses(self, target: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the cross-entropy of each row in nats, n float64; with several labels, the mean over the classes."""

    @abstractmethod
    def entropy(self, values: np.ndarray) -> np.ndarray:
        """Return the entropy of each row's probabilities in nats, n float64."""

    @abstractmethod
    def confidence(self, values: np.ndarray) -> np.ndarray:
        """Return how sure each row's prediction is, n: the probability of its least sure class."""

    @abstractmethod
    def logits(self, values: np.ndarray) -> np.ndarray:
        """Return the logits (float64) of probabilities nxK."""

    @abstractmethod
    def from_logits(self, logits: np.ndarray) -> np.ndarray:
        """Return the probabilities of logits nxK."""

    @abstractmethod
    def probabilities(self, logits: "Tensor") -> "Tensor":
        """Return the probabilities of a network's logits BxK."""

    def class_logits(self, logits: "Tensor") -> "Tensor":
        """Spread a network's logits over one column per class, BxC."""
        return logits

    def label_text(self, classes: Sequence[str], target: np.ndarray) -> str:
        """Name the class of one row's target."""
        return classes[int(target.item())]

    def predicted_numbers(self, values: np.ndarray) -> list[int]:
        """Return the classes predicted from one row of probabilities by class (C), likeliest first, without a rule."""
        return [int(values.argmax())]


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
        return _one_hot(labels, classes)

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
        return _one_hot(labels, classes)

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


BINARY, MULTICLASS, MULTILABEL = Binary(), Multiclass(), Multilabel()
TASKS: dict[str, Task] = {task.name: task for task in (BINARY, MULTICLASS, MULTILABEL)}


def task_of(task: Task | str) -> Task:
    """Return a task by its name; return a task as it is."""
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ValueError(f"task {task!r} is not one of {', '.join(TASKS)}")
    return TASKS[task]


def multi_hot(labels: list[tuple[int, ...]], classes: int) -> np.ndarray:
    """Encode tuples of class numbers as float32 nxC of 0 and 1."""
    result = np.zeros((len(labels), classes), np.float32)
    rows = np.repeat(np.arange(len(labels)), [len(row) for row in labels])
    result[rows, [number for row in labels for number in row]] = 1
    return result


def _one_hot(numbers: np.ndarray, classes: int) -> np.ndarray:
    numbers = numbers.reshape(-1).astype(np.int64)
    columns = np.zeros((len(numbers), classes), bool)
    columns[np.arange(len(numbers)), numbers] = True
    return columns


def _rows(values: np.ndarray) -> np.ndarray:
    """Return probabilities as float64 nxK, clipped away from 0 and 1."""
    return np.clip(np.asarray(values, np.float64).reshape(len(values), -1), SMALLEST, 1 - SMALLEST)
