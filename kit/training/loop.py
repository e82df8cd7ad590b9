"""The training loop: one fold, read from top to bottom."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kit.config import TrainConfig
from kit.console import Console
from kit.errors import KitError
from kit.inference.metrics import flat
from kit.inference.predict import Forward, forward
from kit.model.batches import Augment, Loader, Samples, to_device, training_plan
from kit.model.build import Model
from kit.model.checkpoint import Checkpoints, pack_modules, pack_optimizer, unpack_modules, unpack_optimizer
from kit.plugin.specs import MetricSpec, Tracker
from kit.training.forecast import Forecast
from kit.training.history import History
from kit.training.interrupt import Interrupt, Interrupted
from kit.training.optim import learning_rate, make_optimizer

READ_LOSS_EVERY = 10


@dataclass(frozen=True)
class FoldJob:
    """All that one fold's training needs; the model is new and belongs to this fold alone."""

    config: TrainConfig
    fold: int
    model: Model
    train: Samples
    valid: Samples
    augment: Augment | None
    metrics: tuple[MetricSpec, ...]
    checkpoints: Checkpoints
    history: History
    trackers: list[Tracker]
    forecast: Forecast


def train_fold(job: FoldJob, interrupt: Interrupt, console: Console) -> Forward:
    """Train one fold, from its last checkpoint where there is one, and predict its validation part.

    Every step's randomness comes from (seed, fold, epoch, step) alone, so a run that was stopped anywhere and resumed
    ends with the same weights as one that was not.

    Returns:
        The validation part's probabilities under the weights that the configuration wants (`last` or `best`).

    Raises:
        KitError: the loss is no longer finite.
        Interrupted: the person asked to stop; a checkpoint was saved.
    """
    config, model = job.config, job.model
    device = model.runtime.device
    optimizer = make_optimizer(config, [model.network, model.loss])
    scaler = model.runtime.scaler()
    train_loader = Loader(job.train, job.augment, config.workers, device)
    valid_loader = Loader(job.valid, None, config.workers, device)
    steps_an_epoch = len(training_plan(len(job.train), config.batch_size, (0,)))
    total_steps = steps_an_epoch * config.epochs

    progress: dict[str, Any] = {
        "epoch": 0, "step": 0, "loss_sum": 0.0, "images": 0, "seconds": 0.0,
        "best": {"step": -1, "score": None}, "validated": 0, "scaler": {}, "history": [],
    }  # fmt: skip
    if job.checkpoints.content:
        progress = job.checkpoints.content["progress"]
        unpack_modules(job.checkpoints.weights("last"), model.network, model.loss)
        unpack_optimizer(job.checkpoints.optimizer(), optimizer)
        if scaler.is_enabled():
            scaler.load_state_dict(progress["scaler"])
    job.history.rows = progress["history"]
    loss_sum = torch.tensor(progress["loss_sum"], dtype=torch.float64, device=device)

    def save() -> None:
        progress.update(loss_sum=float(loss_sum), scaler=scaler.state_dict(), history=job.history.rows)
        weights = pack_modules(model.network, model.loss)
        job.checkpoints.write(progress["step"], weights, pack_optimizer(optimizer), progress)

    def validate() -> Forward:
        with console.progress(f"fold {job.fold} validation", len(job.valid)) as bar:

            def after_batch(images: int) -> None:
                bar.advance(images)
                interrupt.check()

            result = forward(model, valid_loader, len(job.valid), config.batch_size * 2, after_batch=after_batch)
        target, prediction = flat(model.task, result.targets), flat(model.task, result.probabilities)
        scores = {metric.label or metric.name: metric.compute(target, prediction) for metric in job.metrics}
        decisive = next(iter(scores.values()))
        best = progress["best"]
        sign = 1 if job.metrics[0].higher_is_better else -1
        if best["score"] is None or (math.isfinite(decisive) and sign * decisive > sign * best["score"]):
            progress["best"] = {"step": progress["step"], "score": decisive if math.isfinite(decisive) else None}
        row = {
            "epoch": round(progress["step"] / steps_an_epoch, 3),
            "train loss": float(loss_sum) / max(progress["images"], 1),
            "valid loss": result.loss,
            **scores,
            "lr": learning_rate(config, progress["step"] - 1, total_steps),
            "seconds": progress["seconds"],
            "images/s": progress["images"] / max(progress["seconds"], 1e-9),
        }
        job.history.add(row)
        progress["validated"] = progress["step"]
        for tracker in job.trackers:
            tracker.log(progress["step"], row)
        return result

    validation = None
    model.network.train()
    try:
        for epoch in range(progress["epoch"], config.epochs):
            plan = training_plan(len(job.train), config.batch_size, (config.seed, job.fold, epoch))
            seeds = np.random.SeedSequence((config.seed, job.fold, epoch)).generate_state(steps_an_epoch)
            first = progress["step"] - epoch * steps_an_epoch
            began = time.monotonic() - progress["seconds"]
            with console.progress(f"fold {job.fold} epoch {epoch + 1}/{config.epochs}", len(job.train),
                                  start=progress["images"]) as bar:  # fmt: skip
                for raw in train_loader.batches(plan[first:]):
                    due = config.validate_every and progress["step"] % config.validate_every == 0
                    if due and progress["validated"] < progress["step"]:
                        validate()
                        save()
                        began = time.monotonic() - progress["seconds"]
                    torch.manual_seed(int(seeds[progress["step"] - epoch * steps_an_epoch]))
                    batch = to_device(raw, device, model.normalize)
                    for group in optimizer.param_groups:
                        group["lr"] = learning_rate(config, progress["step"], total_steps)
                    with model.runtime.autocast():
                        output = model.network(batch.images, batch.extras)
                        loss = model.loss(output, batch)
                    optimizer.zero_grad(set_to_none=True)
                    scaler.scale(loss).backward()
                    scaler.step(optimizer)
                    scaler.update()

                    loss_sum += loss.detach().double() * len(batch.rows)
                    progress["step"] += 1
                    progress["images"] += len(batch.rows)
                    progress["seconds"] = time.monotonic() - began
                    last_of_epoch = progress["step"] == (epoch + 1) * steps_an_epoch
                    note = ""
                    if progress["step"] % READ_LOSS_EVERY == 0 or last_of_epoch:
                        # Reading the loss waits for the device: only now and then.
                        note = f"loss {float(loss_sum) / progress['images']:.4f}"
                        if not math.isfinite(float(loss_sum)):
                            raise KitError(f"the loss is no longer finite in fold {job.fold}, epoch {epoch + 1}: "
                                           f"train again with a smaller --lr than {config.lr:g}")  # fmt: skip
                    bar.advance(len(batch.rows), note)
                    job.forecast.after_step(bar.rate())
                    interrupt.check()
            validation = validate()
            progress.update(epoch=epoch + 1, images=0, seconds=0.0)
            loss_sum.zero_()
            save()
    except Interrupted:
        save()
        raise

    chosen_is_last = config.checkpoint == "last" or progress["best"]["step"] == progress["step"]
    if not chosen_is_last:
        unpack_modules(job.checkpoints.weights("best"), model.network, model.loss)
    if validation is None or not chosen_is_last:
        validation = forward(model, valid_loader, len(job.valid), config.batch_size * 2)
    return validation
