"""Building blocks of several metrics: F1 and recall per class, kappa; and which of several scores is the best."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def best_of(candidates: Iterable[T], score_of: Callable[[T], float], higher_is_better: bool) -> T:
    """Return the candidate with the best score, the first of equals.

    An undefined score (NaN) is neither good nor bad: it is passed over; if all are, the first candidate is returned.
    """
    known, sign = list(candidates), 1 if higher_is_better else -1
    defined = [each for each in known if np.isfinite(score_of(each))]
    return max(defined, key=lambda each: sign * score_of(each)) if defined else known[0]


def f1_by_class(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return F1 per class, K, from nxK booleans; 0 for a class that is neither true nor predicted in any row."""
    hits = np.count_nonzero(target & predicted, axis=0)
    total = np.count_nonzero(target, axis=0) + np.count_nonzero(predicted, axis=0)
    result: np.ndarray = 2 * hits / np.maximum(total, 1)
    return result


def macro_f1(target: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean of `f1_by_class`."""
    return float(f1_by_class(target, predicted).mean())


def recall_by_class(target: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return the recall of each class, K, from class numbers n; NaN for a class without rows."""
    total = np.bincount(target, minlength=classes)
    right = np.bincount(target[predicted == target], minlength=classes)
    result: np.ndarray = np.where(total > 0, right / np.maximum(total, 1), np.nan)
    return result


def mean_recall(target: np.ndarray, predicted: np.ndarray) -> float:
    """Return the balanced accuracy of class numbers n: the mean recall of the classes that occur."""
    return float(np.nanmean(recall_by_class(target, predicted, int(target.max()) + 1)))


def quadratic_kappa(counts: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa with quadratic weights (Cohen 1968) of counts of true by predicted grade, ...xCxC.

    NaN where truth and prediction are the same single grade.
    """
    grades = np.arange(counts.shape[-1])
    weights = np.square(grades[:, None] - grades)
    true, predicted = counts.sum(-1).astype(np.float64), counts.sum(-2)
    observed = (weights * counts).sum((-2, -1))
    expected = np.einsum("...i,ij,...j->...", true, weights, predicted) / np.maximum(true.sum(-1), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa: np.ndarray = 1 - observed / expected
    return kappa
