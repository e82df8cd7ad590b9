"""For `MetricSpec.compute`: what several metrics are made of."""

from kit.decision.thresholds import nested_f1
from kit.scoring.metrics import macro_f1, mean_recall
from kit.task import BINARY, MULTICLASS, MULTILABEL

__all__ = ["BINARY", "MULTICLASS", "MULTILABEL", "macro_f1", "mean_recall", "nested_f1"]
