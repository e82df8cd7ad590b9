"""One class against the rest at every threshold: ROC, precision and recall, counts; and calibration.

Everything comes from the sorted probabilities of the positives and of the negatives, so that a curve over 40 million
pairs of image and class costs one sort.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

BINS = 15  # of the calibration curve, as Guo et al. (2017) have it


@dataclass(frozen=True)
class Ranked:
    """The probabilities of one class, sorted.

    Args:
        positives: of the rows that have the class, P in rising order.
        negatives: of the others, N in rising order.
    """

    positives: np.ndarray
    negatives: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, values: np.ndarray) -> "Ranked":
        """From truth values and probabilities of one shape."""
        return cls(np.sort(values[truth]), np.sort(values[~truth]))

    def above(self, thresholds: np.ndarray, side: Literal["left", "right"] = "left") -> tuple[np.ndarray, np.ndarray]:
        """How many positives and negatives reach each threshold; with side `right`: exceed it."""
        true, false = (len(each) - np.searchsorted(each, thresholds, side) for each in (self.positives, self.negatives))
        return true, false

    @cached_property
    def cuts(self) -> np.ndarray:
        """The distinct probabilities of positives, in falling order: where true answers are added."""
        return np.unique(self.positives)[::-1]

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve: how often a positive stands above a negative, ties half (Mann and Whitney)."""
        if not len(self.positives) or not len(self.negatives):
            return None
        _, reach = self.above(self.positives)
        _, exceed = self.above(self.positives, "right")
        return float(1 - (reach + exceed).mean() / 2 / len(self.negatives))

    @property
    def average_precision(self) -> float | None:
        """The precision at each positive's probability, averaged over the positives (no interpolation)."""
        if not len(self.positives):
            return None
        true, false = self.above(self.positives)
        return float((true / (true + false)).mean())

    def roc(self) -> np.ndarray:
        """The corners of the ROC curve, 2 x M: false and true positive rate, from (0, 0) to (1, 1)."""
        corners = np.empty((2, 2 * len(self.cuts)))
        corners[1, 0::2], corners[0, 0::2] = self.above(self.cuts, "right")
        corners[1, 1::2], corners[0, 1::2] = self.above(self.cuts)
        rates = corners / [[max(len(self.negatives), 1)], [max(len(self.positives), 1)]]
        return np.hstack([np.zeros((2, 1)), rates, np.ones((2, 1))])

    def precision_recall(self) -> np.ndarray:
        """Recall and precision at each of `cuts`, 2 x M; recall rises."""
        true, false = self.above(self.cuts)
        return np.stack([true / max(len(self.positives), 1), true / (true + false)])


def thinned(curve: np.ndarray, along: np.ndarray, points: int) -> np.ndarray:
    """At most about `points` columns of a curve 2 x M, evenly along a coordinate M that rises; the ends stay."""
    if curve.shape[1] <= points:
        return curve
    wanted = np.linspace(along[0], along[-1], points)
    kept = np.unique(np.append(np.searchsorted(along, wanted), [0, len(along) - 1]))
    return curve[:, kept]


def class_curve(truth: np.ndarray, values: np.ndarray, thresholds: np.ndarray, points: int) -> dict[str, Any]:
    """What the page draws of one class: areas, thinned curves, and how many rows reach each threshold.

    Args:
        truth: n truth values.
        values: n probabilities.
        thresholds: where to count.
        points: of a curve.
    """
    ranked = Ranked.of(truth, values)
    true, false = ranked.above(thresholds)
    return {
        "auc": ranked.auc,
        "average_precision": ranked.average_precision,
        "positives": len(ranked.positives),
        "negatives": len(ranked.negatives),
        **curves_of(ranked, points),
        "true": true.tolist(),
        "false": false.tolist(),
    }


def curves_of(ranked: Ranked, points: int) -> dict[str, Any]:
    """`roc` (false and true positive rates) and `pr` (recall, precision) to draw; None where undefined."""
    roc, pr = ranked.roc(), ranked.precision_recall()
    return {
        # Along both axes: no step, whether upright or level, may be lost.
        "roc": None if ranked.auc is None else _short(thinned(roc, roc.sum(0), points)),
        "pr": None if not len(ranked.positives) else _short(thinned(pr, pr[0], points)),
    }


def macro_roc(curves: list[dict[str, Any]], points: int) -> list[list[float]] | None:
    """The mean true positive rate of classes at each false positive rate, as `class_curve` gave them."""
    defined = [curve["roc"] for curve in curves if curve["roc"] is not None]
    if not defined:
        return None
    rates = np.linspace(0, 1, points)
    mean = np.mean([np.interp(rates, false, true) for false, true in defined], axis=0)
    return _short(np.vstack([np.append(0, rates), np.append(0, mean)]))


def _short(curve: np.ndarray) -> list[list[float]]:
    """Four decimals are below a pixel."""
    rounded: list[list[float]] = np.round(curve, 4).tolist()
    return rounded


def calibration(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Bins of equal width and the expected calibration error (Naeini et al. 2015, Guo et al. 2017).

    Args:
        confidence: n probabilities.
        right: n truth values: whether what was said with that probability is so.

    Returns:
        `ece`, and for each bin (l, u] that is not empty its number of rows, mean confidence and share of right ones.
    """
    confidence = confidence.astype(np.float64)
    number = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(int)
    rows = np.bincount(number, minlength=BINS)
    said, so = (np.bincount(number, each, minlength=BINS) for each in (confidence, right))
    filled = np.flatnonzero(rows)
    return {
        "ece": float(np.abs(said - so).sum() / max(len(confidence), 1)),
        "bins": [
            {
                "from": bin_ / BINS,
                "to": (bin_ + 1) / BINS,
                "rows": int(rows[bin_]),
                "confidence": float(said[bin_] / rows[bin_]),
                "right": float(so[bin_] / rows[bin_]),
            }
            for bin_ in filled.tolist()
        ],
    }
