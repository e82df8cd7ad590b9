"""Metrics of numbers in the target's own unit, n or, of several targets, nxT; a NaN where one is not defined."""

import numpy as np

from kit.plugin import metrics


def rmse(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the root of the mean squared error; of several targets, the mean of their roots (MCRMSE)."""
    truth, error = _columns(target, prediction)
    return float(np.sqrt(np.square(error).mean(0)).mean()) if len(truth) else float("nan")


def mae(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the mean absolute error; of several targets, the mean over them."""
    truth, error = _columns(target, prediction)
    return float(np.abs(error).mean()) if len(truth) else float("nan")


def r2(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the share of the variance that is explained (R2); of several targets, the mean over those that vary.

    As scikit-learn's `r2_score`, but NaN where no target varies: there is nothing to explain.
    """
    truth, error = _columns(target, prediction)
    if not len(truth):
        return float("nan")
    spread = np.square(truth - truth.mean(0)).sum(0)
    varies = spread > 0
    return float((1 - np.square(error).sum(0)[varies] / spread[varies]).mean()) if varies.any() else float("nan")


def weighted_r2(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return R2 of all pairs of row and target together, each pair with the weight 1.

    A competition that weighs its targets gives a metric of its own, on `kit.plugin.metrics.weighted_r2`.
    """
    truth = target.reshape(len(target), -1)
    return metrics.weighted_r2(target, prediction, np.ones(truth.shape[1]))


def _columns(target: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets and the errors, both float64 nxT."""
    truth = np.asarray(target, np.float64)
    truth = truth[:, None] if truth.ndim == 1 else truth
    return truth, np.asarray(prediction, np.float64).reshape(truth.shape) - truth
