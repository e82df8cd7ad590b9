"""Predict the competition's test images: the mean over a run's folds and over views of each image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.index import Index, no_images, rows_of
from kit.data.open_run import OpenRun
from kit.errors import KitError
from kit.files import atomic, need_writable
from kit.inference.forward import forward_views
from kit.inference.load import load_fold
from kit.inference.nearest import Centres
from kit.inference.tta import Scale, scaled_samples
from kit.model.memory import AtOnce
from kit.pixels.batches import Loader
from kit.pixels.samples import samples_of
from kit.run import Run
from kit.scoring.predictions import Predictions, need_sound


def predict_test(
    opened: OpenRun,
    scales: Sequence[Scale],
    console: Console,
    nearest: bool = False,
    only_fold: int | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Predict every test id and save `test.npz` into the run, or to `out`.

    Args:
        opened: a run with at least one trained fold.
        scales: the views to average, with equal weights.
        console: for progress.
        nearest: predict the class of the nearest mean embedding (`kit.inference.nearest`), not by the network's logits.
        only_fold: use only the network of this fold.
        out: the file to write instead; the run stays as it is.

    Returns:
        The document of `kit predict --json`.
    """
    run, config, store, index = opened.run, opened.config, opened.store, opened.index
    _need_writable(run, out)
    folds, rows = _folds(run, only_fold, console), _rows(opened, nearest)
    _warn_of_same_metadata(index, console)

    tests = [(scale, scaled_samples(store, index, "test", config, scale, console)(rows)) for scale in scales]
    views = sum(len(scale.views) for scale in scales)
    of_train = samples_of(store, index, "train", config, console) if nearest else None
    train, fold_of_row = rows_of(index.train, config.only), opened.folds.of(index.train)
    fold_of_row = fold_of_row[index.train.index.get_indexer(train.index)]
    total, held_out = np.zeros((len(rows), index.outputs), np.float64), []
    at_once, plain = AtOnce(console), Scale(config.size, ())
    with console.progress(f"predict {len(folds)} folds x {views} views", len(rows) * len(folds) * len(scales)) as bar:
        for fold in folds:
            model = load_fold(opened, fold)
            output_of = None
            if of_train is not None:
                training, validation = train[fold_of_row != fold], train[fold_of_row == fold]
                loader = Loader(of_train(training), None, config.workers, model.runtime.device, model.normalize)
                output_of = Centres.of(model, loader, index.outputs, config.batch_size * 2, at_once).probabilities
                own = forward_views(model, [(plain, of_train(validation))], config, output_of, at_once=at_once)
                held_out.append(Predictions(validation["id"].to_numpy(), index.output_names, own.astype(np.float32)))
            total += forward_views(model, tests, config, output_of, bar.advance, at_once)
    values = (total / len(folds)).astype(np.float32)
    need_sound(run, values, rows["id"].to_numpy())
    predictions = Predictions(rows["id"].to_numpy(), index.output_names, values).mean_by_id()
    with run.writing("test.npz") if out is None else atomic(out) as path:
        predictions.save(path)
    facts: dict[str, Any] = {
        "ids": len(predictions.ids),
        "folds": folds,
        "tta": views,
        "sides": [scale.side for scale in scales],
    }
    if nearest:
        facts["nearest"] = _score(opened, held_out)
    if out is None:
        run.update(predictions=facts)
    return {"run": run.id, "path": str(out or run.path / "test.npz"), **facts}


def _need_writable(run: Run, out: Path | None) -> None:
    if out is None:
        run.need_writable("give --out FILE to write elsewhere")
    else:
        need_writable(out.parent, "give another --out FILE")


def _folds(run: Run, only_fold: int | None, console: Console) -> list[int]:
    folds = run.need_network()
    if only_fold is not None:
        return [run.trained_fold(only_fold)]
    if len(folds) < run.config.folds:
        console.warn(f"{len(folds)} of {run.config.folds} folds are trained: the mean is over these")
    return folds


def _rows(opened: OpenRun, nearest: bool) -> pd.DataFrame:
    """Return the test rows that a run predicts; none, or `nearest` without a softmax task, is a `KitError`."""
    run, index, name = opened.run, opened.index, opened.competition.name
    if not len(index.test):
        add = f"kit download {name} --add --from ARCHIVE (or FOLDER) adds some"
        raise KitError(
            f"{opened.store.root} has {no_images(index, 'test')}: kit check {name} shows what there is, {add}"
        )
    if nearest and not index.task.softmax:
        raise KitError(f"{name} is a {index.task} task, which has no nearest class: drop --nearest")
    rows = rows_of(index.test, run.config.only)
    if not len(rows):
        raise KitError(f"no test image has {run.config.only}: run {run.id} has nothing to predict")
    return rows


def _warn_of_same_metadata(index: Index, console: Console) -> None:
    """Warn if the metadata that the network takes is the same for all test images."""
    of_train, of_test = (index.metadata_of(frame) for frame in (index.train, index.test))
    if len(of_test) > 1 and (of_test == of_test[0]).all() and not (of_train == of_train[0]).all():
        console.warn(
            "the metadata is the same for all test images, so it counts as unknown: is its file missing? "
            "a run without metadata may do better"
        )


def _score(opened: OpenRun, held_out: list[Predictions]) -> dict[str, Any]:
    """Score the nearest class on the validation images by the competition's metric, beside the run's own score."""
    ids, values = np.concatenate([each.ids for each in held_out]), np.concatenate([each.values for each in held_out])
    means = Predictions(ids, opened.index.output_names, values).mean_by_id()
    return {"metric": opened.metric.name, "value": opened.score(opened.index.targets_of(means.ids), means.values)}
