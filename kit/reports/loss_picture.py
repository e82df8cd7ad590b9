"""The picture of a fold's loss by step, beside its history."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from kit.record import LOSS_PICTURE, STEPS, read_steps
from kit.reports.figures import losses, save
from kit.run import Run

POINTS = 20  # stretches of a training that the running mean tells apart


def draw_losses(run: Run, folds: Iterable[int]) -> list[Path]:
    """Draw `loss.png` of each of these folds that has kept its losses by step; return the pictures."""
    drawn = []
    for fold in folds:
        path = run.fold_dir(fold) / STEPS
        rows = read_steps(path) if path.is_file() else []
        if not rows:
            continue
        steps, train = [row["step"] for row in rows], np.array([row["loss"] for row in rows])
        history = [row for row in run.history(fold) if row["epoch"] and row["valid loss"] is not None]
        epochs = history[-1]["epoch"] if history else None
        # The last validation is at the last step.
        at = [(row["epoch"] or 0) * steps[-1] / (epochs or 1) for row in history]
        valid = (at, [row["valid loss"] or 0.0 for row in history])
        title = f"Loss by step: {run.id}, fold {fold}"
        with run.writing(f"fold-{fold}/{LOSS_PICTURE}") as target:
            save(losses(steps, train.tolist(), running_mean(train).tolist(), valid, title), target)
        drawn.append(run.fold_dir(fold) / LOSS_PICTURE)
    return drawn


def running_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of a stretch around each value, a twentieth of all wide, shorter at the ends."""
    reach = max(len(values) // POINTS // 2, 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    mean: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return mean
