"""The built-in metrics."""

from functools import partial

from kit.plugin import MetricSpec, hookimpl, lazy

top_k_accuracy = lazy("kit_metrics.classification:top_k_accuracy")


@hookimpl
def kit_metrics() -> list[MetricSpec]:
    """Add the built-in metrics."""
    return [
        MetricSpec("roc_auc", True, lazy("kit_metrics.classification:roc_auc"), label="AUC", ranked_by="folds"),
        MetricSpec("accuracy", True, lazy("kit_metrics.classification:accuracy"), label="accuracy", of_classes=True),
        MetricSpec("macro_f1", True, lazy("kit_metrics.classification:macro_f1"), label="F1", decision="thresholds"),
        MetricSpec(
            "macro_f1_tuned",
            True,
            lazy("kit_metrics.classification:macro_f1_tuned"),
            ("multilabel",),
            label="F1 tuned",
        ),
        MetricSpec(
            "balanced_accuracy",
            True,
            lazy("kit_metrics.classification:balanced_accuracy"),
            ("binary", "multiclass"),
            label="balanced",
            decision="weights",
        ),
        MetricSpec("log_loss", False, lazy("kit_metrics.classification:log_loss"), label="log loss"),
        *(
            MetricSpec(f"top_{k}_accuracy", True, partial(top_k_accuracy, k=k), ("multiclass",), label=f"top {k}")
            for k in (2, 3, 5)
        ),
    ]
