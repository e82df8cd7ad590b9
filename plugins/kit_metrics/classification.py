"""Classification metrics from probabilities. For the shapes see `kit.plugin.MetricSpec`."""

import numpy as np

from kit.plugin import metrics
from kit.plugin.metrics import MULTICLASS, MULTILABEL, nested_f1


def roc_auc(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the area under the ROC curve; for several classes, the mean of one-against-rest over those that occur.

    NaN if only one class occurs: the curve is not defined then.
    """
    if prediction.ndim == 1:
        return _area(target > 0, prediction)
    hot = target if target.ndim == 2 else np.eye(prediction.shape[1])[target]
    areas = [roc_auc(hot[:, k], prediction[:, k]) for k in range(prediction.shape[1])]
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")


def accuracy(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the share of correct predictions: at 0.5 for sigmoids, by the largest probability for softmax.

    In a multi-label task every cell counts.
    """
    if target.ndim < prediction.ndim:
        return float((prediction.argmax(1) == target).mean())
    return float(((prediction >= 0.5) == (target >= 0.5)).mean())


def macro_f1(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the mean of F1 over classes: at 0.5 for sigmoids, by the largest probability for softmax.

    As scikit-learn's `f1_score(average="macro", zero_division=0)`: a class that is neither present nor predicted
    counts 0. For a binary task it is F1 of the positive class.
    """
    if target.ndim < prediction.ndim:
        classes = np.arange(prediction.shape[1])
        return metrics.macro_f1(target[:, None] == classes, prediction.argmax(1)[:, None] == classes)
    shape = (len(target), -1)
    return metrics.macro_f1(target.reshape(shape) >= 0.5, prediction.reshape(shape) >= 0.5)


def macro_f1_tuned(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return macro F1 with a threshold per class, found for each third of the rows on the other two; both nxK."""
    return nested_f1(target, prediction, np.arange(len(target)) % 3, "per-class")


def balanced_accuracy(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the mean recall of the classes that occur: at 0.5 for a sigmoid, by the largest probability for softmax.

    As scikit-learn's `balanced_accuracy_score`, and the official score of ISIC 2018 task 3 except for ties.
    """
    predicted = prediction.argmax(1) if prediction.ndim == 2 else prediction >= 0.5
    return metrics.mean_recall(target.astype(np.int64), predicted)


def log_loss(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the mean cross-entropy in nats (multi-label: over all cells); probabilities below 1e-7 count as 1e-7."""
    task = MULTICLASS if target.ndim < prediction.ndim else MULTILABEL
    return float(task.losses(target, prediction).mean())


def top_k_accuracy(target: np.ndarray, prediction: np.ndarray, k: int) -> float:
    """Return the share of rows (targets n) whose class is among the k most probable (nxK); ties count in its favour."""
    own = prediction[np.arange(len(target)), target][:, None]
    return float(((prediction > own).sum(1) < k).mean())


def _area(positive: np.ndarray, prediction: np.ndarray) -> float:
    """Return the share of positive-negative pairs of rows in the right order; ties count half (Mann and Whitney).

    One sort, and integers up to the division: exact, and several times faster than computing the curve.
    """
    if not positive.any() or positive.all():
        return float("nan")
    if np.isnan(prediction).any():
        raise ValueError("a prediction is NaN")
    order = np.argsort(prediction)
    ranked = prediction[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # the last of each run of ties
    positives = np.cumsum(positive[order], dtype=np.int64)[last]
    negatives = last + 1 - positives
    # Each negative counts against the positives above its tie, and half against those in it.
    above = 2 * positives[-1] - positives - np.concatenate([[0], positives[:-1]])
    correct = int((np.diff(negatives, prepend=0) * above).sum())
    return correct / (2 * int(positives[-1]) * int(negatives[-1]))
