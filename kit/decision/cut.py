"""The cut of a binary task: the probability from which the positive class is predicted.

A metric that judges ranks (AUC) is not changed by it; who must decide, patch by patch, needs it all the same. What is
wanted chooses the cut: the largest F-beta, the largest sum of sensitivity and specificity (Youden 1950), a sensitivity
or a specificity to be reached, or the least cost where a missed positive costs as much as several false alarms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from kit.decision.rule import Score, TunedRule, cross_fit
from kit.hooks.specs import MetricSpec
from kit.scoring.predictions import Predictions

METHODS = {
    "half": "0.5",
    "f-beta": "the largest F-beta",
    "youden": "the largest sensitivity + specificity",
    "sensitivity": "the highest cut with the sensitivity wanted",
    "specificity": "the lowest cut with the specificity wanted",
    "cost": "the least cost of errors",
}
ALWAYS = ("half", "f-beta", "youden")  # the others need a number


@dataclass(frozen=True)
class Cut:
    """A decision rule: predict the positive class from a probability on.

    Args:
        method: a name of `METHODS`, or `at` for a cut given by hand.
        cut: the probability; above 1 where nothing is predicted.
    """

    method: str
    cut: float

    def predicted(self, values: np.ndarray) -> np.ndarray:
        """Predict from probabilities nx1: n booleans."""
        # In float64: a cut between two neighbouring float32 would be one of them.
        predicted: np.ndarray = values.reshape(len(values)).astype(np.float64) >= self.cut
        return predicted

    def applied(self, predictions: Predictions) -> Predictions:
        """Return the predictions with the cut as their threshold; ranks stay as they are."""
        return replace(predictions, thresholds=np.array([self.cut]))

    def thresholds_for(self, values: np.ndarray) -> np.ndarray:
        """Return the cut, of shape 1."""
        return np.array([self.cut])

    def fixed(self, values: np.ndarray) -> "Cut":
        """Return the rule itself: it does not depend on the rows that it is applied to."""
        return self

    def document(self) -> dict[str, Any]:
        """Return the rule as JSON."""
        return {"kind": "cut", "method": self.method, "cut": self.cut}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Cut":
        """Read what `document` returned."""
        return cls(document["method"], float(document["cut"]))


def fit(method: str, target: np.ndarray, values: np.ndarray, wanted: float) -> Cut:
    """Find the cut on some rows; of equally good ones the highest, of `specificity` the lowest.

    Args:
        method: a name of `METHODS`.
        target: n truth values.
        values: n probabilities.
        wanted: beta, the sensitivity, the specificity, or how many false alarms a missed positive costs.
    """
    if method == "half":
        return Cut(method, 0.5)
    cuts, hits, alarms = _at_all_cuts(target, values)
    positives, negatives = max(int(target.sum()), 1), max(int((~target).sum()), 1)
    if method == "sensitivity":
        return Cut(method, float(cuts[np.flatnonzero(hits >= wanted * positives - 1e-9)[0]]) if target.any() else 0.5)
    if method == "specificity":
        return Cut(method, float(cuts[np.flatnonzero(alarms <= (1 - wanted) * negatives + 1e-9)[-1]]))
    if method == "f-beta":
        worth = (1 + wanted**2) * hits / np.maximum(hits + alarms + wanted**2 * positives, 1e-30)
    elif method == "youden":
        worth = hits / positives - alarms / negatives
    else:
        worth = -(wanted * (positives - hits) + alarms)
    return Cut(method, float(cuts[worth.argmax()]))


def _at_all_cuts(target: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cuts that differ in what they predict, highest first, with true and false positives at each.

    The first predicts nothing, the last everything; between them each lies halfway between two probabilities.
    """
    values = values.astype(np.float64)
    distinct = np.unique(values)[::-1]
    ordered, negative = np.sort(values[target]), np.sort(values[~target])
    hits, alarms = (len(each) - np.searchsorted(each, distinct) for each in (ordered, negative))
    # Above 1, so that a probability of exactly 1 is not predicted either.
    nothing = np.nextafter(1, 2) if not len(distinct) or distinct[0] >= 1 else (1 + distinct[0]) / 2
    between = (distinct[:-1] + distinct[1:]) / 2
    return (
        np.concatenate([[nothing], between, [0.0] * (len(distinct) > 0)]),
        np.append(0, hits),
        np.append(0, alarms),
    )


