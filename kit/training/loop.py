"""The training loop: one fold, read from top to bottom."""

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from kit.config import TrainConfig
from kit.console import Console
from kit.hooks.specs import ImageTracker, MetricSpec, Tracker
from kit.inference.forward import Forward, forward
from kit.model import distributed
from kit.model.build import Model
from kit.model.checkpoint import Checkpoints, pack_modules, pack_optimizer, unpack_modules, unpack_optimizer
from kit.pixels.batches import Augment, Loader, balanced_weights, training_plan
from kit.pixels.samples import Samples
from kit.scoring.metrics import flat
from kit.training.ema import Ema
from kit.training.forecast import Forecast
from kit.training.history import History
from kit.training.interrupt import Interrupt, Interrupted, InUnison
from kit.training.mix import mix
from kit.training.optim import freeze_body, make_optimizer
from kit.training.previews import previews
from kit.training.schedule import is_frozen, learning_rate, out_of_patience, stage_size
from kit.training.stepper import Stepper

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
    classes: tuple[str, ...]
    forecast: Forecast


def train_fold(job: FoldJob, interrupt: Interrupt, console: Console) -> Forward:
    """Train one fold, from its last checkpoint where there is one, and predict its validation part.

    Every step's randomness comes from (seed, fold, epoch, step) alone, so a run that was stopped anywhere and resumed
    ends with the same weights as one that was not.

    Returns:
        The validation part's probabilities under the weights that the configuration wants (`last` or `best`).

    Raises:
        InUnison: the loss is no longer finite.
        Interrupted: the person asked to stop; a checkpoint was saved.
    """
    config, model = job.config, job.model
    device, metric = model.runtime.device, job.metrics[0]
    optimizer = make_optimizer(config, model.network, model.loss)
    scaler = model.runtime.scaler()
    ema = Ema(model, config.ema) if config.ema is not None else None
    predictor = ema.model if ema else model
    weights = balanced_weights(job.train.targets) if config.sampler == "balanced" else None
    least = 2 * distributed.world_size()
    steps_an_epoch = len(training_plan(len(job.train), config.batch_size, (0,), config.accumulate, None, least))

    progress: dict[str, Any] = {
        "epoch": 0,
        "step": 0,
        "loss_sum": 0.0,
        "images": 0,
        "seconds": 0.0,
        "best": {"step": -1, "score": None},
        "validated": 0,
        "scaler": {},
        "history": [],
        "epoch_ends": [],
    }
    if job.checkpoints.content:
        progress = job.checkpoints.content["progress"]
        state = job.checkpoints.state()
        unpack_modules(job.checkpoints.weights("last"), predictor.network, predictor.loss)
        if ema:
            unpack_modules(state, model.network, model.loss)
        unpack_optimizer(state, optimizer)
        if scaler.is_enabled():
            scaler.load_state_dict(progress["scaler"])
    job.history.rows = progress["history"]
    # Of this process's images; what was summed up before a stop is the first one's.
    loss_sum = torch.tensor(progress["loss_sum"], dtype=torch.float64, device=device) * distributed.is_main()

    def rate(step: int) -> float:
        return learning_rate(config, step, steps_an_epoch, [end["loss"] for end in progress["epoch_ends"]])

    def save() -> None:
        progress.update(loss_sum=distributed.all_reduce(loss_sum), scaler=scaler.state_dict(), history=job.history.rows)
        if not distributed.is_main():
            return
        state = pack_optimizer(optimizer) | (pack_modules(model.network, model.loss) if ema else {})
        job.checkpoints.write(pack_modules(predictor.network, predictor.loss), state, progress, config.keep)

    def validate() -> Forward:
        # Batch normalisation has seen other images in each process.
        distributed.broadcast(predictor.network.buffers())
        with console.progress(f"fold {job.fold} validation", len(job.valid)) as bar:

            def after_batch(images: int) -> None:
                bar.advance(images * distributed.world_size())
                if distributed.world_size() == 1:  # others may have more batches, or fewer
                    interrupt.check()

            result = forward(predictor, valid_loader, config.batch_size * 2, after_batch=after_batch)
        target, prediction = flat(model.task, result.targets), flat(model.task, result.probabilities)
        scores = {metric.label or metric.name: metric.compute(target, prediction) for metric in job.metrics}
        decisive = next(iter(scores.values()))
        best, sign = progress["best"], 1 if metric.higher_is_better else -1
        if best["score"] is None or (math.isfinite(decisive) and sign * decisive > sign * best["score"]):
            progress["best"] = {"step": progress["step"], "score": decisive if math.isfinite(decisive) else None}
        row = {
            "epoch": round(progress["step"] / steps_an_epoch, 3),
            "train loss": distributed.all_reduce(loss_sum) / max(progress["images"], 1),
            "valid loss": result.loss,
            **scores,
            "lr": rate(progress["step"] - 1),
            "seconds": progress["seconds"],
            "images/s": progress["images"] / max(progress["seconds"], 1e-9),
        }
        job.history.add(row)
        progress["validated"] = progress["step"]
        for tracker in job.trackers:
            tracker.log(progress["step"], row)
            if isinstance(tracker, ImageTracker):
                tracker.images(progress["step"], previews(job.valid, result, model.task, job.classes))
        return result

    validation, size, stepper = None, None, None
    model.network.train()
    try:
        for epoch in range(progress["epoch"], config.epochs):
            if out_of_patience(config, [end["score"] for end in progress["epoch_ends"]], metric.higher_is_better):
                console.say(f"no better {metric.name} for {config.patience} epochs: fold {job.fold} ends here")
                break
            if config.freeze_epochs:
                freeze_body(model.network, is_frozen(config, epoch))
            if stepper is None or epoch == config.freeze_epochs:
                stepper = Stepper.of(model)
            if stage_size(config, epoch) != size:
                size = stage_size(config, epoch)
                train_loader = Loader(
                    replace(job.train, size=size), job.augment, config.workers, device, model.normalize
                )
                valid_loader = Loader(replace(job.valid, size=size), None, config.workers, device, model.normalize)
            plan = training_plan(
                len(job.train), config.batch_size, (config.seed, job.fold, epoch), config.accumulate, weights, least
            )
            seeds = np.random.SeedSequence((config.seed, job.fold, epoch)).generate_state(steps_an_epoch)
            first = progress["step"] - epoch * steps_an_epoch
            own = [(distributed.shard(rows), distributed.shard(s)) for step in plan[first:] for rows, s in step]
            raws = train_loader.batches(own)
            began = time.monotonic() - progress["seconds"]
            with console.progress(
                f"fold {job.fold} epoch {epoch + 1}/{config.epochs}", len(job.train), start=progress["images"]
            ) as bar:
                for number, step in enumerate(plan[first:], first):
                    due = config.validate_every and progress["step"] % config.validate_every == 0
                    if due and progress["validated"] < progress["step"]:
                        validate()
                        save()
                        began = time.monotonic() - progress["seconds"]
                    torch.manual_seed(int(seeds[number]) + distributed.rank())
                    for group in optimizer.param_groups:
                        group["lr"] = rate(progress["step"]) * group["scale"]
                    images = sum(len(rows) for rows, _ in step)
                    for part, raw in enumerate(next(raws) for _ in step):
                        batch = mix(config, raw, len(job.classes))
                        with stepper.accumulating(part + 1 < len(step)):
                            with model.runtime.autocast():
                                loss = stepper(batch) * (len(batch.rows) / images)
                            if part == 0:
                                optimizer.zero_grad(set_to_none=True)
                            # Gradients of several processes are averaged; their shares of the loss add up.
                            scaler.scale(loss * distributed.world_size()).backward()
                        loss_sum += loss.detach().double() * images
                    if config.clip is not None:
                        scaler.unscale_(optimizer)
                        torch.nn.utils.clip_grad_norm_(model.network.parameters(), config.clip)
                    scaler.step(optimizer)
                    scaler.update()

                    progress["step"] += 1
                    progress["images"] += images
                    progress["seconds"] = time.monotonic() - began
                    if ema:
                        ema.update(model, progress["step"])
                    note = ""
                    if progress["step"] % READ_LOSS_EVERY == 0 or number + 1 == steps_an_epoch:
                        # Reading the loss waits for the device: only now and then.
                        loss_so_far = distributed.all_reduce(loss_sum)
                        note = f"loss {loss_so_far / progress['images']:.4f}"
                        if not math.isfinite(loss_so_far):
                            raise InUnison(
                                f"the loss is no longer finite in fold {job.fold}, epoch {epoch + 1}: "
                                f"train again with a smaller --lr than {config.lr:g}"
                            )
                    bar.advance(images, note)
                    job.forecast.after_step(bar.rate())
                    if distributed.world_size() == 1 or progress["step"] % READ_LOSS_EVERY == 0:
                        interrupt.check()
                    if config.save_every and progress["step"] % config.save_every == 0:
                        save()
            validation = validate()
            row = job.history.rows[-1]
            progress["epoch_ends"].append({"score": row[metric.label or metric.name], "loss": row["valid loss"]})
            progress.update(epoch=epoch + 1, images=0, seconds=0.0)
            loss_sum.zero_()
            save()
    except Interrupted:
        save()
        raise

    # The last validation is that of the last weights; anything else is predicted from the saved ones.
    chosen_is_last = config.checkpoint == "last" or progress["best"]["step"] == progress["step"]
    if not chosen_is_last:
        if distributed.is_main():
            unpack_modules(job.checkpoints.weights("best"), predictor.network, predictor.loss)
        distributed.broadcast([*predictor.network.state_dict().values(), *predictor.loss.state_dict().values()])
    if validation is None or not chosen_is_last or size != config.size:
        valid_loader = Loader(job.valid, None, config.workers, device, model.normalize)
        validation = forward(predictor, valid_loader, config.batch_size * 2)
    return validation
