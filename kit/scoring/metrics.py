"""Building blocks of several metrics: F-beta and recall per class, weighted R2, kappa; and which score is best."""

from collections.abc import Callable, Iterable, Sequence
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


def f_beta(target: np.ndarray, predicted: np.ndarray, beta: float, axis: int) -> np.ndarray:
    """Return F-beta of booleans (van Rijsbergen 1979), counted along an axis; 0 where nothing is true or predicted.

    Recall weighs `beta` times as much as precision.
    """
    hits = np.count_nonzero(target & predicted, axis=axis)
    square = beta**2
    total = square * np.count_nonzero(target, axis=axis) + np.count_nonzero(predicted, axis=axis)
    result: np.ndarray = (1 + square) * hits / np.where(total > 0, total, 1)
    return result


def f1_by_class(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return F1 per class, K, from nxK booleans; 0 for a class that is neither true nor predicted in any row."""
    return f_beta(target, predicted, 1, 0)


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


def weighted_r2(target: np.ndarray, prediction: np.ndarray, weights: Sequence[float] | np.ndarray) -> float:
    """Return R2 of all pairs of row and target together, where each target has a weight.

    1 less the weighted sum of squared errors over that of the squared distances from the weighted mean of all targets,
    as CSIRO's biomass competition scores it. NaN if no target varies.

    Args:
        target: numbers, n or nxT.
        prediction: likewise.
        weights: of the targets, T.
    """
    truth = np.asarray(target, np.float64).reshape(len(target), -1)
    guess = np.asarray(prediction, np.float64).reshape(truth.shape)
    each = np.broadcast_to(np.asarray(weights, np.float64), truth.shape)
    total = each.sum()
    mean = (each * truth).sum() / total if total else 0.0
    spread = (each * np.square(truth - mean)).sum()
    return float(1 - (each * np.square(truth - guess)).sum() / spread) if spread > 0 else float("nan")


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
