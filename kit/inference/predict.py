"""Predictions of the competition's test part: the mean over a run's folds and over views of each image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.index import Index, rows_of
from kit.data.open_run import OpenRun
from kit.errors import KitError
from kit.inference.forward import forward_views
from kit.inference.load import load_fold
from kit.inference.nearest import Centres
from kit.inference.tta import Scale, scaled_samples
from kit.pixels.batches import Loader
from kit.pixels.samples import samples_of
from kit.run import Run
from kit.scoring.predictions import Predictions


def predict_test(
    opened: OpenRun,
    scales: Sequence[Scale],
    console: Console,
    nearest: bool = False,
    only_fold: int | None = None,
) -> dict[str, Any]:
    """Predict every test id and save `test.npz` into the run.

    Args:
        opened: a run with at least one trained fold.
        scales: the views that are averaged, each counting the same.
        console: for progress.
        only_fold: by the network of this fold alone.
        nearest: classes by the nearest mean embedding (`kit.inference.nearest`) instead of the network's own logits.

    Returns:
        The document of `kit predict --json`.
    """
    run, config, store, index = opened.run, opened.config, opened.store, opened.index
    folds, rows = _folds(run, only_fold, console), _rows(opened, nearest)
    _warn_of_same_metadata(index, console)

    tests = [(scale, scaled_samples(store, index, "test", config, scale, console)(rows)) for scale in scales]
    views = sum(len(scale.views) for scale in scales)
    of_train = samples_of(store, index, "train", config, console) if nearest else None
    train, fold_of_row = rows_of(index.train, config.only), opened.folds.of(index.train)
    fold_of_row = fold_of_row[index.train.index.get_indexer(train.index)]
    total, held_out = np.zeros((len(rows), index.outputs), np.float64), []
    with console.progress(f"predict {len(folds)} folds x {views} views", len(rows) * len(folds) * len(scales)) as bar:
        for fold in folds:
            model = load_fold(opened, fold)
            output_of = None
            if of_train is not None:
                learned, judged = train[fold_of_row != fold], train[fold_of_row == fold]
                loader = Loader(of_train(learned), None, config.workers, model.runtime.device, model.normalize)
                output_of = Centres.of(model, loader, index.outputs, config.batch_size * 2).probabilities
                own = forward_views(model, [(Scale(config.size, ()), of_train(judged))], config, output_of)
                held_out.append(Predictions(judged["id"].to_numpy(), index.output_names, own.astype(np.float32)))
            total += forward_views(model, tests, config, output_of, bar.advance)
    values = (total / len(folds)).astype(np.float32)
    predictions = Predictions(rows["id"].to_numpy(), index.output_names, values).mean_by_id()
    with run.writing("test.npz") as path:
        predictions.save(path)
    facts: dict[str, Any] = {
        "ids": len(predictions.ids),
        "folds": folds,
        "tta": views,
        "sides": [scale.side for scale in scales],
    }
    if nearest:
        facts["nearest"] = _score(opened, held_out)
    run.update(predictions=facts)
    return {"run": run.id, "path": str(run.path / "test.npz"), **facts}


def _folds(run: Run, only_fold: int | None, console: Console) -> list[int]:
    folds = run.need_network()
    if only_fold is not None:
        return [run.trained_fold(only_fold)]
    if len(folds) < run.config.folds:
        console.warn(f"{len(folds)} of {run.config.folds} folds are trained: the mean is over these")
    return folds


def _rows(opened: OpenRun, nearest: bool) -> pd.DataFrame:
    """The test rows that a run predicts; none, and classes by distance where there are no classes, are a `KitError`."""
    run, index, name = opened.run, opened.index, opened.competition.name
    if not len(index.test):
        raise KitError(f"{opened.store.root} has no test images: kit check {name}")
    if nearest and not index.task.softmax:
        raise KitError(f"{name} is a {index.task} task, which has no nearest class: drop --nearest")
    rows = rows_of(index.test, run.config.only)
    if not len(rows):
        raise KitError(f"no test image has {run.config.only}: run {run.id} has nothing to predict")
    return rows


def _warn_of_same_metadata(index: Index, console: Console) -> None:
    """Say so where the network gets metadata that tells nothing of the test images."""
    of_train, of_test = (index.metadata_of(frame) for frame in (index.train, index.test))
    if len(of_test) > 1 and (of_test == of_test[0]).all() and not (of_train == of_train[0]).all():
        console.warn(
            "the metadata is the same for all test images, so it counts as unknown: is the file with it there? "
            "a run without metadata may do better"
        )


def _score(opened: OpenRun, held_out: list[Predictions]) -> dict[str, Any]:
    """The competition's metric of the nearest class on the validation images, to set beside the run's own score."""
    ids, values = np.concatenate([part.ids for part in held_out]), np.concatenate([part.values for part in held_out])
    means = Predictions(ids, opened.index.output_names, values).mean_by_id()
    return {"metric": opened.metric.name, "value": opened.score(opened.index.targets_of(means.ids), means.values)}
