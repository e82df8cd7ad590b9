"""Train a run fold by fold and close it with its out-of-fold score."""

import contextlib
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from kit.console import Console
from kit.data.external import external_rows
from kit.data.index import Index, rows_of
from kit.data.open_run import OpenRun
from kit.errors import DISK, KitError
from kit.files import sha256, write_json
from kit.hooks.specs import MetricSpec
from kit.hooks.trackers import Tracker
from kit.model import distributed
from kit.model.build import Model, build_model, seed_everything
from kit.model.checkpoint import Checkpoints, unpack_modules
from kit.pixels import resident
from kit.pixels.augment import make_augment
from kit.pixels.pack import packs_for
from kit.pixels.samples import Samples, samples_of
from kit.pixels.statistics import row_statistics
from kit.record import STEPS, DataFacts
from kit.run import Run
from kit.scoring.apart import apart, mean_over_folds
from kit.scoring.interval import score_with_interval
from kit.scoring.predictions import Predictions, out_of_fold
from kit.training.forecast import Forecast
from kit.training.interrupt import Interrupt, Interrupted, InUnison
from kit.training.job import FoldJob
from kit.training.loop import train_fold
from kit.training.parts import Parts
from kit.training.rows import fold_rows
from kit.training.start import check_trackers, epoch_metrics, training_index, valid_fold

# (run with its data, index with external images, folds to train, interrupt, console): trains them in other processes.
TrainFolds = Callable[[OpenRun, Index, list[int], Interrupt, Console], None]


def train(
    opened: OpenRun, only_fold: int | None, console: Console, train_folds: TrainFolds | None = None
) -> dict[str, Any]:
    """Train those folds of a run that are not trained yet; `only_fold` adds one to the plan of a resumed run.

    `train_folds` trains them, in place of one after another in this process (`kit.training.on_ray`).

    Returns:
        The document of `kit train --json`.
    """
    run = opened.run
    try:
        check_trackers(opened.config, opened.registry)
    except KitError as error:
        raise KitError(f"{error}; kit train --resume {run.id} --set trackers=[] goes on without") from None
    index = training_index(opened, console)
    main = distributed.is_main()
    with ExitStack() as held:
        if main:
            run.need_writable()
            held.enter_context(run.lock())
            held.callback(_enter_grown, run)
            held.enter_context(console.log_to(run.path / "log.txt"))
        planned, missing = distributed.on_main(lambda: _plan(opened, only_fold, console))
        try:
            with Interrupt(f"kit train --resume {run.id}") as interrupt:
                if train_folds is not None:
                    train_folds(opened, index, missing, interrupt, console)
                else:
                    train_in_turn(opened, index, missing, interrupt, console)
        except BaseException as error:
            if main:
                # On a full disk this fails too; the first cause is the one to tell.
                with contextlib.suppress(KitError):
                    run.update(state="interrupted" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "failed")
            if (told := _told_once(error, run)) is error:
                raise
            raise told from None
        if not main:
            return {}
        score = _close(opened, index, console)
        run.update(state="finished", score=score)
        results = run.results
        _say_score(opened.metric, score, [results[fold]["score"] for fold in planned], console)
    return {
        "run": run.id,
        "path": str(run.path),
        "score": score,
        "folds": {str(fold): results[fold] for fold in planned},
    }


def _told_once(error: BaseException, run: Run) -> BaseException:
    """Return what ends this process: of several processes, one reports what happened and the others end silently."""
    again, marker = f"kit train --resume {run.id}", run.path / ".lost"
    if isinstance(error, InUnison):
        return error if distributed.is_main() else SystemExit(error.code)
    if isinstance(error, RuntimeError) and distributed.lost(error):
        return distributed.gone(f"{again} resumes from its last checkpoint", marker)
    if isinstance(error, KitError):
        with_end = KitError(f"{error}, then {again} goes on", DISK) if error.code == DISK else error
        return distributed.first_to_end(with_end, marker)
    return error


def _enter_grown(run: Run) -> None:
    with contextlib.suppress(KitError):  # a full disk: the log's digest is of an earlier end
        run.enter_grown()


def train_in_turn(opened: OpenRun, index: Index, folds: list[int], interrupt: Interrupt, console: Console) -> None:
    """Train folds of a run one after another in this process."""
    forecast = forecast_of(opened, index, folds, console)
    try:
        for fold in folds:
            console.say(f"fold {fold} of {opened.config.folds}")
            train_one(opened, index, fold, forecast, interrupt, console)
    finally:
        resident.drop()


