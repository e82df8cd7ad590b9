"""For `MetricSpec.compute`: what several metrics are made of."""

from kit.decision.thresholds import cross_fitted
from kit.scoring.metrics import macro_f1, mean_recall
from kit.scoring.ranking import sample_losses

__all__ = ["cross_fitted", "macro_f1", "mean_recall", "sample_losses"]
