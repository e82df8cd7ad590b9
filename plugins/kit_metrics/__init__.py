"""The built-in metrics."""

from functools import partial
from typing import Any

from kit.plugin import MetricSpec, hookimpl, lazy

OF_CLASSES: Any = ("binary", "multiclass", "multilabel", "ordinal")  # every task but regression
EXPECTED_FAILURES = {
    "metric/any-order-of-rows macro_f1_tuned": "it finds thresholds on thirds of the rows, told by their place",
}
F_BETA: dict[str, Any] = {"macro": OF_CLASSES, "micro": OF_CLASSES, "sample": ("multilabel",)}


@hookimpl
def kit_metrics() -> list[MetricSpec]:
    """Add the built-in metrics."""
    return [*_of_probabilities(), *_of_classes(), *_of_numbers()]


def _of_probabilities() -> list[MetricSpec]:
    average = _from("mean_average_precision")
    top_k, map_at = _from("top_k_accuracy"), _from("map_at_k")
    area = _from("roc_auc")
    return [
        MetricSpec("roc_auc", True, area, OF_CLASSES, label="AUC", ranked_by="folds"),
        MetricSpec("mean_column_auc", True, area, ("multiclass", "multilabel"), label="mean AUC", ranked_by="folds"),
        MetricSpec("partial_auc", True, _from("partial_auc"), ("binary",), label="pAUC", ranked_by="folds"),
        MetricSpec("mean_average_precision", True, average, OF_CLASSES, label="mAP", ranked_by="folds"),
        MetricSpec("log_loss", False, _from("log_loss"), OF_CLASSES, label="log loss"),
        *(
            MetricSpec(f"top_{k}_accuracy", True, partial(top_k, k=k), ("multiclass",), label=f"top {k}")
            for k in (2, 3, 5)
        ),
        *(
            MetricSpec(f"map_at_{k}", True, partial(map_at, k=k), ("multiclass", "multilabel"), label=f"MAP@{k}")
            for k in (3, 5, 10)
        ),
    ]


def _of_classes() -> list[MetricSpec]:
    return [
        MetricSpec("accuracy", True, _from("accuracy"), OF_CLASSES, label="accuracy", of_classes=True),
        *(
            MetricSpec(
                f"{average}_f{beta}",
                True,
                _f_beta(average, beta),
                tasks,
                label=f"F{beta}" if average == "macro" else f"{average} F{beta}",
                decision="thresholds",
                beta=float(beta),
            )
            for average, tasks in F_BETA.items()
            for beta in (1, 2)
        ),
        MetricSpec("macro_f1_tuned", True, _from("macro_f1_tuned"), ("multilabel",), label="F1 tuned"),
        MetricSpec(
            "balanced_accuracy",
            True,
            _from("balanced_accuracy"),
            ("binary", "multiclass"),
            label="balanced",
            decision="weights",
        ),
        MetricSpec(
            "quadratic_kappa",
            True,
            _from("quadratic_kappa"),
            ("multiclass", "ordinal"),
            label="kappa",
            decision="cuts",
        ),
        MetricSpec(
            "matthews",
            True,
            _from("matthews"),
            OF_CLASSES,
            label="Matthews",
            of_classes=True,
        ),
    ]


def _f_beta(average: str, beta: int) -> Any:
    if (average, beta) == ("macro", 1):
        return _from("macro_f1")
    return partial(_from(f"{average}_f_beta"), beta=float(beta))


def _of_numbers() -> list[MetricSpec]:
    labels = {"rmse": "RMSE", "mae": "MAE", "r2": "R2", "weighted_r2": "weighted R2"}
    return [
        MetricSpec(name, name.endswith("r2"), _from(name, "regression"), ("regression",), label=label)
        for name, label in labels.items()
    ]


def _from(name: str, module: str = "classification") -> Any:
    return lazy(f"kit_metrics.{module}:{name}")
