"""A training run: made, trained fold by fold, and closed with its out-of-fold score."""

import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kit.config import TrainConfig
from kit.console import Console
from kit.data.extra import extra_rows, left_out, save_left_out, with_extra
from kit.data.folds import Folds, folds_of_run, groups_spanning_folds, new_folds, save_folds, saved_folds
from kit.data.index import Index
from kit.data.packed import packs_for
from kit.data.store import Store
from kit.errors import KitError
from kit.files import read_json, write_json
from kit.inference.metrics import flat, score_with_interval
from kit.inference.predictions import Predictions
from kit.model import processes
from kit.model.batches import Samples
from kit.model.build import build_model, seed_everything, statistics
from kit.model.checkpoint import Checkpoints
from kit.plugin.registry import Registry
from kit.plugin.specs import Competition, MetricSpec
from kit.run import Run
from kit.training.augment import load_pipeline, make_augment
from kit.training.forecast import Forecast
from kit.training.history import History
from kit.training.interrupt import Interrupt, Interrupted, InUnison
from kit.training.loop import FoldJob, train_fold

PIPELINE = "augment.json"
Elsewhere = Callable[[Store, Index, Run, list[int], Interrupt, Console], None]


def folds_for(store: Store, index: Index, count: int, console: Console) -> Folds:
    """The saved folds of that number, made and saved now where there are none."""
    folds = saved_folds(store, count)
    if folds is None:
        folds = new_folds(store, index, count, 0, None, console)
        save_folds(store, folds)
    if groups_spanning_folds(index, folds):
        raise KitError(
            f"groups span folds in the saved {count} folds: kit folds {store.competition.name} --folds {count}"
        )
    return folds


def start_run(
    registry: Registry,
    store: Store,
    config: TrainConfig,
    sources: Mapping[str, str],
    only_fold: int | None,
    console: Console,
) -> Run:
    """Check everything that can be checked before training, then write a new run's directory."""
    if config.batch_size < 2 * processes.count():
        raise KitError(
            f"{processes.count()} processes can't share {config.batch_size} images: "
            f"--batch-size {2 * processes.count()} or more"
        )
    index = store.index()
    for what, names in index.missing.items():
        if names:
            console.warn(f"{len(names)} {what}, e.g. {names[0]}: left out (kit check {store.competition.name})")
    folds = folds_for(store, index, config.folds, console)
    extra_out = np.zeros((0, folds.count), bool)
    if config.extra is not None:
        config = config.model_copy(update={"extra": str(Path(config.extra).absolute())})
        index = index_of_run(store, config, console)
        extra_out = left_out(store, index, folds, console)
        console.say(f"extra: {len(index.extra)} images from {config.extra}; near-duplicates of validation images, left "
                    f"out by fold: {', '.join(map(str, extra_out.sum(0)))}")  # fmt: skip
    planned = list(range(config.folds)) if only_fold is None else [_valid_fold(only_fold, config.folds)]
    normalization = statistics(config, registry, store.dataset, index, console)
    for name in config.trackers:
        tracker = registry.trackers.get(name)
        if tracker.check is not None:
            tracker.check()
    epoch_metrics(registry, store.competition)
    # A wrong model, head or loss, and weights that can't be had, are found before a directory exists.
    build_model(config, registry, store.dataset, index, normalization, config.pretrained)
    pipeline = None if config.augment is None else Path(config.augment)
    if pipeline is not None:
        load_pipeline(pipeline)
        config = config.model_copy(update={"augment": PIPELINE})
    run = Run.create(
        config,
        {
            "competition": store.competition.name,
            "slug": store.competition.slug,
            "origin": store.origin,
            "classes": list(index.classes),
            "sources": dict(sources),
            "normalization": normalization,
            "folds": {"count": folds.count, "seed": folds.seed, "grouped_by": folds.grouped_by,
                      "digest": folds.digest},
            "planned": planned,
            "extra": {"ids": len(index.extra), "left_out": extra_out.sum(0).tolist()} if len(index.extra) else None,
            "left_out": {what: len(names) for what, names in index.missing.items()},
            "versions": {name: version(name) for name in ("torch", "torchvision", "timm", "albumentations", "numpy")}
            | {"python": platform.python_version()},
        },
    )  # fmt: skip
    with run.writing("folds.csv") as path:
        path.write_bytes(folds.csv())
    if len(index.extra):
        save_left_out(run, index, extra_out)
    if pipeline is not None:
        with run.writing(PIPELINE) as path:
            shutil.copyfile(pipeline, path)
    return run


