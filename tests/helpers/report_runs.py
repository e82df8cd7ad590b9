"""What the tests of the report share: a competition of any task with images on the disk, and runs of it by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import cohen_kappa_score, root_mean_squared_error

from kit.config import validate
from kit.data.folds import Folds
from kit.data.images import read_rgb
from kit.data.index import Index
from kit.files import write_json
from kit.hooks.specs import DatasetSpec, MetricSpec
from kit.run import Run
from kit.scoring.predictions import Predictions

METRIC = {
    "binary": "roc_auc",
    "multiclass": "accuracy",
    "multilabel": "macro_f1",
    "ordinal": "kappa_of_the_test",
    "regression": "rmse_of_the_test",
}
SHARES = (0.49, 0.10, 0.27, 0.05, 0.09)  # of five grades, as in APTOS 2019
# Metrics by scikit-learn, of tasks whose tests must not depend on kit's own.
OWN = {
    "ordinal": MetricSpec(
        METRIC["ordinal"],
        True,
        lambda target, values: cohen_kappa_score(target, values.argmax(1), weights="quadratic"),
        ("ordinal",),
        decision="cuts",
    ),
    "regression": MetricSpec(METRIC["regression"], False, root_mean_squared_error, ("regression",)),
}


def own_metric(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands find the metric of `OWN`, if a task has one."""
    if task in OWN:
        monkeypatch.setattr("kit.data.open_run.OpenRun.metric", OWN[task])


def targets_of(task: str, classes: int, rows: int, random: np.random.Generator) -> list[Any]:
    """Targets as an index has them."""
    if task == "regression":
        numbers = random.gamma(3, 12, (rows, classes)).round(2) * 10.0 ** np.arange(classes)
        return [row[0] if classes == 1 else tuple(row) for row in numbers.tolist()]
    if task == "ordinal":
        shares = np.resize(SHARES, classes)
        return random.choice(classes, rows, p=shares / shares.sum()).tolist()
    if task == "multilabel":
        return [tuple(np.flatnonzero(random.random(classes) < 0.15).tolist()) for _ in range(rows)]
    return random.integers(0, classes, rows).tolist()


def graded(target: np.ndarray, classes: int, noise: float, random: np.random.Generator) -> np.ndarray:
    """Probabilities of grades, nxC float32, of a network that sees each grade through Gaussian noise and is unsure."""
    seen = target + noise * random.normal(size=len(target))
    shares = np.resize(SHARES, classes)
    joint = shares * np.exp(-np.square(seen[:, None] - np.arange(classes)) / 2 / (1.3 * noise) ** 2)
    return (joint / joint.sum(1, keepdims=True)).astype(np.float32)


class Leaves:
    """A competition of a task; in its test `kit report` finds it as that of every run."""

    def __init__(
        self, task: Any, classes: list[str], rows: int, folder: Path, monkeypatch: pytest.MonkeyPatch, images: int = 8
    ) -> None:
        random = np.random.default_rng(3)
        self.random = random
        self.ids = np.array([f"{number:06d}" for number in range(rows)], object)
        labels = targets_of(task, len(classes), rows, random)
        own_metric(task, monkeypatch)
        # A few images serve all ids.
        files = [f"{number}.png" for number in range(images)]
        for name in files:
            cv2.imwrite(str(folder / name), random.integers(0, 256, (40, 60, 3), np.uint8))
        train = pd.DataFrame(
            {
                "id": self.ids,
                "files": [(files[number % images],) for number in range(rows)],
                "target": labels,
            }
        )
        test = pd.DataFrame({"id": ["t1"], "files": [(files[0],)]})
        self.index = Index(folder, task, tuple(classes), train, test)
        target = self.index.targets(train)
        self.target = target
        self.hot = np.eye(len(classes), dtype=np.float32)[target] if task in ("multiclass", "ordinal") else target
        self.fold = np.arange(rows) % 3
        spec = DatasetSpec("leaves", 3, lambda root: self.index, lambda paths: read_rgb(paths[0]))
        self.store = SimpleNamespace(
            competition=SimpleNamespace(
                name="leaves",
                title="Leaves & <trees>",
                slug="leaves",
                task=task,
                metric=METRIC[task],
                dataset="leaves",
            ),
            root=folder,
            own=folder / ".kit",
            places=(folder / ".kit",),
            dataset=spec,
            index=lambda: self.index,
            note={"digest": "d1"},
            origin="miniature",
        )
        monkeypatch.setattr("kit.data.open_run.Store.of", lambda *names: self.store)

    def values(self, noise: float) -> np.ndarray:
        """Probabilities nxK, or numbers, that are the better the less noise there is."""
        if self.index.task.name == "ordinal":
            return graded(self.target, len(self.index.classes), noise, self.random)
        if self.index.task.name == "regression":
            spread = self.target.std(0)
            return (self.target + noise * spread * self.random.normal(size=self.target.shape)).astype(np.float32)
        logits = 4 * (self.hot - 0.5) + noise * self.random.normal(size=self.hot.shape)
        if self.index.task.name != "multiclass":
            return expit(logits).astype(np.float32)
        powers = np.exp(2 * logits)
        return (powers / powers.sum(1, keepdims=True)).astype(np.float32)

    def run(self, values: np.ndarray, **settings: Any) -> Run:
        """A finished run as training leaves it, without networks."""
        folds = Folds(pd.DataFrame({"id": self.ids, "fold": self.fold}), 3, 0, "")
        config = {"competition": "leaves", "dataset": "leaves", "loss": "bce", "folds": 3, **settings}
        metric = METRIC[self.index.task.name]
        score = {"metric": metric, "value": 0.8, "low": 0.7, "high": 0.9, "ids": len(self.ids), "resampled": "id"}
        run = Run.create(
            validate(config),
            {
                "origin": "miniature",
                "classes": list(self.index.classes),
                "planned": [0, 1, 2],
                "folds": folds.facts,
                "sources": dict.fromkeys(config, "flag"),
                "normalization": {"mean": [0.5], "std": [0.25]},
                "versions": {"python": "3"},
                "score": score,
            },
        )
        for fold in range(3):
            result = {
                "metric": metric,
                "score": 0.8,
                "seconds": 60.0,
                "epochs": 2,
                "train_images": 9,
                "valid_images": 3,
            }
            write_json(run.fold_dir(fold) / "result.json", result)
            rows = [
                "epoch,train loss,valid loss,accuracy,lr,seconds",
                "1.0,0.9,0.8,,0.001,3",
                f"2.0,0.7,0.{6 + fold},0.5,1e-9,3",
            ]
            (run.fold_dir(fold) / "history.csv").write_text("\n".join(rows) + "\n")
        with run.writing("folds.csv") as path:
            path.write_bytes(folds.csv())
        with run.writing("oof.npz") as path:
            Predictions(self.ids, self.index.output_names, values).save(path)
        run.update(state="finished")
        return run
