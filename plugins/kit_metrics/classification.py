"""Classification metrics from probabilities. For the shapes see `kit.plugin.MetricSpec`; NaN where one is not defined.

A prediction that is NaN is an error (or makes log loss NaN): it must never count as a good one.

Of those that judge predicted classes, a sigmoid predicts its class from 0.5 on, a softmax that of the largest
probability. Whoever has a decision rule, or the grades of an ordinal task, gives the predicted classes as probabilities
of 0 and 1.
"""

from collections.abc import Callable

import numpy as np

from kit.plugin.metrics import MULTICLASS, MULTILABEL, f_beta, mean_recall, nested_f1

Figure = Callable[[np.ndarray, np.ndarray], float]
HALF, SENSITIVITY = 0.5, 0.8  # above which `partial_auc` takes the area


def roc_auc(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the area under the ROC curve; of several classes, the mean over the columns in which both values occur.

    Of classes that exclude each other each column is one class against the rest. NaN if only one class occurs: the
    curve is not defined then.
    """
    return _mean_over_columns(target, prediction, _area)


def mean_average_precision(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the average precision; of several classes, the mean over those that occur.

    As scikit-learn's `average_precision_score`: the sum over thresholds of the precision times the gain in recall,
    without interpolation. NaN without a positive.
    """
    return _mean_over_columns(target, prediction, _average_precision)


def partial_auc(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the area between the ROC curve and a sensitivity of 0.8: 0 to 0.2, 0.02 by chance.

    The score of ISIC 2024 (Kurtansky et al. 2024). NaN if only one class occurs.
    """
    positive = target > 0
    if not positive.any() or positive.all():
        return float("nan")
    # From the other end: of the lowest predictions, the share of the positives and that of the negatives.
    lost, spared = _counts(~positive, -prediction)
    x, y = (np.concatenate([[0], counts]) / counts[-1] for counts in (lost, spared))
    most = 1 - SENSITIVITY
    end = int(np.searchsorted(x, most, "right"))
    height = np.interp(most, x[end - 1 : end + 1], y[end - 1 : end + 1])
    return float(np.trapezoid(np.append(y[:end], height), np.append(x[:end], most)))


def log_loss(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the mean cross-entropy in nats (multi-label: over all cells); probabilities below 1e-7 count as 1e-7."""
    task = MULTICLASS if target.ndim < prediction.ndim else MULTILABEL
    return float(task.losses(target, prediction).mean())


def top_k_accuracy(target: np.ndarray, prediction: np.ndarray, k: int) -> float:
    """Return the share of rows (targets n) whose class is among the k most probable (nxK); ties count in its favour."""
    own = _known(prediction)[np.arange(len(target)), target][:, None]
    return float(((prediction > own).sum(1) < k).mean())


def map_at_k(target: np.ndarray, prediction: np.ndarray, k: int) -> float:
    """Return the mean over the rows of the average precision of the k most probable classes (MAP@k).

    Of one class per row (targets n) that is one over its rank, 0 beyond k; ties count in its favour. Of several
    (targets nxK), the sum of the precision at each right one of the k, over their number or k, whichever is smaller;
    rows without a class are left out, and NaN is returned if there are no others.
    """
    if target.ndim < prediction.ndim:
        own = _known(prediction)[np.arange(len(target)), target][:, None]
        rank = (prediction > own).sum(1) + 1
        return float(np.where(rank <= k, 1 / rank, 0.0).mean())
    there = target.sum(1) > 0
    if not there.any():
        return float("nan")
    hits = target[there] > 0
    order = np.argsort(-_known(prediction)[there], axis=1, kind="stable")[:, :k]
    right = np.take_along_axis(hits, order, 1)
    precision = right.cumsum(1) / np.arange(1, right.shape[1] + 1)
    return float(((precision * right).sum(1) / np.minimum(hits.sum(1), k)).mean())


def accuracy(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the share of correct predictions; in a multi-label task every cell counts."""
    if target.ndim < prediction.ndim:
        return float((_known(prediction).argmax(1) == target).mean())
    return float(((_known(prediction) >= HALF) == (target >= HALF)).mean())


def macro_f1(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the mean of F1 over classes: `macro_f_beta`."""
    return macro_f_beta(target, prediction, 1.0)


def macro_f_beta(target: np.ndarray, prediction: np.ndarray, beta: float) -> float:
    """Return the mean of F-beta over classes; for a binary task it is that of the positive class.

    As scikit-learn's `fbeta_score(average="macro", zero_division=0)`: a class that is neither present nor predicted
    counts 0.
    """
    return float(f_beta(*_cells(target, prediction), beta, 0).mean())


def micro_f_beta(target: np.ndarray, prediction: np.ndarray, beta: float) -> float:
    """Return F-beta of all cells, row by class, together, as scikit-learn's `average="micro"`.

    Where each row has one class that is the accuracy; for a binary task it is F-beta of the positive class.
    """
    truth, predicted = _cells(target, prediction)
    return float(f_beta(truth.reshape(-1), predicted.reshape(-1), beta, 0))


def sample_f_beta(target: np.ndarray, prediction: np.ndarray, beta: float) -> float:
    """Return the mean of F-beta over rows, as scikit-learn's `average="samples"`; both nxK.

    A row without a class, true or predicted, counts 0.
    """
    return float(f_beta(*_cells(target, prediction), beta, 1).mean())


def macro_f1_tuned(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return macro F1 with a threshold per class, found for each third of the rows on the other two; both nxK."""
    return nested_f1(target, _known(prediction), np.arange(len(target)) % 3, "per-class")


def balanced_accuracy(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the mean recall of the classes that occur.

    As scikit-learn's `balanced_accuracy_score`, and the official score of ISIC 2018 task 3 except for ties.
    """
    predicted = _known(prediction).argmax(1) if prediction.ndim == 2 else _known(prediction) >= HALF
    return mean_recall(target.astype(np.int64), predicted)


def quadratic_kappa(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return Cohen's kappa with quadratic weights (Cohen 1968) of class numbers n and the classes predicted by nxK.

    As scikit-learn's `cohen_kappa_score(weights="quadratic")`: 1 less the mean squared distance of the two grades,
    over that of two independent draws of them. NaN if all grades, true and predicted, are one.
    """
    true, predicted = target.astype(np.int64), _known(prediction).argmax(1)
    count, grades = prediction.shape[1], np.arange(prediction.shape[1])
    distance = np.square(grades[:, None] - grades)
    by_chance = np.bincount(true, minlength=count) @ distance @ np.bincount(predicted, minlength=count) / len(true)
    return 1 - float(np.square(true - predicted).sum() / by_chance) if by_chance else float("nan")


def matthews(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return Matthews' correlation of true and predicted classes (Matthews 1975, of several classes Gorodkin 2004).

    In a multi-label task, of all cells. As scikit-learn's `matthews_corrcoef`: 0 if all predictions are one class. NaN
    if all targets are.
    """
    if target.ndim < prediction.ndim:
        true, predicted, count = target.astype(np.int64), _known(prediction).argmax(1), prediction.shape[1]
    else:
        true, predicted = ((values >= HALF).astype(np.int64).reshape(-1) for values in (target, _known(prediction)))
        count = 2
    total, right = len(true), int((true == predicted).sum())
    there, said = np.bincount(true, minlength=count), np.bincount(predicted, minlength=count)
    spread = total**2 - int(there @ there)
    wide = spread * (total**2 - int(said @ said))
    if not spread:
        return float("nan")
    return float(right * total - int(there @ said)) / wide**0.5 if wide else 0.0


def _known(prediction: np.ndarray) -> np.ndarray:
    """Return predictions as they are; one that is NaN has no place among the others and is refused."""
    if np.isnan(prediction).any():
        raise ValueError("a prediction is NaN")
    return prediction


def _cells(target: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which cells, row by class, are true and which are predicted: nxK booleans, of a binary task nx1."""
    _known(prediction)
    if target.ndim < prediction.ndim:
        classes = np.arange(prediction.shape[1])
        return target[:, None] == classes, prediction.argmax(1)[:, None] == classes
    shape = (len(target), -1)
    return target.reshape(shape) >= HALF, prediction.reshape(shape) >= HALF


def _mean_over_columns(target: np.ndarray, prediction: np.ndarray, figure_of: Figure) -> float:
    """Return a figure of (positives, predictions), the mean over the columns for which it is defined."""
    if prediction.ndim == 1:
        return figure_of(target > 0, prediction)
    hot = target > 0 if target.ndim == 2 else target[:, None] == np.arange(prediction.shape[1])
    figures = np.array([figure_of(hot[:, k], prediction[:, k]) for k in range(prediction.shape[1])])
    defined = figures[np.isfinite(figures)]
    return float(defined.mean()) if len(defined) else float("nan")


def _counts(positive: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many negatives and positives are predicted at each threshold, from the highest down."""
    order = np.argsort(-_known(prediction))
    ranked = prediction[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # the last of each run of ties
    true = np.cumsum(positive[order], dtype=np.int64)[last]
    return last + 1 - true, true


def _area(positive: np.ndarray, prediction: np.ndarray) -> float:
    """Return the share of positive-negative pairs of rows in the right order; ties count half (Mann and Whitney).

    One sort, and integers up to the division: exact, and several times faster than computing the curve.
    """
    if not positive.any() or positive.all():
        return float("nan")
    false, true = _counts(positive, prediction)
    # Each negative counts against the positives above its tie, and half against those in it.
    above = true + np.concatenate([[0], true[:-1]])
    correct = int((np.diff(false, prepend=0) * above).sum())
    return correct / (2 * int(true[-1]) * int(false[-1]))


def _average_precision(positive: np.ndarray, prediction: np.ndarray) -> float:
    if not positive.any():
        return float("nan")
    false, true = _counts(positive, prediction)
    return float((np.diff(true, prepend=0) * (true / (true + false))).sum() / true[-1])
