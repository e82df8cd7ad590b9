"""What the tests of blending share: a competition of any task, and runs of it that are written by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from helpers.report_runs import METRIC, OWN, graded, own_metric, targets_of
from kit.config import validate
from kit.data.folds import Folds
from kit.data.index import Index
from kit.run import Run
from kit.scoring.predictions import Predictions

LABELS = {
    "binary": ("normal", "tumor"),
    "multiclass": ("a", "b", "c"),
    "multilabel": ("a", "b", "c"),
    "ordinal": ("a", "b", "c"),
    "regression": ("height", "weight"),
}
ROWS, TESTS = 90, 24


class World:
    """A competition of a task without any data; in its test `kit blend` finds it as that of every run."""

    def __init__(self, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        random = np.random.default_rng(7)
        self.ids = np.array([f"{number:03d}" for number in range(ROWS)], object)
        self.test_ids = np.array([f"t{number}" for number in range(TESTS)], object)
        answers = {
            "binary": random.integers(0, 2, ROWS).tolist(),
            "multiclass": random.integers(0, 3, ROWS).tolist(),
            "multilabel": [tuple(np.flatnonzero(random.random(3) < 0.25).tolist()) for _ in range(ROWS)],
        }
        if task in OWN:
            answers[task] = targets_of(task, len(LABELS[task]), ROWS, random)
        own_metric(task, monkeypatch)
        train = pd.DataFrame({"id": self.ids, "files": [("x.png",)] * ROWS, "target": answers[task]})
        test = pd.DataFrame({"id": self.test_ids, "files": [("x.png",)] * TESTS})
        self.index = Index(Path(), task, LABELS[task], train, test)
        self.target = self.index.targets(train)
        self.hot = np.eye(3)[self.target] if task in ("multiclass", "ordinal") else self.target
        self.fold = random.permutation(np.arange(ROWS) % 3)
        facts = SimpleNamespace(name="leaves", task=task, metric=METRIC[task])
        self.store = SimpleNamespace(competition=facts, index=lambda: self.index, origin="miniature")
        monkeypatch.setattr("kit.data.open_run.Store.of", lambda *names: self.store)

    def values(self, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Out-of-fold and test probabilities that are the better the less noise there is."""
        random = np.random.default_rng(seed)
        both = np.concatenate([self.hot, random.integers(0, 2, (TESTS, self.hot.shape[1]))])
        if self.index.task.name == "ordinal":
            grades = np.concatenate([self.target, random.integers(0, 3, TESTS)])
            both = graded(grades, 3, noise, random)
            return both[:ROWS], both[ROWS:]
        if self.index.task.name == "regression":
            both = (both + noise * self.target.std(0) * random.normal(size=both.shape)).astype(np.float32)
            return both[:ROWS], both[ROWS:]
        both = expit(3 * (both - 0.5) + noise * random.normal(size=both.shape)).astype(np.float32)
        return both[:ROWS], both[ROWS:]

    def run(
        self, noise: float, seed: int, fold: np.ndarray | None = None, rows: np.ndarray | None = None, **facts: Any
    ) -> Run:
        """A run as training and prediction leave it; `rows` are those of which it has out-of-fold predictions."""
        fold = self.fold if fold is None else fold
        rows = np.arange(ROWS) if rows is None else rows
        folds = Folds(pd.DataFrame({"id": self.ids, "fold": fold}), 3, 0, "")
        config = {"competition": facts.pop("competition", "leaves"), "dataset": "leaves", "loss": "bce", "folds": 3}
        run = Run.create(
            validate({**config, "seed": seed}),
            {
                "origin": "miniature",
                "classes": list(self.index.classes),
                "planned": [0, 1, 2],
                "folds": {"count": 3, "seed": 0, "grouped_by": "", "digest": folds.digest},
                **facts,
            },
        )
        oof, test = self.values(noise, seed)
        with run.writing("folds.csv") as path:
            path.write_bytes(folds.csv())
        for name, ids, values in (("oof.npz", self.ids[rows], oof[rows]), ("test.npz", self.test_ids, test)):
            with run.writing(name) as path:
                Predictions(ids, self.index.output_names, values).save(path)
        return run

    def csv(self, path: Path, noise: float, seed: int, test: bool = False, fold: bool = False) -> Path:
        """What `run` would hold, as another tool writes it: rows and columns in another order."""
        names, values = self.index.output_names, self.values(noise, seed)[test]
        table = pd.DataFrame({"image": self.test_ids if test else self.ids})
        for number in reversed(range(len(names))):
            table[names[number]] = values[:, number].astype(np.float64)
        if fold:
            table["fold"] = self.fold
        table.sample(frac=1, random_state=1).to_csv(path, index=False)
        return path


def read(run: str, name: str, runs: Path) -> Predictions:
    return Predictions.load(Run.open(runs / run).reading(name))


def estimates(document: dict[str, Any]) -> dict[str, float]:
    return {row["name"]: row["estimate"] for row in document["estimates"]}
