"""Folds beside the whole: what it means when the score of all rows together is not that of the folds."""

from collections.abc import Iterable

import numpy as np

from kit.hooks.specs import MetricSpec

BEYOND = 0.01  # of the worst fold
BELOW = 0.02  # of the mean, for a metric whose runs are ranked by it


def mean_over_folds(scores: Iterable[float | None]) -> float | None:
    """Return the mean of the folds' scores; None if one is undefined or there are none."""
    known = np.array([np.nan if score is None else score for score in scores], np.float64)
    return float(known.mean()) if len(known) and np.isfinite(known).all() else None


def apart(metric: MetricSpec, value: float | None, folds: Iterable[float | None]) -> str:
    """Say that the networks of the folds are calibrated apart, where the scores show it; empty where they do not.

    A probability of one fold's network then means something else than the same one of another's, so that all rows
    together score worse than each fold does by itself. Test images do not suffer: every network predicts all of them.

    Args:
        metric: the competition's.
        value: of all out-of-fold predictions together.
        folds: the score of each fold.
    """
    scores = list(folds)
    mean = mean_over_folds(scores)
    if value is None or not np.isfinite(value) or mean is None or len(scores) < 2:
        return ""
    sign = 1 if metric.higher_is_better else -1
    worst = min(sign * score for score in scores if score is not None)
    by_folds = metric.ranked_by == "folds" and sign * (mean - value) > BELOW
    if not by_folds and worst - sign * value <= BEYOND:
        return ""
    ranks = "the mean ranks runs" if metric.ranked_by == "folds" else "the value of all together ranks runs"
    return (
        f"{metric.name} of all folds together is {value:.4f}, the mean over folds {mean:.4f}: the networks of the "
        f"folds are calibrated apart (no loss for test images, which all of them predict); {ranks}"
    )
