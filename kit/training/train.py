"""A training run: made, trained fold by fold, and closed with its out-of-fold score."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kit.config import TrainConfig
from kit.console import Console
from kit.data.external import extra_rows
from kit.data.folds import Folds, folds_of_run
from kit.data.index import Index, rows_of
from kit.data.store import Store
from kit.files import read_json, write_json
from kit.hooks.registry import Registry
from kit.hooks.specs import MetricSpec
from kit.inference.trained import out_of_fold
from kit.model import distributed
from kit.model.build import build_model, seed_everything
from kit.model.checkpoint import Checkpoints, unpack_modules
from kit.pixels.augment import make_augment
from kit.pixels.pack import packs_for
from kit.pixels.samples import samples_of
from kit.pixels.statistics import row_levels
from kit.run import Run
from kit.scoring.metrics import flat, score_with_interval
from kit.scoring.predictions import Predictions
from kit.training.forecast import Forecast
from kit.training.history import History
from kit.training.interrupt import Interrupt, Interrupted, InUnison
from kit.training.loop import FoldJob, train_fold
from kit.training.start import epoch_metrics, index_of_run, valid_fold

Elsewhere = Callable[[Store, Index, Run, list[int], Interrupt, Console], None]


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
    first = distributed.is_main()
    with ExitStack() as held:
        if first:
            held.enter_context(run.lock())
            held.enter_context(console.log_to(run.path / "log.txt"))
        planned, missing = distributed.on_main(lambda: _plan(run, config, only_fold))
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
            if isinstance(error, RuntimeError) and distributed.lost(error):
                advice = f"kit train --resume {run.id} goes on at its last checkpoint"
                raise distributed.gone(advice, run.path / ".lost") from None
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
        planned = sorted([*planned, valid_fold(only_fold, config.folds)])
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
    fresh = not checkpoints.content
    pretrained = config.pretrained and fresh and config.init is None
    model = build_model(config, registry, dataset, index, run.record["normalization"], pretrained)
    if config.init is not None and fresh:
        start = Run.open(Path(config.init))
        unpack_modules(Checkpoints(start.fold_dir(fold)).weights(start.config.checkpoint), model.network, model.loss)
    run.record["weight_bytes"] = sum(p.numel() * p.element_size() for p in model.network.state_dict().values())
    parts = (index.train[fold_of_row != fold], index.train[fold_of_row == fold], extra_rows(run, index, fold))
    *rows, further = (rows_of(part, config.only) for part in parts)
    train, valid = map(samples_of(store, index, "train", config, console, config.sizes), rows)
    if len(further):
        packs = packs_for(store, index, "extra", config, (config.size, *config.sizes), console)
        train = train.with_extra(index, further, packs, row_levels(store, index, "extra", config, console))
    job = FoldJob(
        config=config,
        fold=fold,
        model=model,
        train=train,
        valid=valid,
        augment=make_augment(config, run.path),
        metrics=epoch_metrics(registry, store.competition),
        checkpoints=checkpoints,
        history=History(run.fold_dir(fold) / "history.csv", console),
        trackers=[],
        classes=index.classes,
        forecast=forecast,
    )
    with ExitStack() as opened:
        for name in config.trackers if distributed.is_main() else ():
            job.trackers.append(registry.trackers.get(name).open(run.path, fold))
            opened.callback(job.trackers[-1].close)
        result = train_fold(job, interrupt, console)
    if not distributed.is_main():
        return
    predictions = Predictions(rows[1]["id"].to_numpy(), index.output_names, result.probabilities).mean_by_id()
    with run.writing(f"fold-{fold}/oof.npz") as path:
        predictions.save(path)
    metric = registry.metrics.get(store.competition.metric)
    write_json(run.fold_dir(fold) / "result.json", _result(job, index, predictions, metric, time.monotonic() - began))


def _result(job: FoldJob, index: Index, predictions: Predictions, metric: MetricSpec, seconds: float) -> dict[str, Any]:
    """What `result.json` says of a finished fold."""
    target = index.targets_of(predictions.ids)
    score = metric.compute(flat(index.task, target), flat(index.task, predictions.values))
    return {
        "metric": metric.name,
        "score": score if np.isfinite(score) else None,
        "checkpoint": job.config.checkpoint,
        "epochs": job.config.epochs,
        "train_images": len(job.train),
        "valid_images": len(job.valid),
        # Seconds count from the start of an epoch, so its last row has them all.
        "train_seconds": sum(r["seconds"] or 0 for r in job.history.rows if r["epoch"] == int(r["epoch"] or 0)),
        "seconds": seconds,
        "device": str(job.model.runtime),
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
        "command": sys.argv,
    }


def _close(run: Run, index: Index, folds: Folds, metric: MetricSpec, console: Console) -> dict[str, Any]:
    """Join the folds' out-of-fold predictions, in the order of the index, and score them with an interval."""
    joined = out_of_fold(run)
    frame = index.train.drop_duplicates("id")
    frame = frame[frame["id"].isin(set(joined.ids))]
    joined = joined.reorder(frame["id"].to_numpy())
    with run.writing("oof.npz") as path:
        joined.save(path)
    target, prediction = flat(index.task, index.targets(frame)), flat(index.task, joined.values)
    return score_with_interval(metric, target, prediction, folds.groups(frame), folds.grouped_by, console)
