"""Predictions of the competition's test part: the mean over a run's folds and over views of each image."""

from typing import Any

import numpy as np

from kit.console import Console
from kit.data.folds import folds_of_run
from kit.data.index import Index, rows_of
from kit.data.store import Store
from kit.errors import KitError
from kit.inference.nearest import Centres
from kit.inference.predict import forward
from kit.inference.predictions import Predictions
from kit.inference.trained import index_of, load_fold, no_trained_fold, store_of_run, trained_folds
from kit.model.batches import Loader
from kit.model.build import Model
from kit.model.samples import Samples, samples_of
from kit.plugin.registry import Registry
from kit.run import Run


def predict_test(registry: Registry, run: Run, views: int, console: Console, nearest: bool = False) -> dict[str, Any]:
    """Predict every test id and save `test.npz` into the run.

    Args:
        registry: where the network's builder is found.
        run: with at least one trained fold.
        views: 1, 2, 4 or 8 flips and right-angle rotations, averaged.
        console: for progress.
        nearest: classes by the nearest mean embedding (`kit.inference.nearest`) instead of the network's own logits.

    Returns:
        The document of `kit predict --json`.
    """
    folds = trained_folds(run)
    if not folds:
        raise no_trained_fold(run)
    if len(folds) < run.config.folds:
        console.warn(f"{len(folds)} of {run.config.folds} folds are trained: the mean is over these")
    store = store_of_run(registry, run)
    index = index_of(store, run.config)
    if not len(index.test):
        raise KitError(f"{store.root} has no test images: kit check {store.competition.name}")
    if nearest and index.task != "multiclass":
        raise KitError(
            f"{store.competition.name} is a {index.task} task, which has no nearest class: leave --nearest out"
        )
    config = run.config
    rows = rows_of(index.test, config.only)
    if not len(rows):
        raise KitError(f"no test image has {config.only}: run {run.id} has nothing to predict")

    def loader(model: Model, samples: Samples) -> Loader:
        return Loader(samples, None, config.workers, model.runtime.device, model.normalize)

    test = samples_of(store, index, "test", config, console)(rows)
    of_train = samples_of(store, index, "train", config, console) if nearest else None
    train, fold_of_row = rows_of(index.train, config.only), folds_of_run(run).of(index.train)
    fold_of_row = fold_of_row[index.train.index.get_indexer(train.index)]
    total, held_out = np.zeros((len(rows), index.outputs), np.float64), []
    batch_size = config.batch_size * 2
    with console.progress(f"predict {len(folds)} folds x {views} views", len(rows) * len(folds)) as bar:
        for fold in folds:
            model = load_fold(registry, store, run, index, fold)
            give = None
            if of_train is not None:
                learned, judged = train[fold_of_row != fold], train[fold_of_row == fold]
                centres = Centres.of(model, loader(model, of_train(learned)), index.outputs, batch_size)
                give = centres.probabilities
                own = forward(model, loader(model, of_train(judged)), batch_size, has_targets=False, give=give)
                held_out.append(Predictions(judged["id"].to_numpy(), index.output_names, own.probabilities))
            result = forward(
                model, loader(model, test), batch_size, views, has_targets=False, give=give,
                after_batch=bar.advance,
            )  # fmt: skip
            total += result.probabilities
    values = (total / len(folds)).astype(np.float32)
    predictions = Predictions(rows["id"].to_numpy(), index.output_names, values).mean_by_id()
    with run.writing("test.npz") as path:
        predictions.save(path)
    facts: dict[str, Any] = {"ids": len(predictions.ids), "folds": folds, "tta": views}
    if nearest:
        facts["nearest"] = _score(registry, store, index, held_out)
    run.update(predictions=facts)
    return {"run": run.id, "path": str(run.path / "test.npz"), **facts}


def _score(registry: Registry, store: Store, index: Index, held_out: list[Predictions]) -> dict[str, Any]:
    """The competition's metric of the nearest class on the validation images, to set beside the run's own score."""
    ids, values = np.concatenate([part.ids for part in held_out]), np.concatenate([part.values for part in held_out])
    means = Predictions(ids, index.output_names, values).mean_by_id()
    metric = registry.metrics.get(store.competition.metric)
    return {"metric": metric.name, "value": metric.compute(index.targets_of(means.ids), means.values)}