def _plan(opened: OpenRun, only_fold: int | None, console: Console) -> tuple[list[int], list[int]]:
    """Return the folds that the run will have in the end, and those of them still to train.

    Raises:
        KitError: the data has changed since the run started.
    """
    run, config = opened.run, opened.config
    if opened.changed:
        raise KitError(
            f"{opened.changed}: restore the former data, or start a new run (kit train {config.competition})"
        )
    planned = run.record["planned"]
    if only_fold is not None and only_fold not in planned:
        planned = sorted([*planned, valid_fold(only_fold, config.folds)])
    run.update(state="running", planned=planned)
    (run.path / ".lost").unlink(missing_ok=True)
    for fold in planned:
        _unfinish_damaged(run, config.checkpoint, fold, console)
    return planned, [fold for fold in planned if run.result(fold) is None]


def _unfinish_damaged(run: Run, which: str, fold: int, console: Console) -> None:
    """Take back what of a fold is lost or damaged, so that it is trained or predicted again."""
    folder = run.fold_dir(fold)
    try:
        checkpoints = Checkpoints(folder)
        if (folder / "result.json").exists():
            checkpoints.check(which)
        else:
            checkpoints.check_all()
    except KitError as error:
        console.warn(f"fold {fold} is trained again from the start: {error}")
        run.restart_fold(fold)
        return
    try:
        if run.result(fold) is not None:
            run.reading(f"fold-{fold}/oof.npz")
            run.reading(f"fold-{fold}/history.csv")
    except KitError as error:
        console.warn(f"fold {fold} is predicted again: {error}")
        (folder / "result.json").unlink()


def _say_score(metric: MetricSpec, score: dict[str, Any], by_fold: list[float | None], console: Console) -> None:
    interval = "" if score["low"] is None else f" [{score['low']:.4f}, {score['high']:.4f}]"
    value, *folds = ("undefined" if each is None else f"{each:.4f}" for each in (score["value"], *by_fold))
    console.say(f"out-of-fold {score['metric']}: {value}{interval} over {score['ids']} ids")
    mean = mean_over_folds(by_fold)
    console.say(f"by fold: {', '.join(folds)}" + ("" if mean is None else f"   mean {mean:.4f}"))
    if text := apart(metric, score["value"], by_fold):
        console.warn(text)


def forecast_of(opened: OpenRun, index: Index, folds: list[int], console: Console) -> Forecast:
    """Return the forecast of what training these folds will take; it is printed once it is known."""
    config, train, valid = opened.config, 0, 0
    for fold in folds:
        train_rows, valid_rows = fold_rows(index, opened.folds, fold, config.only)
        train, valid = train + len(train_rows) + len(_external(opened, index, fold)), valid + len(valid_rows)
    # The newest weights, the best, two moments of the optimiser, and the network beside its average.
    copies = (config.keep + 3 + (config.ema is not None)) * len(opened.run.record["planned"])
    return Forecast(train * config.epochs, valid * config.epochs, copies, console)


def train_one(
    opened: OpenRun, index: Index, fold: int, forecast: Forecast, interrupt: Interrupt, console: Console
) -> None:
    """Train one fold with a new model and its own checkpoints; write its out-of-fold predictions and result."""
    run, config, registry, began = opened.run, opened.config, opened.registry, time.monotonic()
    checkpoints = Checkpoints(run.fold_dir(fold))
    if config.augment is not None:
        run.reading(config.augment)
    model = _model(opened, index, fold, checkpoints)
    forecast.weight_bytes = sum(p.numel() * p.element_size() for p in model.network.state_dict().values())
    train, valid, train_ids, valid_ids = _samples(opened, index, fold, console)
    with ExitStack() as stack:
        trackers: list[Tracker] = []
        for name in config.trackers if distributed.is_main() else ():
            trackers.append(registry.trackers.get(name).open(run.path, fold))
            stack.callback(trackers[-1].close)
        job = FoldJob(
            config=config,
            fold=fold,
            model=model,
            train=train,
            valid=valid,
            augment=make_augment(config, run.path, registry),
            metrics=epoch_metrics(registry, opened.competition),
            checkpoints=checkpoints,
            history=run.fold_dir(fold) / "history.csv",
            ids=train_ids,
            valid_ids=valid_ids,
            trackers=tuple(trackers),
            classes=index.classes,
            forecast=forecast,
            parts=Parts(run, console),
        )
        result = train_fold(job, interrupt, console)
    if not distributed.is_main():
        return
    predictions = Predictions(valid_ids, index.output_names, result.probabilities).mean_by_id()
    with run.writing(f"fold-{fold}/oof.npz") as path:
        predictions.save(path)
    score = opened.score(index.targets_of(predictions.ids), predictions.values)
    courses = [path for path in (job.history, job.history.with_name(STEPS)) if path.is_file()]
    run.enter({f"fold-{fold}/{path.name}": [sha256(path)] for path in courses})
    seconds = sum(run.epoch_seconds_of(fold).values())
    document = _result(job, opened.metric, score, seconds, time.monotonic() - began)
    write_json(run.fold_dir(fold) / "result.json", document)


