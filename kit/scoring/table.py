"""The table of `kit evaluate`: scores per class, confusion matrices."""

from typing import Any

import numpy as np

from kit.scoring.metrics import quadratic_kappa
from kit.task import ORDINAL, Task


def classification_table(
    task: Task, classes: tuple[str, ...], target: np.ndarray, prediction: np.ndarray, predicted: np.ndarray, beta: float
) -> dict[str, Any]:
    """Compute accuracy, precision, recall, F1, F-beta, the report per class and the confusion matrix by scikit-learn.

    A binary task also gets sensitivity and specificity, a multi-label one a confusion between labels, an ordinal one
    quadratic kappa. Averages over
    several classes are macro averages. The report also has the area under each class's ROC curve.

    Args:
        task: of the competition.
        classes: names, two for a binary task.
        target, prediction: as metrics take them (`MetricSpec`).
        predicted: the predicted classes, as `Task.predicted` or a decision rule returns them.
        beta: weight of recall in F-beta.
    """
    from sklearn import metrics

    labels = np.arange(len(classes))
    if not task.softmax:
        target, predicted = target.astype(np.int64), predicted.astype(np.int64)
    positive_only = task.average == "binary"
    common: dict[str, Any] = {"average": task.average, "zero_division": 0}
    if not positive_only:
        common["labels"] = labels
    table: dict[str, Any] = {
        "accuracy": metrics.accuracy_score(target, predicted),
        "precision": metrics.precision_score(target, predicted, **common),
        "recall": metrics.recall_score(target, predicted, **common),
        "f1": metrics.f1_score(target, predicted, **common),
        f"f{beta:g}": metrics.fbeta_score(target, predicted, beta=beta, **common),
    }
    if positive_only:
        table["sensitivity"] = table["recall"]
        table["specificity"] = metrics.recall_score(target, predicted, pos_label=0, zero_division=0)
    areas = _areas(task.one_hot(target, len(classes)), task.by_class(prediction))
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
        counts = metrics.confusion_matrix(target, predicted, labels=labels)
        table["confusion"] = counts.tolist()
        if task is ORDINAL:
            table["quadratic_kappa"] = float(quadratic_kappa(counts))
    return table


def _areas(hot: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the area under each class's ROC curve (one against the rest) from ranks (Mann and Whitney), or NaN."""
    from scipy.stats import rankdata

    positives = hot.sum(0)
    ranks = np.where(hot, rankdata(prediction, axis=0), 0).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        areas: np.ndarray = (ranks - positives * (positives + 1) / 2) / (positives * (len(hot) - positives))
    return areas


def label_confusion(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Count rows from nxK booleans in a KxK matrix: off the diagonal those where label i was missed and label j wrongly
    predicted, on it those where the label was found."""
    missed, wrong, found = target & ~predicted, predicted & ~target, target & predicted
    matrix: np.ndarray = missed.T.astype(np.int64) @ wrong.astype(np.int64)
    np.fill_diagonal(matrix, found.sum(0))
    return matrix
