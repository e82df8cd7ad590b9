"""The bootstrap interval of a score."""

from typing import Any

import numpy as np

from kit.console import Console
from kit.hooks.specs import MetricSpec


def bootstrap_interval(
    metric: MetricSpec,
    target: np.ndarray,
    prediction: np.ndarray,
    groups: np.ndarray,
    console: Console,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a metric (Efron 1979).

    Resample whole groups, since the rows of one group are not independent: 1,000 times, or 200 times from 20,000 rows
    on, where the interval is narrow and the metric slow.
    """
    random = np.random.default_rng(seed)
    unique, codes = np.unique(groups, return_inverse=True)
    scores = []
    resamples = 1000 if len(target) < 20_000 else 200
    with console.progress("interval", resamples, "resamples") as bar:
        for _ in range(resamples):
            drawn = np.bincount(random.integers(0, len(unique), len(unique)), minlength=len(unique))
            # Rows stay in their order, so that gathering them hits the processor's cache.
            rows = np.repeat(np.arange(len(groups)), drawn[codes])
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
    """Return a score as a run's record keeps it: metric, value, low, high (None if undefined), ids, unit resampled;
    and which figure ranks runs (`MetricSpec.ranked_by`). Target and prediction are as `MetricSpec.compute` takes them.
    """
    numbers = (metric.compute(target, prediction), *bootstrap_interval(metric, target, prediction, groups, console))
    value, low, high = (each if np.isfinite(each) else None for each in numbers)
    return {
        "metric": metric.name,
        "ranked_by": metric.ranked_by,
        "value": value,
        "low": low,
        "high": high,
        "ids": len(target),
        "resampled": grouped_by or "id",
    }
