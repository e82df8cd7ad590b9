"""What the tests of the report share: a competition of any task with images on the disk, and runs of it by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from kit.config import validate
from kit.data.folds import Folds
from kit.data.images import read_rgb
from kit.data.index import Index
from kit.files import write_json
from kit.hooks.specs import DatasetSpec
from kit.run import Run
from kit.scoring.predictions import Predictions

METRIC = {"binary": "roc_auc", "multiclass": "accuracy", "multilabel": "macro_f1"}


class Leaves:
    """A competition of a task; in its test `kit report` finds it as that of every run."""

    def __init__(
        self, task: Any, classes: list[str], rows: int, folder: Path, monkeypatch: pytest.MonkeyPatch, images: int = 8
    ) -> None:
        random = np.random.default_rng(3)
        self.random = random
        self.ids = np.array([f"{number:06d}" for number in range(rows)], object)
        numbers = random.integers(0, len(classes), rows)
        labels = [tuple(np.flatnonzero(random.random(len(classes)) < 0.15).tolist()) for _ in range(rows)]
        # A few images serve all ids.
        files = [f"{number}.png" for number in range(images)]
        for name in files:
            cv2.imwrite(str(folder / name), random.integers(0, 256, (40, 60, 3), np.uint8))
        train = pd.DataFrame(
            {
                "id": self.ids,
                "files": [(files[number % images],) for number in range(rows)],
                "target": labels if task == "multilabel" else numbers,
            }
        )
        test = pd.DataFrame({"id": ["t1"], "files": [(files[0],)]})
        self.index = Index(folder, task, tuple(classes), train, test)
        target = self.index.targets(train)
        self.hot = np.eye(len(classes), dtype=np.float32)[target] if task == "multiclass" else target
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
        """Probabilities nxK that are the better the less noise there is."""
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
