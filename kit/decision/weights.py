"""Class weights of a multiclass task: they multiply each class's probability before the largest one decides.

The largest probability is the best choice for accuracy. For balanced accuracy it is the largest probability divided by
the class's share in the data (Bayes' rule with equal costs per class). How far that holds depends on what training has
balanced already, so the power of the share is tuned on out-of-fold predictions, and each method is estimated on folds
that it has not seen (`kit.decision.rule`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from kit.decision.rule import Score, TunedRule, cross_fit
from kit.scoring.metrics import mean_recall, recall_by_class
from kit.scoring.predictions import Predictions

METHODS = {
    "largest": "the largest probability as it is",
    "prior": "probabilities divided by the class's share",
    "power": "divided by a tuned power of that share",
    "weights": "a weight per class, searched one after the other from there",
}
KNOBS = ("power",)
POWERS = np.linspace(0, 1.5, 31)
ROUNDS = 5  # over all classes; more than three are rarely needed
RATIO = 4.0  # by which factor a class's weight may move from where the search began, up or down


@dataclass(frozen=True)
class ClassWeights:
    """A decision rule: predict the class with the largest weighted probability.

    Args:
        method: a name of `METHODS`.
        weights: K, above 0.
        power: of the class's share that divides its probability; None if there is none.
    """

    method: str
    weights: tuple[float, ...]
    power: float | None = None

    def weighted(self, values: np.ndarray) -> np.ndarray:
        """Multiply probabilities nxK by the weights; rows sum to 1 again."""
        product = values.astype(np.float64) * np.asarray(self.weights)
        result: np.ndarray = product / np.maximum(product.sum(1, keepdims=True), 1e-30)
        return result

    def predicted(self, values: np.ndarray) -> np.ndarray:
        """Predict n class numbers from probabilities nxK."""
        predicted: np.ndarray = self.weighted(values).argmax(1)
        return predicted

    def applied(self, predictions: Predictions) -> Predictions:
        """Return predictions whose largest value is that of the predicted class."""
        return replace(predictions, values=self.weighted(predictions.values).astype(np.float32))

    def thresholds_for(self, values: np.ndarray) -> None:
        """Return None: the largest weighted probability decides."""

    def fixed(self, values: np.ndarray) -> "ClassWeights":
        """Return the rule itself: it does not depend on the rows that it is applied to."""
        return self

    def document(self) -> dict[str, Any]:
        """Return the rule as JSON."""
        return {"kind": "weights", "method": self.method, "weights": list(self.weights), "power": self.power}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "ClassWeights":
        """Read what `document` returned."""
        return cls(document["method"], tuple(document["weights"]), document["power"])


def fit(method: str, target: np.ndarray, values: np.ndarray) -> ClassWeights:
    """Tune the weights for balanced accuracy on some rows.

    Args:
        method: a name of `METHODS`.
        target: n class numbers.
        values: nxK probabilities.
    """
    count = values.shape[1]
    if method == "largest":
        return ClassWeights(method, (1.0,) * count)
    # A class without rows counts as one row, so that its weight stays finite.
    share = np.maximum(np.bincount(target, minlength=count), 1) / len(target)
    if method == "prior":
        return ClassWeights(method, tuple((1 / share).tolist()), 1.0)
    power = _power(target, values, share)
    start = share**-power
    if method == "power":
        return ClassWeights(method, tuple(start.tolist()), power)
    return ClassWeights(method, tuple(_searched(target, values, start).tolist()), power)


def _power(target: np.ndarray, values: np.ndarray, share: np.ndarray) -> float:
    """Return the power of `POWERS` with the best balanced accuracy, the middle one of a stretch of equals."""
    scores = np.array([mean_recall(target, (values * share**-power).argmax(1)) for power in POWERS])
    # Smooth over neighbours: one good power among poor ones is luck.
    smooth = np.convolve(np.pad(scores, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    best = np.flatnonzero(smooth >= smooth.max() - 1e-12)
    return float(POWERS[best[len(best) // 2]])


def _searched(target: np.ndarray, values: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Search by coordinate ascent: set each class's weight in turn where balanced accuracy is largest, others fixed.

    For one class, try all weights that change a prediction: row i turns to class k from the weight
    max_{j != k} w_j p_ij / p_ik on.
    """
    total = np.bincount(target, minlength=values.shape[1])
    worth = np.where(total > 0, 1 / np.maximum(total, 1), 0.0)  # of a correct prediction, per class
    weights = start.copy()
    for _ in range(ROUNDS):
        before = weights.copy()
        for k in range(values.shape[1]):
            weights[k] = _best_weight(target, values, weights, k, worth, start[k])
        if np.array_equal(before, weights):
            break
    return weights


