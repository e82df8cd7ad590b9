"""Thresholds of a multi-label task: a class is predicted from its threshold on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from typing import Any

import numpy as np

from kit.decision.rule import Score, TunedRule, cross_fit
from kit.scoring.metrics import f1_by_class, macro_f1
from kit.scoring.predictions import Predictions, at_thresholds
from kit.task import HALF

METHODS = {
    "half": "0.5 for every class",
    "one": "one threshold for all classes, by F1",
    "per-class": "a threshold per class by F1, shrunk towards the one for all",
    "share": "a threshold per class that predicts it as often as the labels have it",
}
KNOBS = ("strength",)
# The number of positives that weighs as much as the one threshold: 0 does not shrink, infinity is that threshold.
STRENGTHS = (0.0, 3.0, 10.0, 30.0, 100.0, 300.0, np.inf)
EDGE = 1e-6


@dataclass(frozen=True)
class Thresholds:
    """A threshold per class.

    Args:
        method: a name of `METHODS`, or `at` for thresholds given by hand.
        thresholds: K, for all but `share`: a class is predicted from its threshold on.
        shares: K, for `share`: the share of rows predicted as the class, whatever rows these are.
        strength: for `per-class`: a class with that many positives keeps half of its own threshold.
    """

    method: str
    thresholds: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    strength: float | None = None

    def thresholds_for(self, values: np.ndarray) -> np.ndarray:
        """Return the K thresholds for these probabilities, nxK."""
        if self.thresholds:
            return np.asarray(self.thresholds)
        ranked = -np.sort(-values.astype(np.float64), axis=0)
        # One row above all and one at 0, so that for every count a threshold lies between two rows.
        ranked = np.vstack([np.full((1, values.shape[1]), 2.0), ranked, np.zeros((1, values.shape[1]))])
        counts = np.rint(np.asarray(self.shares) * len(values)).astype(int)
        columns = np.arange(values.shape[1])
        return (ranked[counts, columns] + ranked[counts + 1, columns]) / 2

    def predicted(self, values: np.ndarray) -> np.ndarray:
        """Predict classes from probabilities nxK: nxK booleans."""
        return at_thresholds(values, self.thresholds_for(values))

    def applied(self, predictions: Predictions) -> Predictions:
        """Return the predictions with the thresholds of this rule."""
        return replace(predictions, thresholds=self.thresholds_for(predictions.values))

    def fixed(self, values: np.ndarray) -> "Thresholds":
        """Return the rule with the thresholds that it has on these probabilities, nxK."""
        return replace(self, thresholds=tuple(self.thresholds_for(values).tolist()))

    def document(self) -> dict[str, Any]:
        """Return the rule as JSON."""
        return {
            "kind": "thresholds",
            "method": self.method,
            # JSON has no infinity: the threshold of a class that is never predicted, the strength of one for all.
            "thresholds": [each if np.isfinite(each) else None for each in self.thresholds],
            "shares": list(self.shares),
            "strength": None if self.strength is None or np.isinf(self.strength) else self.strength,
        }

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Thresholds":
        """Read what `document` returned."""
        thresholds = tuple(float(np.inf if each is None else each) for each in document["thresholds"])
        method, strength = document["method"], document["strength"]
        strength = np.inf if method == "per-class" and strength is None else strength
        return cls(method, thresholds, tuple(document["shares"]), strength)


def tune(
    target: np.ndarray, values: np.ndarray, folds: np.ndarray, score: Score, beta: float = 1.0
) -> dict[str, TunedRule]:
    """Tune by every method of `METHODS` on out-of-fold predictions.

    Args:
        target: nxK of 0 and 1.
        values: nxK probabilities.
        folds: n, the fold of each row; at least two folds.
        score: the metric of predicted classes, which compares the methods.
        beta: weight of recall in the F-beta that the thresholds maximise.
    """
    rows = _Rows(target > 0, values, folds, beta)
    return {method: cross_fit(partial(_fit, method, rows), values, folds, score) for method in METHODS}


def nested(method: str, target: np.ndarray, values: np.ndarray, folds: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Predict the classes of each row, nxK, by the thresholds that one method finds on the other folds."""
    rows = _Rows(target > 0, values, folds, beta)
    return cross_fit(partial(_fit, method, rows), values, folds, lambda predicted: 0.0).predicted


def nested_f1(target: np.ndarray, values: np.ndarray, folds: np.ndarray, method: str) -> float:
    """Return the nested estimate of macro F1 for one method."""
    return macro_f1(target > 0, nested(method, target, values, folds))


def by_class(classes: Sequence[str], target: np.ndarray, values: np.ndarray, best: TunedRule) -> list[dict[str, Any]]:
    """Return one row per class: its threshold, and F1 with and without the rule."""
    thresholds = np.asarray(best.rule.thresholds_for(values))
    hot = target > 0
    at_half = at_thresholds(values, np.full(len(classes), HALF))
    before, after = f1_by_class(hot, at_half), f1_by_class(hot, best.predicted)
    return [
        {
            "class": name,
            "positives": int(count),
            "predicted": int(predicted),
            "threshold": float(threshold),
            "f1_at_half": float(half),
            "f1": float(f1),
        }
        for name, count, threshold, half, f1, predicted in zip(
            classes, hot.sum(0), thresholds, before, after, best.predicted.sum(0), strict=True
        )
    ]


