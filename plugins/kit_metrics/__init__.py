"""The built-in metrics."""

from typing import TYPE_CHECKING

from kit.plugin import MetricSpec, hookimpl

if TYPE_CHECKING:
    import numpy as np


def _roc_auc(target: "np.ndarray", prediction: "np.ndarray") -> float:
    from kit_metrics.classification import roc_auc

    return roc_auc(target, prediction)


def _accuracy(target: "np.ndarray", prediction: "np.ndarray") -> float:
    from kit_metrics.classification import accuracy

    return accuracy(target, prediction)


def _macro_f1(target: "np.ndarray", prediction: "np.ndarray") -> float:
    from kit_metrics.classification import macro_f1

    return macro_f1(target, prediction)


def _macro_f1_tuned(target: "np.ndarray", prediction: "np.ndarray") -> float:
    from kit_metrics.classification import macro_f1_tuned

    return macro_f1_tuned(target, prediction)


def _balanced_accuracy(target: "np.ndarray", prediction: "np.ndarray") -> float:
    from kit_metrics.classification import balanced_accuracy

    return balanced_accuracy(target, prediction)


def _log_loss(target: "np.ndarray", prediction: "np.ndarray") -> float:
    from kit_metrics.classification import log_loss

    return log_loss(target, prediction)


def _top(k: int) -> MetricSpec:
    def compute(target: "np.ndarray", prediction: "np.ndarray") -> float:
        from kit_metrics.classification import top_k_accuracy

        return top_k_accuracy(target, prediction, k)

    return MetricSpec(f"top_{k}_accuracy", True, compute, ("multiclass",), label=f"top {k}")


@hookimpl
def kit_metrics() -> list[MetricSpec]:
    """The built-in metrics."""
    return [
        MetricSpec("roc_auc", True, _roc_auc, label="AUC"),
        MetricSpec("accuracy", True, _accuracy, label="accuracy"),
        MetricSpec("macro_f1", True, _macro_f1, label="F1", decision="thresholds"),
        MetricSpec("macro_f1_tuned", True, _macro_f1_tuned, ("multilabel",), label="F1 tuned"),
        MetricSpec(
            "balanced_accuracy",
            True,
            _balanced_accuracy,
            ("binary", "multiclass"),
            label="balanced",
            decision="weights",
        ),
        MetricSpec("log_loss", False, _log_loss, label="log loss"),
        *(_top(k) for k in (2, 3, 5)),
    ]
