"""Predictions of the competition's test part: the mean over a run's folds and over views of each image."""

from typing import Any

import numpy as np

from kit.console import Console
from kit.data.packed import packs_for
from kit.errors import KitError
from kit.inference.predict import forward
from kit.inference.predictions import Predictions
from kit.inference.trained import load_fold, no_trained_fold, store_of_run, trained_folds
from kit.model.batches import Loader, Samples
from kit.plugin.registry import Registry
from kit.run import Run


def predict_test(registry: Registry, run: Run, views: int, console: Console) -> dict[str, Any]:
    """Predict every test id and save `test.npz` into the run.

    Args:
        registry: where the network's builder is found.
        run: with at least one trained fold.
        views: 1, 2, 4 or 8 flips and right-angle rotations, averaged.
        console: for progress.

    Returns:
        The document of `kit predict --json`.
    """
    folds = trained_folds(run)
    if not folds:
        raise no_trained_fold(run)
    if len(folds) < run.config.folds:
        console.warn(f"{len(folds)} of {run.config.folds} folds are trained: the mean is over these")
    store = store_of_run(registry, run)
    index = store.index()
    if not len(index.test):
        raise KitError(f"{store.root} has no test images: kit check {store.competition.name}")
    packs = packs_for(store, index, "test", run.config, [run.config.size], console)
    samples = Samples.of(index, index.test, store.dataset, run.config.size, packs)
    total = np.zeros((len(samples), index.outputs), np.float64)
    batch_size = run.config.batch_size * 2
    with console.progress(f"predict {len(folds)} folds x {views} views", len(samples) * len(folds)) as bar:
        for fold in folds:
            model = load_fold(registry, store, run, index, fold)
            loader = Loader(samples, None, run.config.workers, model.runtime.device, model.normalize)
            result = forward(model, loader, batch_size, views, has_targets=False, after_batch=bar.advance)
            total += result.probabilities
    values = (total / len(folds)).astype(np.float32)
    predictions = Predictions(index.test["id"].to_numpy(), index.output_names, values).mean_by_id()
    with run.writing("test.npz") as path:
        predictions.save(path)
    facts = {"ids": len(predictions.ids), "folds": folds, "tta": views}
    run.update(predictions=facts)
    return {"run": run.id, "path": str(run.path / "test.npz"), **facts}