def _best_weight(
    target: np.ndarray, values: np.ndarray, weights: np.ndarray, k: int, worth: np.ndarray, start: float
) -> float:
    weighted = values * weights
    weighted[:, k] = -1
    rival = weighted.argmax(1)
    turns = weighted[np.arange(len(values)), rival] / np.maximum(values[:, k], 1e-12)
    gain = np.where(target == k, worth[k], 0.0) - np.where(rival == target, worth[target], 0.0)
    order = np.argsort(turns, kind="stable")
    turns, score = turns[order], np.cumsum(gain[order])
    # Between rows i and i + 1, all rows up to i are predicted as class k; before the first row, none is.
    edges = np.concatenate([[turns[0] / 2], np.sqrt(turns[:-1] * turns[1:]), [turns[-1] * 2]])
    scores = np.concatenate([[0.0], score])
    apart = np.concatenate([[True], turns[1:] > turns[:-1], [True]])
    inside = apart & (edges >= start / RATIO) & (edges <= start * RATIO)
    if not inside.any():
        return float(weights[k])
    best = scores[inside].max()
    # Of equals take the one nearest to the current weight: the search ends when nothing is gained.
    edge = edges[inside & (scores >= best - 1e-12)]
    now = scores[np.searchsorted(turns, weights[k], side="right")]
    if now >= best - 1e-12:
        return float(weights[k])
    return float(edge[np.abs(np.log(edge / weights[k])).argmin()])


def tune(
    target: np.ndarray, values: np.ndarray, folds: np.ndarray, score: Score, beta: float = 1.0
) -> dict[str, TunedRule]:
    """Tune by every method of `METHODS` on out-of-fold predictions, for balanced accuracy.

    Args:
        target: n class numbers.
        values: nxK probabilities.
        folds: n, the fold of each row; at least two folds.
        score: the metric of predicted classes, which compares the methods.
        beta: unused; thresholds need it.
    """
    values = values.astype(np.float64)

    def fit_on(method: str, chosen: frozenset[int]) -> ClassWeights:
        rows = np.isin(folds, list(chosen))
        return fit(method, target[rows], values[rows])

    return {method: cross_fit(partial(fit_on, method), values, folds, score) for method in METHODS}


def by_class(classes: Sequence[str], target: np.ndarray, values: np.ndarray, best: TunedRule) -> list[dict[str, Any]]:
    """Return one row per class: its weight relative to the first class's, or its cut, and recall with and without the
    rule."""
    count, rule = len(classes), best.rule.document()
    weights = rule.get("weights")
    column = "weight" if weights else "cut"
    knobs = [float(weight / weights[0]) for weight in weights] if weights else rule["cuts"]
    before, after = (recall_by_class(target, each, count) for each in (values.argmax(1), best.predicted))
    positives, counts = (np.bincount(numbers, minlength=count) for numbers in (target, best.predicted))
    return [
        {
            "class": name,
            "positives": int(total),
            "predicted": int(predicted),
            column: knob,
            "recall_by_largest": float(plain),
            "recall": float(recall),
        }
        for name, total, predicted, knob, plain, recall in zip(
            classes, positives, counts, knobs, before, after, strict=True
        )
    ]
