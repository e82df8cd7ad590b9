"""One class against the rest at every threshold: ROC, precision and recall, counts; and calibration.

Everything comes from the sorted probabilities of the positives and of the negatives, so a curve over 40 million pairs
of image and class costs one sort.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

BINS = 15  # of the calibration curve, as in Guo et al. (2017)


@dataclass(frozen=True)
class Ranked:
    """The probabilities of one class, sorted.

    Args:
        positives: of the rows that have the class, P in ascending order.
        negatives: of the other rows, N in ascending order.
    """

    positives: np.ndarray
    negatives: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, values: np.ndarray) -> "Ranked":
        """Build it from truth values and probabilities of the same shape."""
        return cls(np.sort(values[truth]), np.sort(values[~truth]))

    def above(self, thresholds: np.ndarray, side: Literal["left", "right"] = "left") -> tuple[np.ndarray, np.ndarray]:
        """Count the positives and negatives that reach each threshold; with side `right`, exceed it."""
        true, false = (len(each) - np.searchsorted(each, thresholds, side) for each in (self.positives, self.negatives))
        return true, false

    @cached_property
    def cuts(self) -> np.ndarray:
        """The distinct probabilities of positives, in descending order: the thresholds that add true positives."""
        return np.unique(self.positives)[::-1]

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve: how often a positive ranks above a negative, ties count half (Mann and Whitney)."""
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
        """Return the corners of the ROC curve, 2 x M: false and true positive rate, from (0, 0) to (1, 1)."""
        corners = np.empty((2, 2 * len(self.cuts)))
        corners[1, 0::2], corners[0, 0::2] = self.above(self.cuts, "right")
        corners[1, 1::2], corners[0, 1::2] = self.above(self.cuts)
        rates = corners / [[max(len(self.negatives), 1)], [max(len(self.positives), 1)]]
        return np.hstack([np.zeros((2, 1)), rates, np.ones((2, 1))])

    def precision_recall(self) -> np.ndarray:
        """Return recall and precision at each of `cuts`, 2 x M; recall ascends."""
        true, false = self.above(self.cuts)
        return np.stack([true / max(len(self.positives), 1), true / (true + false)])


def thinned(curve: np.ndarray, along: np.ndarray, points: int) -> np.ndarray:
    """Keep about `points` columns of a curve 2 x M at most, evenly along an ascending coordinate M, with both ends."""
    if curve.shape[1] <= points:
        return curve
    wanted = np.linspace(along[0], along[-1], points)
    kept = np.unique(np.append(np.searchsorted(along, wanted), [0, len(along) - 1]))
    return curve[:, kept]


def class_curve(truth: np.ndarray, values: np.ndarray, thresholds: np.ndarray, points: int) -> dict[str, Any]:
    """Return what the page draws of one class: areas, thinned curves, and how many rows reach each threshold.

    Args:
        truth: n truth values.
        values: n probabilities.
        thresholds: where to count.
        points: per curve.
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
    """Return `roc` (false and true positive rates) and `pr` (recall, precision) to draw; None where undefined."""
    roc, pr = ranked.roc(), ranked.precision_recall()
    return {
        # Along both axes, so that no step is lost, vertical or horizontal.
        "roc": None if ranked.auc is None else _short(thinned(roc, roc.sum(0), points)),
        "pr": None if not len(ranked.positives) else _short(thinned(pr, pr[0], points)),
    }


def macro_roc(curves: list[dict[str, Any]], points: int) -> list[list[float]] | None:
    """Average the true positive rates of `class_curve` at each false positive rate."""
    defined = [curve["roc"] for curve in curves if curve["roc"] is not None]
    if not defined:
        return None
    rates = np.linspace(0, 1, points)
    mean = np.mean([np.interp(rates, false, true) for false, true in defined], axis=0)
    return _short(np.vstack([np.append(0, rates), np.append(0, mean)]))


def _short(curve: np.ndarray) -> list[list[float]]:
    """Round to four decimals, which is less than a pixel."""
    rounded: list[list[float]] = np.round(curve, 4).tolist()
    return rounded


def calibration(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Return bins of equal width and the expected calibration error (Naeini et al. 2015, Guo et al. 2017).

    Args:
        confidence: n probabilities.
        right: n truth values: whether the prediction of that probability is right.

    Returns:
        `ece`, and for each non-empty bin (l, u] its number of rows, mean confidence and share of right predictions.
    """
    confidence = confidence.astype(np.float64)
    number = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(int)
    rows = np.bincount(number, minlength=BINS)
    expected, observed = (np.bincount(number, each, minlength=BINS) for each in (confidence, right))
    filled = np.flatnonzero(rows)
    return {
        "ece": float(np.abs(expected - observed).sum() / max(len(confidence), 1)),
        "bins": [
            {
                "from": bin_ / BINS,
                "to": (bin_ + 1) / BINS,
                "rows": int(rows[bin_]),
                "confidence": float(expected[bin_] / rows[bin_]),
                "right": float(observed[bin_] / rows[bin_]),
            }
            for bin_ in filled.tolist()
        ],
    }