def index_of_run(store: Store, config: TrainConfig, console: Console) -> Index:
    """The index from which a run of this configuration learns, with its extra samples."""
    index = store.index()
    return index if config.extra is None else with_extra(store, index, Path(config.extra), console)


def _valid_fold(fold: int, count: int) -> int:
    if not 0 <= fold < count:
        raise KitError(f"there is no fold {fold} of {count}: --fold 0 to --fold {count - 1}")
    return fold


def train(
    registry: Registry,
    store: Store,
    run: Run,
    only_fold: int | None,
    console: Console,
    elsewhere: Elsewhere | None = None,
) -> dict[str, Any]:
    """Train the folds of a run that are not yet trained; `only_fold` adds one to the plan of a resumed run.

    `elsewhere` trains them in another way than here in turn (`kit.training.on_ray`).

    Returns:
        The document of `kit train --json`.
    """
    config = run.config
    index = index_of_run(store, config, console)
    first = processes.is_first()
    with ExitStack() as held:
        if first:
            held.enter_context(run.lock())
            held.enter_context(console.log_to(run.path / "log.txt"))
        planned, missing = processes.first_does(lambda: _plan(run, config, only_fold))
        folds = folds_of_run(run)
        fold_of_row = folds.of(index.train)
        forecast = forecast_of(config, run, missing, fold_of_row, len(index.extra), console)
        try:
            with Interrupt(f"kit train --resume {run.id}") as interrupt:
                if elsewhere is not None:
                    elsewhere(store, index, run, missing, interrupt, console)
                for fold in missing if elsewhere is None else ():
                    console.say(f"fold {fold} of {config.folds}")
                    train_one(registry, store, run, index, fold, fold_of_row, forecast, interrupt, console)
        except BaseException as error:
            if first:
                run.update(state="interrupted" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "failed")
            if isinstance(error, InUnison) and not first:
                raise SystemExit(error.code) from None
            if isinstance(error, RuntimeError) and processes.lost(error):
                advice = f"kit train --resume {run.id} goes on at its last checkpoint"
                raise processes.gone(advice, run.path / ".lost") from None
            raise
        if not first:
            return {}
        score = _close(run, index, folds, registry.metrics.get(store.competition.metric), console)
        # A rule was made from fewer folds, if there is one.
        run.update(state="finished", score=score, decision=None)
        results = {str(fold): fold_result(run, fold) or {} for fold in planned}
        _say_score(score, [result["score"] for result in results.values()], console)
    return {"run": run.id, "path": str(run.path), "score": score, "folds": results}


def _plan(run: Run, config: TrainConfig, only_fold: int | None) -> tuple[list[int], list[int]]:
    """The folds that the run is to have in the end, and those of them that are still to train."""
    planned = run.record["planned"]
    if only_fold is not None and only_fold not in planned:
        planned = sorted([*planned, _valid_fold(only_fold, config.folds)])
    run.update(state="running", planned=planned)
    (run.path / ".lost").unlink(missing_ok=True)
    return planned, [fold for fold in planned if fold_result(run, fold) is None]


def _say_score(score: dict[str, Any], by_fold: list[float | None], console: Console) -> None:
    interval = "" if score["low"] is None else f" [{score['low']:.4f}, {score['high']:.4f}]"
    value, *folds = ("undefined" if each is None else f"{each:.4f}" for each in (score["value"], *by_fold))
    console.say(f"out-of-fold {score['metric']}: {value}{interval} over {score['ids']} ids")
    console.say(f"by fold: {', '.join(folds)}")


def fold_result(run: Run, fold: int) -> dict[str, Any] | None:
    """What a finished fold ended with; None for one that is not finished."""
    path = run.fold_dir(fold) / "result.json"
    result: dict[str, Any] | None = read_json(path) if path.is_file() else None
    return result


def forecast_of(
    config: TrainConfig, run: Run, missing: list[int], fold_of_row: np.ndarray, extra: int, console: Console
) -> Forecast:
    """What training these folds will take, said once it is known."""
    valid = sum(int((fold_of_row == fold).sum()) for fold in missing)
    train_images = sum(int((fold_of_row != fold).sum()) + extra for fold in missing)

    def disk() -> int:
        # The newest weights, the best, two moments of the optimiser, and the network beside its average.
        return (
            (config.keep + 3 + (config.ema is not None))
            * run.record.get("weight_bytes", 0)
            * len(run.record["planned"])
        )

    return Forecast(train_images * config.epochs, valid * config.epochs, disk, console)


