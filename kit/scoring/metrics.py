"""Scores: the competition's metric, its interval, and the table of `kit evaluate`."""

from typing import Any

import numpy as np

from kit.console import Console
from kit.hooks.specs import MetricSpec
from kit.task import Task


def f1_by_class(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """F1 of each class, K, from nxK truth values; 0 for a class that neither stands there nor is given."""
    hits = np.count_nonzero(target & predicted, axis=0)
    total = np.count_nonzero(target, axis=0) + np.count_nonzero(predicted, axis=0)
    result: np.ndarray = 2 * hits / np.maximum(total, 1)
    return result


def macro_f1(target: np.ndarray, predicted: np.ndarray) -> float:
    """The mean of `f1_by_class`."""
    return float(f1_by_class(target, predicted).mean())


def recall_by_class(target: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """The share of each class's rows that are answered right, K, from class numbers n; NaN for one without rows."""
    total = np.bincount(target, minlength=classes)
    right = np.bincount(target[predicted == target], minlength=classes)
    result: np.ndarray = np.where(total > 0, right / np.maximum(total, 1), np.nan)
    return result


def mean_recall(target: np.ndarray, predicted: np.ndarray) -> float:
    """Balanced accuracy of class numbers n: the mean recall of the classes that occur."""
    return float(np.nanmean(recall_by_class(target, predicted, int(target.max()) + 1)))


def bootstrap_interval(
    metric: MetricSpec,
    target: np.ndarray,
    prediction: np.ndarray,
    groups: np.ndarray,
    console: Console,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile interval of a metric, resampling whole groups (Efron 1979; clusters are not independent).

    1,000 resamples, 200 from 20,000 rows on, where the interval is narrow and the metric slow.
    """
    random = np.random.default_rng(seed)
    known, number = np.unique(groups, return_inverse=True)
    scores = []
    resamples = 1000 if len(target) < 20_000 else 200
    with console.progress("interval", resamples, "resamples") as bar:
        for _ in range(resamples):
            drawn = np.bincount(random.integers(0, len(known), len(known)), minlength=len(known))
            # In the order of the rows: gathered so they come from the processor's cache.
            rows = np.repeat(np.arange(len(groups)), drawn[number])
            scores.append(metric.compute(target[rows], prediction[rows]))
            bar.advance()
    finite = np.asarray(scores)[np.isfinite(scores)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def score_with_interval(
    metric: MetricSpec,
    target: np.ndarray,
    prediction: np.ndarray,
    groups: np.ndarray,
    grouped_by: str,
    console: Console,
) -> dict[str, Any]:
    """What a run's record says of a score: metric, value, low, high (None where undefined), ids, what was resampled."""
    numbers = (metric.compute(target, prediction), *bootstrap_interval(metric, target, prediction, groups, console))
    value, low, high = (each if np.isfinite(each) else None for each in numbers)
    return {
        "metric": metric.name,
        "value": value,
        "low": low,
        "high": high,
        "ids": len(target),
        "resampled": grouped_by or "id",
    }


def classification_table(
    task: Task, classes: tuple[str, ...], target: np.ndarray, prediction: np.ndarray, predicted: np.ndarray, beta: float
) -> dict[str, Any]:
    """Accuracy, precision, recall, F1, F-beta, the report by class and the confusion matrix, by scikit-learn.

    A binary task also gets sensitivity and specificity, a multilabel one a confusion between labels. Averages over
    several classes are macro averages. The report has the area under each class's ROC curve too.

    Args:
        task: of the competition.
        classes: names, two for a binary task.
        target, prediction: as metrics take them (`MetricSpec`).
        predicted: the predicted classes, as `Task.predicted` or a decision rule gives them.
        beta: weight of recall in F-beta.
    """
    from sklearn import metrics

    labels = np.arange(len(classes))
    if not task.softmax:
        target, predicted = target.astype(np.int64), predicted.astype(np.int64)
    positive_alone = task.average == "binary"
    common: dict[str, Any] = {"average": task.average, "zero_division": 0}
    if not positive_alone:
        common["labels"] = labels
    table: dict[str, Any] = {
        "accuracy": metrics.accuracy_score(target, predicted),
        "precision": metrics.precision_score(target, predicted, **common),
        "recall": metrics.recall_score(target, predicted, **common),
        "f1": metrics.f1_score(target, predicted, **common),
        f"f{beta:g}": metrics.fbeta_score(target, predicted, beta=beta, **common),
    }
    if positive_alone:
        table["sensitivity"] = table["recall"]
        table["specificity"] = metrics.recall_score(target, predicted, pos_label=0, zero_division=0)
    hot, shares = task.one_hot(target, len(classes)), task.by_class(prediction)
    areas = _areas(hot, shares)
    report = metrics.classification_report(
        target, predicted, labels=labels, target_names=list(classes), output_dict=True, zero_division=0
    )
    for name, area in zip(classes, areas, strict=True):
        report[name]["auc"] = float(area) if np.isfinite(area) else None
    table["report"] = report
    if not task.single_label:
        table["confusion"] = metrics.multilabel_confusion_matrix(target, predicted).tolist()
        table["label_confusion"] = label_confusion(target > 0, predicted > 0).tolist()
    else:
        table["confusion"] = metrics.confusion_matrix(target, predicted, labels=labels).tolist()
    return table


def _areas(hot: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class against the rest, from ranks (Mann and Whitney); NaN where undefined."""
    from scipy.stats import rankdata

    positives = hot.sum(0)
    ranks = np.where(hot, rankdata(prediction, axis=0), 0).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        areas: np.ndarray = (ranks - positives * (positives + 1) / 2) / (positives * (len(hot) - positives))
    return areas


def label_confusion(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """KxK counts from nxK truth values: off the diagonal rows whose label i was missed and label j given wrongly; on it
    rows whose label was found."""
    missed, wrong, found = target & ~predicted, predicted & ~target, target & predicted
    matrix: np.ndarray = missed.T.astype(np.int64) @ wrong.astype(np.int64)
    np.fill_diagonal(matrix, found.sum(0))
    return matrix
