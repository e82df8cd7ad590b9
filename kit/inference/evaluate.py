"""A saved run validated again, from its weights and the images."""

from typing import Any

import numpy as np

from kit.console import Console
from kit.data.folds import folds_of_run
from kit.data.packed import packs_for
from kit.errors import KitError
from kit.inference.metrics import classification_table, flat
from kit.inference.predict import forward
from kit.inference.predictions import Predictions
from kit.inference.trained import load_fold, store_of_run, trained_folds
from kit.model.batches import Loader, Samples
from kit.plugin.registry import Registry
from kit.run import Run


def evaluate(
    registry: Registry, run: Run, only_fold: int | None, threshold: float, beta: float, console: Console
) -> dict[str, Any]:
    """Predict the validation part of each trained fold anew and score it.

    Returns:
        The metrics over all evaluated ids together, the competition's metric a fold, and `difference`: the largest
        distance of a probability from the one that training saved (0 on the same machine and thread count).
    """
    folds = trained_folds(run)
    if only_fold is not None and only_fold not in folds:
        raise KitError(
            f"fold {only_fold} of run {run.id} is not trained: kit train --resume {run.id} --fold {only_fold}"
        )
    if not folds:
        raise KitError(f"run {run.id} has no trained fold: kit train --resume {run.id}")
    store = store_of_run(registry, run)
    index = store.index()
    metric = registry.metrics.get(store.competition.metric)
    by_fold, parts, difference = {}, [], 0.0
    for fold in folds if only_fold is None else [only_fold]:
        part = _validate(registry, run, index, fold, console)
        saved = Predictions.load(run.reading(f"fold-{fold}/oof.npz")).reorder(part.ids)
        difference = max(difference, float(np.abs(saved.values - part.values).max()))
        target = index.targets_of(part.ids)
        by_fold[str(fold)] = metric.compute(flat(index.task, target), flat(index.task, part.values))
        parts.append(part)
    ids = np.concatenate([part.ids for part in parts])
    target = flat(index.task, index.targets_of(ids))
    prediction = flat(index.task, np.concatenate([part.values for part in parts]))
    table = classification_table(index.task, index.classes, target, prediction, threshold, beta)
    score = metric.compute(target, prediction)
    return {"run": run.id, "ids": len(ids), "threshold": threshold, "metric": metric.name, metric.name: score,
            **table, "folds": by_fold, "difference": difference}  # fmt: skip


def _validate(registry: Registry, run: Run, index: Any, fold: int, console: Console) -> Predictions:
    store = store_of_run(registry, run)
    model = load_fold(registry, store, run, index, fold)
    rows = index.train[folds_of_run(run).of(index.train) == fold]
    packs = packs_for(store, index, "train", run.config, [run.config.size], console)
    samples = Samples.of(index, rows, store.dataset, run.config.size, packs)
    loader = Loader(samples, None, run.config.workers, model.runtime.device, model.normalize)
    with console.progress(f"fold {fold} validation", len(samples)) as bar:
        result = forward(model, loader, run.config.batch_size * 2, after_batch=bar.advance)
    return Predictions(rows["id"].to_numpy(), index.output_names, result.probabilities).mean_by_id()