def _fit(method: str, rows: "_Rows", chosen: frozenset[int]) -> Thresholds:
    """Tune the rule of one method on some folds of the rows."""
    classes = rows.target.shape[1]
    if method == "half":
        return Thresholds(method, (HALF,) * classes)
    if method == "share":
        return Thresholds(method, shares=tuple((rows.positives(chosen) / rows.total(chosen)).tolist()))
    if method == "one":
        return Thresholds(method, (rows.thresholds(chosen)[1],) * classes)
    strength = _strength(rows, chosen)
    return Thresholds(method, tuple(_shrunk(rows, chosen, strength).tolist()), strength=strength)


def _shrunk(rows: "_Rows", chosen: frozenset[int], strength: float) -> np.ndarray:
    """Shrink each class's best threshold, as a logit, towards the one for all: the fewer positives, the more."""
    positives = rows.positives(chosen)
    own_share = np.where(positives > 0, positives / np.maximum(positives + strength, 1), 0)
    own, one = (_logit(np.asarray(thresholds)) for thresholds in rows.thresholds(chosen))
    return 1 / (1 + np.exp(-(own_share * own + (1 - own_share) * one)))


def _strength(rows: "_Rows", chosen: frozenset[int]) -> float:
    """Return the best of `STRENGTHS` on folds that the thresholds have not seen; of equals the strongest."""
    if len(chosen) < 2:
        return 100.0
    scores = []
    for strength in STRENGTHS:
        counts = [rows.counts(fold, _shrunk(rows, chosen - {fold}, strength)) for fold in chosen]
        hits, predicted, positives = np.sum(counts, axis=0)
        scores.append(rows.f_beta(hits, predicted, positives).mean())
    best = max(scores)
    return max(strength for strength, score in zip(STRENGTHS, scores, strict=True) if score == best)


def _logit(thresholds: np.ndarray) -> np.ndarray:
    inside = np.clip(thresholds, EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))


class _Rows:
    """Targets, probabilities and folds, sorted once: F1 at every threshold of every class over any of the folds.

    A threshold is named by the row that it follows, class by class in falling order of probability.
    """

    def __init__(self, target: np.ndarray, values: np.ndarray, folds: np.ndarray, beta: float = 1.0) -> None:
        self.target, self.values, self.folds, self.weight = target, values, folds, beta**2
        order = np.argsort(-values, axis=0, kind="stable")
        self.ranked = np.take_along_axis(values, order, 0)
        names: list[int] = np.unique(folds).tolist()
        hit, fold = np.take_along_axis(target, order, 0), folds[order]
        # Per fold, the true positives and all predicted above every threshold, nxK.
        self.hits = {f: np.cumsum(hit & (fold == f), 0, dtype=np.int32) for f in names}
        self.predicted = {f: np.cumsum(fold == f, 0, dtype=np.int32) for f in names}
        self._found: dict[frozenset[int], tuple[np.ndarray, float]] = {}
        # No threshold separates rows of equal probability.
        self.real = np.vstack([self.ranked[:-1] > self.ranked[1:], np.ones((1, values.shape[1]), bool)])

    def f_beta(self, hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray) -> np.ndarray:
        """Return F-beta of counts; 0 where nothing is true and nothing predicted."""
        below = np.maximum(predicted + self.weight * positives, min(1, self.weight))
        result: np.ndarray = (1 + self.weight) * hits / below
        return result

    def total(self, chosen: frozenset[int]) -> int:
        """Count the rows."""
        return int(np.isin(self.folds, list(chosen)).sum())

    def positives(self, chosen: frozenset[int]) -> np.ndarray:
        """Count the rows of each class, K."""
        return np.sum([self.hits[fold][-1] for fold in chosen], axis=0)

    def counts(self, fold: int, thresholds: np.ndarray) -> np.ndarray:
        """Count true positives, predicted and positives of one fold at these thresholds; 3xK."""
        own = self.folds == fold
        predicted, target = self.values[own] >= thresholds, self.target[own]
        return np.stack([(predicted & target).sum(0), predicted.sum(0), target.sum(0)])

    def thresholds(self, chosen: frozenset[int]) -> tuple[np.ndarray, float]:
        """Return the threshold per class with the largest F1, K, and the one for all with the largest macro F1.

        The one for all is searched among all thresholds of all classes, each of which changes one class's F1.
        """
        if chosen not in self._found:
            hits, predicted = (
                reduce(np.add, (counts[fold] for fold in chosen)) for counts in (self.hits, self.predicted)
            )
            f1 = self.f_beta(hits, predicted, hits[-1])
            best = np.where(self.real, f1, -1).argmax(0)
            own = [_middle(self.ranked[:, k], row, predicted[:, k]) for k, row in enumerate(best.tolist())]
            order, ranked = self._all
            macro = np.cumsum(np.diff(f1, axis=0, prepend=0).reshape(-1)[order])
            macro[:-1][ranked[:-1] == ranked[1:]] = -1
            counted = np.cumsum(np.diff(predicted, axis=0, prepend=0).reshape(-1)[order])
            self._found[chosen] = np.array(own), _middle(ranked, int(macro.argmax()), counted)
        return self._found[chosen]

    @cached_property
    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        """Sort all thresholds of all classes: their order, and their probabilities in it."""
        flat = self.ranked.reshape(-1)
        order = np.argsort(-flat, kind="stable")
        return order, flat[order]


def _middle(ranked: np.ndarray, row: int, counted: np.ndarray) -> float:
    """Return the midpoint between a row and the next lower one that counts; 0 follows the last.

    Args:
        ranked: probabilities in falling order, n.
        row: the threshold follows it.
        counted: n, how many of the rows that count are at or above each row: the others must not move the threshold.
    """
    above = np.searchsorted(counted, counted[row])  # the lowest row that counts and is not below
    below = np.searchsorted(counted, counted[row], side="right")
    return (float(ranked[above]) + (float(ranked[below]) if below < len(ranked) else 0)) / 2
