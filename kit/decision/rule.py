"""What a decision rule is: how probabilities become predicted classes, tuned on out-of-fold predictions.

A rule flatters on the rows that chose it: of the best entries of the protein competition several scored lower with such
thresholds. So each method of tuning is also *estimated*: its rule is made on all folds but one and judged on that
fold, in turn (nested), whatever it chooses inside included.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kit.scoring.predictions import Predictions

# Predicted classes of all rows -> the competition's metric.
Score = Callable[[np.ndarray], float]


class DecisionRule(Protocol):
    """How probabilities become predicted classes."""

    @property
    def method(self) -> str:
        """By which method it was tuned."""

    def predicted(self, values: np.ndarray) -> np.ndarray:
        """Probabilities nxK -> predicted classes, in the form of the task (`kit.task`)."""

    def applied(self, predictions: Predictions) -> Predictions:
        """Predictions from which `SubmissionSpec.write` makes what the rule predicts."""

    def thresholds_for(self, values: np.ndarray) -> np.ndarray | None:
        """From which probability on each class is predicted, K; None where the largest one decides."""

    def document(self) -> dict[str, Any]:
        """The rule as JSON."""


@dataclass(frozen=True)
class TunedRule:
    """What one method gives.

    Args:
        rule: made on all rows.
        fitted: the metric of that rule on the same rows; flatters.
        estimate: the metric of `predicted`.
        fold_rules: for each fold the rule that was made without it.
        predicted: of all rows, each by the rule of its fold.
    """

    rule: DecisionRule
    fitted: float
    estimate: float
    fold_rules: Mapping[int, DecisionRule]
    predicted: np.ndarray


def cross_fit(
    fit: Callable[[frozenset[int]], DecisionRule], values: np.ndarray, folds: np.ndarray, score: Score
) -> TunedRule:
    """Make a rule on all rows, and for each fold one on the others, by which its rows are predicted.

    Args:
        fit: folds -> the rule that their rows give.
        values: nxK probabilities.
        folds: n, the fold of each row; two folds at least.
        score: of predicted classes.
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
    """On what a rule is estimated, n: the folds, or five random parts of whole groups where there is a single fold."""
    if len(np.unique(folds)) > 1:
        return folds
    known, number = np.unique(groups, return_inverse=True)
    return np.random.default_rng(seed).permutation(np.arange(len(known)) % 5)[number]


def best_method(tuned: Mapping[str, TunedRule], higher_is_better: bool = True) -> str:
    """The method of the best nested estimate, the simplest (first) of equals."""
    sign = 1 if higher_is_better else -1
    return max(tuned, key=lambda method: sign * tuned[method].estimate)
