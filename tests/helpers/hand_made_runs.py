"""Runs of a miniature that nothing has trained: folds as they are made, predictions by chance."""

import numpy as np

from kit.config import validate
from kit.console import Console
from kit.data.folds import new_folds
from kit.data.store import Store
from kit.files import write_json
from kit.hooks.registry import Registry
from kit.run import Run
from kit.scoring.predictions import Predictions


def hand_made_run(competition: str, seed: int, half: int | None = None) -> Run:
    """A finished run of three folds; with `half` (0 or 1) it predicts every other id alone."""
    store = Store.of(Registry(), competition)
    index, random = store.index(), np.random.default_rng(seed)
    folds = new_folds(store, index, 3, 0, None, Console(silent=True))
    facts = {
        "origin": store.origin,
        "classes": list(index.classes),
        "planned": [0, 1, 2],
        "folds": folds.facts,
        "state": "finished",
        "score": {"metric": store.competition.metric, "value": 0.5, "low": 0.4, "high": 0.6, "ids": 9, "resampled": ""},
    }
    run = Run.create(
        validate({"competition": store.competition.name, "dataset": store.dataset.name, "loss": "x"}), facts
    )
    with run.writing("folds.csv") as path:
        path.write_bytes(folds.csv())
    for name, frame in (("oof.npz", index.train), ("test.npz", index.test)):
        ids = frame["id"].drop_duplicates().to_numpy(object)[slice(half, None, 1 if half is None else 2)]
        values = random.dirichlet(np.full(len(index.classes), 0.1), len(ids)).astype(np.float32)[:, -index.outputs :]
        with run.writing(name) as path:
            Predictions(ids, index.output_names, values).save(path)
    for fold in range(3):
        write_json(run.fold_dir(fold) / "result.json", {"metric": "x", "score": 0.5, "seconds": 1.0})
    return run
