"""Scores: the competition's metric, its interval, and the table of `kit evaluate`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.console import Console
from kit.plugin.specs import MetricSpec

if TYPE_CHECKING:
    from kit.plugin.specs import Task

Metric = Callable[[np.ndarray, np.ndarray], float]


def flat(task: "Task", values: np.ndarray) -> np.ndarray:
    """Targets or probabilities in the shape that metrics take: a binary task's nx1 becomes n."""
    return values[:, 0] if task == "binary" and values.ndim == 2 else values


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


def classification_table(
    task: "Task", classes: tuple[str, ...], target: np.ndarray, prediction: np.ndarray, threshold: float, beta: float
) -> dict[str, Any]:
    """Accuracy, precision, recall, F1, F-beta, the report by class and the confusion matrix, by scikit-learn.

    Binary and multilabel outputs are cut at `threshold`; a binary task also gets sensitivity and specificity.
    Averages over several classes are macro averages.
    """
    from sklearn import metrics

    if task == "multiclass":
        decided, labels = prediction.argmax(1), np.arange(len(classes))
    else:
        target, decided = target.astype(np.int64), (prediction >= threshold).astype(np.int64)
        labels = np.arange(2 if task == "binary" else len(classes))
    average = "binary" if task == "binary" else "macro"
    common: dict[str, Any] = {"average": average, "zero_division": 0}
    if task != "binary":
        common["labels"] = labels
    table: dict[str, Any] = {
        "accuracy": metrics.accuracy_score(target, decided),
        "precision": metrics.precision_score(target, decided, **common),
        "recall": metrics.recall_score(target, decided, **common),
        "f1": metrics.f1_score(target, decided, **common),
        f"f{beta:g}": metrics.fbeta_score(target, decided, beta=beta, **common),
    }
    if task == "binary":
        table["sensitivity"] = table["recall"]
        table["specificity"] = metrics.recall_score(target, decided, pos_label=0, zero_division=0)
    table["report"] = metrics.classification_report(
        target, decided, labels=labels, target_names=list(classes), output_dict=True, zero_division=0
    )
    if task == "multilabel":
        table["confusion"] = metrics.multilabel_confusion_matrix(target, decided).tolist()
    else:
        table["confusion"] = metrics.confusion_matrix(target, decided, labels=labels).tolist()
    return table
