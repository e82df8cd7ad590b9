"""What tuning thresholds costs: all ways of `kit thresholds` with nested estimates, beside a loop over scikit-learn.

31,072 rows and 28 labels as often as those of the protein competition, five folds. The loop is what people write: for
each class the best of 99 thresholds by `sklearn.metrics.f1_score`, once on all rows and, for a nested estimate, once
without each fold. kit looks at every threshold that there is, fits four ways and chooses their shrinkage inside.

    python benchmarks/thresholds.py [ROWS]
"""

import sys
import time
from functools import partial

import machine
import numpy as np
from sklearn.metrics import f1_score

from kit.decision.thresholds import tune
from kit.scoring.metrics import macro_f1

COUNTS = (
    12885,
    1254,
    3621,
    1561,
    1858,
    2513,
    1008,
    2822,
    53,
    45,
    28,
    1093,
    688,
    537,
    1066,
    21,
    530,
    210,
    902,
    1482,
    172,
    3777,
    802,
    2965,
    322,
    8228,
    328,
    11,
)
ROWS, FOLDS = 31_072, 5
GRID = np.arange(1, 100) / 100


def predictions(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    share = np.array(COUNTS) / ROWS
    target = random.random((rows, len(share))) < share
    logits = random.normal(size=target.shape) + 2 * target + np.log(share / (1 - share))
    return target, (1 / (1 + np.exp(-logits))).astype(np.float32), random.integers(0, FOLDS, rows)


def best_cuts(target: np.ndarray, values: np.ndarray) -> np.ndarray:
    cuts = []
    for k in range(target.shape[1]):
        scores = [f1_score(target[:, k], values[:, k] >= cut, zero_division=0) for cut in GRID]
        cuts.append(GRID[int(np.argmax(scores))])
    return np.array(cuts)


def loop(target: np.ndarray, values: np.ndarray, folds: np.ndarray) -> float:
    best_cuts(target, values)
    decided = np.zeros_like(target)
    for fold in range(FOLDS):
        own = folds == fold
        decided[own] = values[own] >= best_cuts(target[~own], values[~own])
    return float(f1_score(target, decided, average="macro", zero_division=0))


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    target, values, folds = predictions(rows)
    tune(target[:1000], values[:1000], folds[:1000], partial(macro_f1, target[:1000]))
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        tuned = tune(target, values, folds, partial(macro_f1, target))
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    nested = loop(target, values, folds)
    naive = time.perf_counter() - began
    machine.write(
        "thresholds",
        {
            "rows": rows,
            "classes": len(COUNTS),
            "kit_seconds": [round(value, 3) for value in seconds],
            "loop_seconds": round(naive, 1),
            "loop_over_kit": round(naive / float(np.median(seconds)), 1),
            "nested_macro_f1": {
                "loop": round(nested, 4),
                **{name: round(way.estimate, 4) for name, way in tuned.items()},
            },
        },
    )


if __name__ == "__main__":
    main()
