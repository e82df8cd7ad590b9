"""Figures of predicted numbers, target by target."""

from collections.abc import Sequence
from typing import Any

import numpy as np

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def number_table(names: Sequence[str], target: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Compute RMSE, MAE, R2, bias and quantiles of the residuals (predicted - true) of each target.

    Args:
        names: T targets.
        target, predicted: nxT numbers in their own unit; one or more rows.

    Returns:
        `report`: the figures of each target by its name; beside it those of the only target, or of several the mean R2,
        which alone has no unit. R2 is None where the truth does not vary.
    """
    truth, found = (np.asarray(each, np.float64).reshape(len(target), -1) for each in (target, predicted))
    report = {name: _figures(truth[:, place], found[:, place]) for place, name in enumerate(names)}
    if len(names) == 1:
        return {**{key: value for key, value in report[names[0]].items() if isinstance(value, float)}, "report": report}
    shares = [row["r2"] for row in report.values() if row["r2"] is not None]
    return {**({"r2": float(np.mean(shares))} if shares else {}), "report": report}


def _figures(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    residual = predicted - truth
    squares, total = np.square(residual).sum(), np.square(truth - truth.mean()).sum()
    return {
        "support": len(truth),
        "rmse": float(np.sqrt(squares / len(truth))),
        "mae": float(np.abs(residual).mean()),
        "r2": float(1 - squares / total) if total > 0 else None,
        "bias": float(residual.mean()),
        "quantiles": {f"{share:g}": float(np.quantile(residual, share)) for share in QUANTILES},
    }