def train_one(
    registry: Registry,
    store: Store,
    run: Run,
    index: Index,
    fold: int,
    fold_of_row: np.ndarray,
    forecast: Forecast,
    interrupt: Interrupt,
    console: Console,
) -> None:
    """One fold: a new model, its own checkpoints, its out-of-fold predictions and result."""
    config, dataset = run.config, store.dataset
    began = time.monotonic()
    seed_everything(config.seed, fold)
    checkpoints = Checkpoints(run.fold_dir(fold))
    pretrained = config.pretrained and not checkpoints.content
    model = build_model(config, registry, dataset, index, run.record["normalization"], pretrained)
    run.record["weight_bytes"] = sum(p.numel() * p.element_size() for p in model.network.state_dict().values())
    sizes = (config.size, *config.sizes)
    packs = packs_for(store, index, "train", config, sizes, console)
    train_rows, valid_rows = index.train[fold_of_row != fold], index.train[fold_of_row == fold]
    further = extra_rows(run, index, fold)
    further_packs = packs_for(store, index, "extra", config, sizes, console) if len(further) else {}
    job = FoldJob(
        config=config,
        fold=fold,
        model=model,
        train=Samples.of(index, train_rows, dataset, config.size, packs).with_extra(index, further, further_packs),
        valid=Samples.of(index, valid_rows, dataset, config.size, packs),
        augment=make_augment(config, run.path),
        metrics=epoch_metrics(registry, store.competition),
        checkpoints=checkpoints,
        history=History(run.fold_dir(fold) / "history.csv", console),
        trackers=[],
        classes=index.classes,
        forecast=forecast,
    )
    with ExitStack() as opened:
        for name in config.trackers if processes.is_first() else ():
            job.trackers.append(registry.trackers.get(name).open(run.path, fold))
            opened.callback(job.trackers[-1].close)
        result = train_fold(job, interrupt, console)
    if not processes.is_first():
        return
    predictions = Predictions(valid_rows["id"].to_numpy(), index.output_names, result.probabilities).mean_by_id()
    with run.writing(f"fold-{fold}/oof.npz") as path:
        predictions.save(path)
    metric = registry.metrics.get(store.competition.metric)
    target = index.targets_of(predictions.ids)
    score = metric.compute(flat(index.task, target), flat(index.task, predictions.values))
    # Seconds count from the start of an epoch, so its last row has them all.
    seconds = sum(row["seconds"] or 0 for row in job.history.rows if row["epoch"] == int(row["epoch"] or 0))
    write_json(
        run.fold_dir(fold) / "result.json",
        {"metric": metric.name, "score": score if np.isfinite(score) else None, "checkpoint": config.checkpoint,
         "epochs": config.epochs, "train_images": len(job.train), "valid_images": len(valid_rows),
         "train_seconds": seconds, "seconds": time.monotonic() - began,
         "device": str(model.runtime), "threads": torch.get_num_threads(), "processes": processes.count(),
         "command": sys.argv},
    )  # fmt: skip


def epoch_metrics(registry: Registry, competition: Competition) -> tuple[MetricSpec, ...]:
    """What each validation computes: the competition's metric, by which it is scored, first."""
    names = dict.fromkeys((competition.metric, *competition.epoch_metrics))
    return tuple(registry.metrics.get(name) for name in names)


def _close(run: Run, index: Index, folds: Folds, metric: MetricSpec, console: Console) -> dict[str, Any]:
    """Join the folds' out-of-fold predictions, in the order of the index, and score them with an interval."""
    parts = [Predictions.load(run.reading(f"fold-{fold}/oof.npz")) for fold in run.record["planned"]]
    joined = Predictions(
        np.concatenate([part.ids for part in parts]), parts[0].classes, np.concatenate([part.values for part in parts])
    )
    frame = index.train.drop_duplicates("id")
    frame = frame[frame["id"].isin(set(joined.ids))]
    joined = joined.reorder(frame["id"].to_numpy())
    with run.writing("oof.npz") as path:
        joined.save(path)
    target, prediction = flat(index.task, index.targets(frame)), flat(index.task, joined.values)
    return score_with_interval(metric, target, prediction, folds.groups(frame), folds.grouped_by, console)
