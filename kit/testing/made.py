"""Made-up targets, predictions and indexes, for the checks of what needs no image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit.data.index import Index
from kit.task import REGRESSION, TASKS

ROWS, CLASSES, TARGETS = 240, 6, 2
NOISES = (0.0, 0.3, 0.7, 1.5, 4.0)  # of predictions, from sure and right ones to chance
SPREAD = 3.0  # logits by which a sure prediction lies above the others


@dataclass(frozen=True)
class Case:
    """A task, and how many classes or numbers it has."""

    task: str
    count: int

    def __str__(self) -> str:
        if self.task == "regression":
            return f"a regression of {self.count} numbers" if self.count > 1 else "a regression"
        return f"a {self.task} task"

    def targets(self, rows: int = ROWS, seed: int = 0) -> np.ndarray:
        """Return targets as metrics get them; every class occurs, and none is in every row."""
        random = np.random.default_rng(seed)
        if self.task == "binary":
            return random.permutation(np.arange(rows) % 5 < 2).astype(np.int64)
        if self.task == "multilabel":
            hot = random.random((rows, self.count)) < np.linspace(0.2, 0.5, self.count)
            hot[np.arange(rows), np.arange(rows) % self.count] = True
            return hot.astype(np.float32)
        if self.task == "regression":
            numbers = 50 + 20 * random.normal(size=(rows, self.count)) * np.linspace(1, 3, self.count)
            return REGRESSION.flat(numbers.astype(np.float32))
        return random.permutation(np.arange(rows) % self.count).astype(np.int64)

    def predictions(self, target: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
        """Return predictions as metrics get them: the truth, less so the more noise."""
        random = np.random.default_rng([seed, 1])
        if self.task == "regression":
            return (target + noise * target.std(0) * random.normal(size=target.shape)).astype(np.float32)
        if self.task in ("binary", "multilabel"):
            logits = SPREAD * (2 * target - 1) + noise * SPREAD * random.normal(size=target.shape)
            return (1 / (1 + np.exp(-logits))).astype(np.float32)
        hot = np.eye(self.count)[target]
        if self.task == "ordinal":  # what is near is less wrong
            hot = 1 - np.abs(target[:, None] - np.arange(self.count)) / (self.count - 1)
        logits = 2 * SPREAD * hot + noise * SPREAD * random.normal(size=hot.shape)
        values = np.exp(logits - logits.max(1, keepdims=True))
        return (values / values.sum(1, keepdims=True)).astype(np.float32)

    def perfect(self, target: np.ndarray) -> np.ndarray:
        """Return the truth as predictions."""
        return TASKS[self.task].as_probabilities(target, self.count).astype(np.float32)

    def decided(self, values: np.ndarray) -> np.ndarray:
        """Return predictions that are sure of the class that they predict, as a decision rule makes them."""
        task = TASKS[self.task]
        return task.as_probabilities(task.predicted(values), self.count)


def index(task: str, root: Path, rows: int = 24) -> Index:
    """Return an index of no files, with groups, of the targets above."""
    count = 2 if task == "binary" else TARGETS if task == "regression" else CLASSES
    values = Case(task, count).targets(rows)
    if task == "multilabel":
        column: Sequence[object] = [tuple(np.flatnonzero(row).tolist()) for row in values]
    elif task == "regression":
        column = [tuple(row.tolist()) for row in values]
    else:
        column = values.tolist()
    frames = []
    for split, size in (("train", rows), ("test", rows // 2)):
        ids = [f"{split}{number}" for number in range(size)]
        frames.append(pd.DataFrame({"id": ids, "files": [(f"{split}/{id_}.png",) for id_ in ids]}))
    frames[0]["target"] = pd.Series(column, dtype=object if task in ("multilabel", "regression") else None)
    frames[0]["group"] = [f"group{number // 2}" for number in range(rows)]
    return Index(root, TASKS[task], tuple("abcdef"[:count]), frames[0], frames[1], grouped_by="group")
