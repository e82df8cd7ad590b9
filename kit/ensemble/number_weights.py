"""Weights of a blend of numbers: where their weighted mean is nearest to the targets, then best by the metric."""

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

STEPS = (0.1, 0.05, 0.02)  # of weight, moved from one member to another
STIFF = 1e4  # how much more the sum of the weights counts than any error

# (rows, M weights) -> their score, the higher the better.
Score = Callable[[np.ndarray, np.ndarray], float]


def fit_number_weights(
    target: np.ndarray, values: Sequence[np.ndarray], folds: np.ndarray, score: Score
) -> tuple[np.ndarray, np.ndarray]:
    """Fit non-negative weights of sum 1: by least squares, each target in standard deviations, then by the metric.

    Args:
        target: nxT numbers.
        values: nxT of each of M members.
        folds: n, 0 .. P - 1: for nesting, such as folds.
        score: of some rows at some weights.

    Returns:
        PxM, for each fold fitted on the rows of the others; and M, fitted on all.
    """
    truth = np.asarray(target, np.float64)
    spread = truth.std(0)
    unit = np.where(spread > 0, spread, 1)
    errors = np.stack([(each - truth) / unit for each in values])

    def fit(rows: np.ndarray) -> np.ndarray:
        own = errors[:, rows].reshape(len(errors), -1)
        return _searched(_least_squares(own @ own.T), lambda weights: score(rows, weights))

    parts = [fit(np.flatnonzero(folds != fold)) for fold in range(int(folds.max()) + 1)]
    return np.stack(parts), fit(np.arange(len(truth)))


def _least_squares(gram: np.ndarray) -> np.ndarray:
    """Return the weights w, of sum 1 and 0 or above, with the least w'Gw, by Lawson and Hanson (1974)."""
    from scipy.optimize import nnls

    squares, axes = np.linalg.eigh(gram)
    lengths = np.sqrt(np.maximum(squares, 0))
    stiff = STIFF * max(float(lengths[-1]), 1e-12)
    rows = np.vstack([lengths[:, None] * axes.T, np.full(len(gram), stiff)])
    weights, _ = nnls(rows, np.append(np.zeros(len(gram)), stiff))
    return np.asarray(weights / weights.sum())


def _searched(weights: np.ndarray, score: Callable[[np.ndarray], float]) -> np.ndarray:
    """Move weight from one member to another as long as the metric gains."""
    best = score(weights)
    for step in STEPS:
        gained = True
        while gained:
            gained = False
            for taker, giver in permutations(range(len(weights)), 2):
                moved = weights.copy()
                moved[taker] += min(step, moved[giver])
                moved[giver] -= min(step, moved[giver])
                if moved[taker] > weights[taker] and (found := score(moved)) > best + 1e-12:
                    weights, best, gained = moved, found, True
    return weights
