"""What every kind of task answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor

HALF = 0.5


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
    has_classes: ClassVar[bool] = True
    """Whether it predicts classes; otherwise numbers."""
    in_order: ClassVar[bool] = False
    """Whether what it predicts has an order (grades, numbers), so that a row has one answer without any threshold."""
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

    def known(self, column: pd.Series, classes: int) -> np.ndarray:
        """Return which values of the index's column `target` are targets, n."""
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
        is_text = [] if pd.api.types.is_numeric_dtype(column) else [isinstance(value, str) for value in column]
        right = (values >= 0) & (values < classes) & (values == np.floor(values))
        return right & ~np.array(is_text, bool) if is_text else right

    def good_target(self, classes: int) -> str:
        """Say what a target is, for messages."""
        return f"a class number from 0 to {classes - 1}"

    def flat(self, values: np.ndarray) -> np.ndarray:
        """Shape targets or probabilities as metrics take them."""
        return values

    def strata(self, targets: np.ndarray, classes: int) -> np.ndarray:
        """Spread what folds are balanced by over columns of 0 and 1, nxS."""
        return self.one_hot(targets, classes)

    def strata_names(self, targets: np.ndarray, classes: Sequence[str]) -> tuple[str, ...]:
        """Name the columns of `strata`."""
        return tuple(classes)

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

    def judged(self, values: np.ndarray) -> np.ndarray:
        """Return what a metric of predicted classes judges where no rule has decided: here the probabilities."""
        return values

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


def one_hot(numbers: np.ndarray, classes: int) -> np.ndarray:
    """Spread class numbers n over one column per class: truth values nxC."""
    numbers = numbers.reshape(-1).astype(np.int64)
    columns = np.zeros((len(numbers), classes), bool)
    columns[np.arange(len(numbers)), numbers] = True
    return columns
