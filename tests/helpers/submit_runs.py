"""What the tests of submitting share: a run that can be sent, and how to look at what came of it."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from helpers.kaggle_server import KaggleServer
from kit.config import validate
from kit.run import Run
from kit.scoring.predictions import Predictions

SLUG = "histopathologic-cancer-detection"
IDS = [f"id{number:02d}" for number in range(8)]
SCORE = {"metric": "roc_auc", "value": 0.9712, "low": 0.969, "high": 0.9733, "ids": 240}


def make_run(seed: int = 0, origin: str = "archive", **config: Any) -> Run:
    facts = {"origin": origin, "folds": {"digest": "d" * 64}, "planned": [0], "score": SCORE}
    facts["classes"] = ["normal", "tumor"]
    base = {"competition": "histopathology", "dataset": "histopathology", "loss": "bce", "folds": 3, "seed": seed}
    run = Run.create(validate({**base, **config}), facts)
    with run.writing("test.npz") as path:
        Predictions(np.array(IDS), ("tumor",), np.random.default_rng(seed).random((8, 1), np.float32)).save(path)
    return run


def csv_of(run: Run) -> Path:
    return run.path / "submission.csv"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def on_board(server: KaggleServer) -> list[Any]:
    return server.competitions[SLUG].submissions


def record(run: Run) -> dict[str, Any]:
    return Run.open(run.path).record


def asked(server: KaggleServer) -> list[str]:
    return [request.where for request in server.requests]


def fill(server: KaggleServer, count: int) -> None:
    for _ in range(count):
        server.add_submission(SLUG, "by hand", public="0.5")
