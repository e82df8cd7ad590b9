"""For `MetricSpec.compute`: building blocks of several metrics."""

from kit.decision.thresholds import nested_f1
from kit.scoring.metrics import f1_by_class, f_beta, macro_f1, mean_recall, weighted_r2
from kit.task import BINARY, MULTICLASS, MULTILABEL, ORDINAL, REGRESSION

__all__ = [
    "BINARY",
    "MULTICLASS",
    "MULTILABEL",
    "ORDINAL",
    "REGRESSION",
    "f1_by_class",
    "f_beta",
    "macro_f1",
    "mean_recall",
    "nested_f1",
    "weighted_r2",
]
