"""Decision rules: how probabilities become predicted classes, tuned on out-of-fold predictions.

A rule scores too well on the rows it was tuned on: several of the best entries of the protein competition scored lower
with such thresholds. So each tuning method is also *estimated*: its rule is tuned on all folds but one and scored on
that fold, in turn (nested), including every choice that the method makes inside.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kit.scoring.metrics import best_of
from kit.scoring.predictions import Predictions

# Predicted classes of all rows -> the competition's metric.
Score = Callable[[np.ndarray], float]


class DecisionRule(Protocol):
    """How probabilities become predicted classes."""

    @property
    def method(self) -> str:
        """The name of the method that tuned it."""

    def predicted(self, values: np.ndarray) -> np.ndarray:
        """Predict classes from probabilities nxK, in the form of the task (`kit.task`)."""

    def applied(self, predictions: Predictions) -> Predictions:
        """Return predictions from which `SubmissionSpec.write` writes what the rule predicts."""

    def thresholds_for(self, values: np.ndarray) -> np.ndarray | None:
        """Return the threshold of each class, K; None if the largest probability decides."""

    def fixed(self, values: np.ndarray) -> "DecisionRule":
        """Return the rule with the thresholds that it has on these probabilities, nxK, for single rows of them."""

    def document(self) -> dict[str, Any]:
        """Return the rule as JSON."""


@dataclass(frozen=True)
class TunedRule:
    """The result of one tuning method.

    Args:
        rule: tuned on all rows.
        fitted: the metric of that rule on the same rows; optimistic.
        estimate: the metric of `predicted`.
        fold_rules: for each fold, the rule tuned without it.
        predicted: the classes of all rows, each by the rule of its fold.
    """

    rule: DecisionRule
    fitted: float
    estimate: float
    fold_rules: Mapping[int, DecisionRule]
    predicted: np.ndarray


def cross_fit(
    fit: Callable[[frozenset[int]], DecisionRule], values: np.ndarray, folds: np.ndarray, score: Score
) -> TunedRule:
    """Tune a rule on all rows, and for each fold one on the other folds, which predicts its rows.

    Args:
        fit: folds -> the rule tuned on their rows.
        values: nxK probabilities.
        folds: n, the fold of each row; at least two folds.
        score: the metric of predicted classes.
    """
    names = np.unique(folds).tolist()
    rule = fit(frozenset(names))
    fold_rules = {fold: fit(frozenset(names) - {fold}) for fold in names}
    fitted = rule.predicted(values)
    predicted = np.zeros_like(fitted)
    for fold, fold_rule in fold_rules.items():
        own = folds == fold
        predicted[own] = fold_rule.predicted(values[own])
    return TunedRule(rule, score(fitted), score(predicted), fold_rules, predicted)


def nesting_folds(folds: np.ndarray, groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the folds for nested estimates, n: the given ones, or five random ones of whole groups if there is one."""
    if len(np.unique(folds)) > 1:
        return folds
    unique, codes = np.unique(groups, return_inverse=True)
    return np.random.default_rng(seed).permutation(np.arange(len(unique)) % 5)[codes]


def best_method(tuned: Mapping[str, TunedRule], higher_is_better: bool = True) -> str:
    """Return the method with the best nested estimate, the first (simplest) of equals."""
    return best_of(tuned, lambda method: tuned[method].estimate, higher_is_better)
