"""Plans of an epoch: which rows form each batch, and the seeds of their augmentation."""

from collections.abc import Sequence

import numpy as np

Plan = Sequence[tuple[np.ndarray, np.ndarray]]


def training_plan(
    count: int,
    batch_size: int,
    seed: tuple[int, ...],
    accumulate: int = 1,
    weights: np.ndarray | None = None,
    min_rows: int = 2,
    parts: int = 1,
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Plan an epoch: for each step, its batches of (rows, augmentation seeds), at most `accumulate` of them.

    Without `weights`, each of `count` rows comes once, in random order; with them, as many rows are drawn with these
    probabilities. No step, unless it is the only one, has fewer rows than `min_rows`: batch normalisation can't work
    on a single row, and several processes can't share fewer than two each. In `parts`, each step has the same rows and
    seeds in so many times as many batches: for an even division, those of `batch_size` / parts, `accumulate` * parts.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(count) if weights is None else random.choice(count, count, p=weights)
    seeds = random.integers(0, 2**31, count)
    edges = list(range(0, count, batch_size * accumulate))
    if len(edges) > 1 and count - edges[-1] < min_rows:
        edges.pop()
    part = -(-batch_size // parts)
    plan = []
    for start, end in zip(edges, [*edges[1:], count], strict=True):
        batches = max(1, min(accumulate * parts, -(-(end - start) // part), (end - start) // min_rows))
        plan.append(
            list(zip(np.array_split(order[start:end], batches), np.array_split(seeds[start:end], batches), strict=True))
        )
    return plan


def balanced_weights(targets: np.ndarray) -> np.ndarray:
    """Return the probabilities that draw every class equally often; a row of several classes counts by its rarest.

    Targets as `Index.targets` returns them: n class numbers, or nxK of 0 and 1 (binary nx1: two classes).
    """
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0].astype(np.int64)
    hot = targets if targets.ndim == 2 else np.eye(int(targets.max()) + 1, dtype=np.float32)[targets]
    share = 1 / np.maximum(hot.sum(0), 1)
    weights = np.where(hot > 0, share, 0).max(1)
    # Rows without any label are drawn as often as the average row.
    weights[weights == 0] = weights[weights > 0].mean() if (weights > 0).any() else 1
    return weights / weights.sum()


def ordered_plan(rows: np.ndarray, batch_size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split rows into batches, in their order, for validation and prediction."""
    return [(rows[a : a + batch_size], rows[:0]) for a in range(0, len(rows), batch_size)]
