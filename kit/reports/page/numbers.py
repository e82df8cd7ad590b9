"""A regression on the page: predicted against true, residuals, and the ids whose label is far from what is predicted.

Rows never reach the page: counts of a grid, of a histogram and quantiles of tenths stand for them.
"""

from typing import Any

import numpy as np

from kit.reports.page.scored import Scored
from kit.scoring.numbers import QUANTILES, number_table

CELLS, BINS = 40, 41  # of the grid along each axis, of the histogram of residuals
PARTS = 10  # rows are divided by what is predicted of them
OUTER = 0.005  # share of the rows beyond either end of an axis, counted in its last cell
FAR = 3.5  # modified z-scores


def numbers_of(scored: Scored) -> list[dict[str, Any]]:
    """Return what the page draws of each target: figures, those of each fold, `fit`, `residuals`, and `spread`, the
    quantiles of the residuals by what was predicted."""
    names, folds = scored.classes, np.unique(scored.fold).tolist()
    whole = number_table(names, scored.truth, scored.predicted)["report"]
    by_fold = {
        fold: number_table(names, *(each[scored.fold == fold] for each in (scored.truth, scored.predicted)))["report"]
        for fold in folds
    }
    return [
        {
            "target": place,
            **whole[name],
            "folds": {str(fold): by_fold[fold][name] for fold in folds},
            "fit": _grid(scored.truth[:, place], scored.predicted[:, place]),
            "residuals": _histogram(scored.predicted[:, place] - scored.truth[:, place]),
            "spread": _spread(scored.truth[:, place], scored.predicted[:, place]),
        }
        for place, name in enumerate(names)
    ]


def summary_of(scored: Scored) -> dict[str, float]:
    """Return the figures of the only target, or of several the mean R2."""
    table = number_table(scored.classes, scored.truth, scored.predicted)
    return {key: value for key, value in table.items() if isinstance(value, float)}


def _grid(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Count rows in a square grid over both axes alike: `low`, `high`, `cells`, and [column, row, count] where any."""
    low, high = _range(np.concatenate([truth, predicted]))
    x, y = (np.clip(((each - low) / (high - low) * CELLS).astype(int), 0, CELLS - 1) for each in (truth, predicted))
    counts = np.bincount(x * CELLS + y, minlength=CELLS**2)
    filled = np.flatnonzero(counts)
    return {
        "low": low,
        "high": high,
        "cells": CELLS,
        "counts": np.column_stack([filled // CELLS, filled % CELLS, counts[filled]]).tolist(),
    }


def _histogram(residual: np.ndarray) -> dict[str, Any]:
    """Count residuals in bins of equal width, 0 in the middle."""
    far = max(map(abs, _range(residual)))
    numbers = np.clip(((residual + far) / (2 * far) * BINS).astype(int), 0, BINS - 1)
    return {"low": -far, "high": far, "counts": np.bincount(numbers, minlength=BINS).tolist()}


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis, which few rows lie beyond."""
    low, high = (float(end) for end in np.quantile(values.astype(np.float64), [OUTER, 1 - OUTER]))
    room = 0.02 * (high - low) or 0.5
    return low - room, high + room


def _spread(truth: np.ndarray, predicted: np.ndarray) -> list[dict[str, Any]]:
    """Return the quantiles of the residuals among ten parts of the rows, in order of what is predicted."""
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, min(PARTS, len(order)))
    return [
        {
            "predicted": float(predicted[rows].mean()),
            "rows": len(rows),
            "quantiles": np.quantile((predicted - truth)[rows].astype(np.float64), QUANTILES).tolist(),
        }
        for rows in parts
    ]


def find_far(scored: Scored) -> list[tuple[int, int, float]]:
    """Find the labels that are far from what is predicted, the furthest first: row, target, modified z-score.

    The score is the residual's distance from the median residual in 1.4826 median absolute deviations, 3.5 or more
    (Iglewicz and Hoaglin 1993). The predictions must be out-of-fold.
    """
    residual = scored.predicted.astype(np.float64) - scored.truth
    middle = np.median(residual, 0)
    spread = 1.4826 * np.median(np.abs(residual - middle), 0)
    distance = np.abs(residual - middle) / np.where(spread > 0, spread, np.inf)
    rows, targets = np.nonzero(distance >= FAR)
    found = zip(rows.tolist(), targets.tolist(), distance[rows, targets].tolist(), strict=True)
    return sorted(found, key=lambda each: -each[2])
