"""For `MetricSpec.compute`: what several metrics are made of."""

from kit.inference.metrics import macro_f1, mean_recall
from kit.inference.ranking import sample_losses
from kit.inference.thresholds import cross_fitted

__all__ = ["cross_fitted", "macro_f1", "mean_recall", "sample_losses"]