def _model(opened: OpenRun, index: Index, fold: int, checkpoints: Checkpoints) -> Model:
    """Build a fold's network, with the weights of the run it starts from, if any; a checkpoint's are loaded later."""
    config, fresh = opened.config, not checkpoints.content
    seed_everything(config.seed, fold)
    pretrained = config.pretrained and fresh and config.init is None
    normalization = opened.run.record["normalization"]
    model = build_model(config, opened.registry, opened.store.dataset, index, normalization, pretrained)
    if config.init is not None and fresh:
        start = Run.open(Path(config.init))
        unpack_modules(Checkpoints(start.fold_dir(fold)).weights(start.config.checkpoint), model.network, model.loss)
    return model


def _samples(
    opened: OpenRun, index: Index, fold: int, console: Console
) -> tuple[Samples, Samples, np.ndarray, np.ndarray]:
    """Return a fold's training samples, its validation samples, and the ids of both."""
    config, store = opened.config, opened.store
    train_rows, valid_rows = fold_rows(index, opened.folds, fold, config.only)
    external = _external(opened, index, fold)
    train, valid = map(samples_of(store, index, "train", config, console, config.sizes), (train_rows, valid_rows))
    if len(external):
        packs = packs_for(store, index, "external", config, (config.size, *config.sizes), console)
        train = train.with_external(index, external, packs, row_statistics(store, index, "external", config, console))
    _same_pixels(opened.run, train)
    train_ids = np.concatenate([train_rows["id"].to_numpy(object), external["id"].to_numpy(object)])
    return train, valid, train_ids, valid_rows["id"].to_numpy()


def _external(opened: OpenRun, index: Index, fold: int) -> pd.DataFrame:
    """Return the external rows that a fold learns from."""
    external = external_rows(opened.run, index, fold)
    return rows_of(external, opened.config.only) if len(external) else external


def _same_pixels(run: Run, train: Samples) -> None:
    """Note the digests of the packs that a run learns from; raise `KitError` if they have changed since it started."""
    packs = {"train": train.packs, "external": train.external_packs}
    now = {f"{split} {size} px": pack.digest for split, own in packs.items() for size, pack in own.items()}
    then: DataFacts = run.record.get("data") or {"arrived": "", "labels": "", "pixels": {}}
    for name, digest in now.items():
        if then["pixels"].get(name, digest) != digest:
            raise KitError(
                f"the pixels of {name} are not those that run {run.id} has learned from so far: restore the former "
                "images, or start a new run"
            )
    if distributed.is_main() and not now.items() <= then["pixels"].items():
        # Several processes may train folds at once; none may lose what another has noted.
        run.update(lambda record: {"data": {**then, "pixels": {**record.get("data", then)["pixels"], **now}}})


def _result(job: FoldJob, metric: MetricSpec, score: float, train_seconds: float, seconds: float) -> dict[str, Any]:
    """Return the document that `result.json` holds for a finished fold."""
    return {
        "metric": metric.name,
        "score": score if np.isfinite(score) else None,
        "checkpoint": job.config.checkpoint,
        "epochs": job.config.epochs,
        "train_images": len(job.train),
        "valid_images": len(job.valid),
        "train_seconds": train_seconds,
        "seconds": seconds,
        "device": str(job.model.runtime),
        "threads": torch.get_num_threads(),
        "world_size": distributed.world_size(),
        "parts": job.parts.count,
        "command": sys.argv,
    }


def _close(opened: OpenRun, index: Index, console: Console) -> dict[str, Any]:
    """Join the folds' out-of-fold predictions, in the order of the index, and score them with an interval."""
    joined, folds, task = out_of_fold(opened.run), opened.folds, index.task
    frame = index.train.drop_duplicates("id")
    frame = frame[frame["id"].isin(set(joined.ids))]
    joined = joined.reorder(frame["id"].to_numpy())
    with opened.run.writing("oof.npz") as path:
        joined.save(path)
    target, prediction = task.flat(index.targets(frame)), opened.metric.takes(task, joined.values)
    return score_with_interval(opened.metric, target, prediction, folds.groups(frame), folds.grouped_by, console)
