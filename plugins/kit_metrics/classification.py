"""Metrics of classification from probabilities. Shapes: see `kit.plugin.specs.MetricSpec`."""

import numpy as np
from sklearn.metrics import roc_auc_score


def roc_auc(target: np.ndarray, prediction: np.ndarray) -> float:
    """Area under the ROC curve; with several classes the mean of one-against-rest over those that occur.

    NaN where only one class occurs: the curve is not defined there.
    """
    if prediction.ndim == 1:
        return float(roc_auc_score(target, prediction)) if 0 < target.sum() < len(target) else float("nan")
    hot = target if target.ndim == 2 else np.eye(prediction.shape[1])[target]
    areas = [roc_auc(hot[:, k], prediction[:, k]) for k in range(prediction.shape[1])]
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")


def accuracy(target: np.ndarray, prediction: np.ndarray) -> float:
    """Share of right answers: at 0.5 for sigmoids (multilabel: over all cells), by the largest for softmax."""
    if target.ndim < prediction.ndim:
        return float((prediction.argmax(1) == target).mean())
    return float(((prediction >= 0.5) == (target >= 0.5)).mean())