@dataclass(frozen=True)
class Figures:
    """What a cut achieves on some rows."""

    precision: float
    sensitivity: float
    specificity: float
    f_beta: float
    cost: float

    @classmethod
    def of(cls, target: np.ndarray, predicted: np.ndarray, beta: float, cost: float) -> "Figures":
        """Count them from n truth values and n predictions; an undefined one is 0. `cost` is that of an image."""
        hits, alarms = int((target & predicted).sum()), int((~target & predicted).sum())
        positives, negatives = int(target.sum()), int((~target).sum())
        below = hits + alarms + beta**2 * positives
        return cls(
            precision=hits / max(hits + alarms, 1),
            sensitivity=hits / max(positives, 1),
            specificity=(negatives - alarms) / max(negatives, 1),
            f_beta=(1 + beta**2) * hits / below if below else 0.0,
            cost=(cost * (positives - hits) + alarms) / max(len(target), 1),
        )


def figure(method: str | None, wanted: Mapping[str, float]) -> MetricSpec:
    """Return the figure by which cuts are judged where the competition's metric judges ranks.

    Args:
        method: asked for by name; None: F-beta compares all.
        wanted: the number of each method that needs one.
    """
    beta, cost = wanted["f-beta"], wanted.get("cost", 1.0)

    def spec(name: str, key: str, higher: bool = True) -> MetricSpec:
        def compute(target: np.ndarray, predicted: np.ndarray) -> float:
            return float(getattr(Figures.of(target > 0, predicted > 0, beta, cost), key))

        return MetricSpec(name, higher, compute, ("binary",), of_classes=True)

    if method in ("sensitivity", "specificity"):
        return spec(method, method)
    if method == "cost":
        return spec("cost_per_image", "cost", higher=False)
    return spec(f"f{beta:g}", "f_beta")


def tune(
    target: np.ndarray, values: np.ndarray, folds: np.ndarray, score: Score, wanted: Mapping[str, float]
) -> dict[str, TunedRule]:
    """Tune by every method that needs no number or has one in `wanted`.

    Args:
        target: nx1 of 0 and 1.
        values: nx1 probabilities.
        folds: n, the fold of each row; at least two folds.
        score: the figure of predicted classes, which compares the methods.
        wanted: the number of each method that needs one; that of `f-beta` always.
    """
    hot = target.reshape(len(target)) > 0

    def fit_on(method: str, chosen: frozenset[int]) -> Cut:
        rows = np.isin(folds, list(chosen))
        return fit(method, hot[rows], values[rows, 0], wanted.get(method, 0.0))

    names = [method for method in METHODS if method in ALWAYS or method in wanted]
    return {method: cross_fit(partial(fit_on, method), values, folds, score) for method in names}


def figures(target: np.ndarray, tuned: TunedRule, wanted: Mapping[str, float]) -> dict[str, float]:
    """Return the nested figures of one method's cuts, and the cut tuned on all rows."""
    hot, beta, cost = target.reshape(len(target)) > 0, wanted["f-beta"], wanted.get("cost", 1.0)
    return {"cut": tuned.rule.document()["cut"], **vars(Figures.of(hot, tuned.predicted, beta, cost))}


def by_class(classes: Sequence[str], target: np.ndarray, values: np.ndarray, best: TunedRule) -> list[dict[str, Any]]:
    """Return the row of the positive class: its threshold, and its nested figures."""
    hot = target.reshape(len(target)) > 0
    return [
        {
            "class": classes[1],
            "positives": int(hot.sum()),
            "predicted": int(best.predicted.sum()),
            "threshold": best.rule.document()["cut"],
            **vars(Figures.of(hot, best.predicted, 1.0, 1.0)),
        }
    ]
