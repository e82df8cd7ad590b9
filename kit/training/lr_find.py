"""The learning-rate range test (Smith 2017): raise the rate step by step and find where the loss falls fastest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kit.config import TrainConfig
from kit.console import Console
from kit.data.folds import Folds
from kit.data.store import Store
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.model.build import build_model, normalization_of, seed_everything
from kit.pixels.augment import make_augment
from kit.pixels.batches import Loader
from kit.pixels.sampler import training_plan
from kit.pixels.samples import samples_of
from kit.training.optim import freeze_body
from kit.training.stepper import Stepper

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTHING = 0.95
# The test ends when the smoothed loss is more than this many times its best.
DIVERGED = 4.0


@dataclass(frozen=True)
class RangeTest:
    """The rates tried, the smoothed loss after each, and the rate at which it fell fastest."""

    rates: list[float]
    losses: list[float]
    suggestion: float


def find_rate(registry: Registry, store: Store, config: TrainConfig, folds: Folds, console: Console) -> RangeTest:
    """Train the first fold's network on up to 100 batches with a learning rate growing from 1e-7 to 10."""
    index = store.index().with_metadata(config.metadata)
    seed_everything(config.seed, 0)
    normalization = normalization_of(config, registry, store.dataset, index, console)
    model = build_model(config, registry, store.dataset, index, normalization, config.pretrained)
    if config.freeze_epochs:
        freeze_body(model.network, True)
    stepper = Stepper(config, model, len(index.classes))
    rows = index.train[folds.of(index.train) != 0]
    first = config.model_copy(update={"size": config.sizes[0] if config.sizes else config.size})
    samples = samples_of(store, index, "train", first, console)(rows)
    augment = make_augment(config, Path())
    loader = Loader(samples, augment, config.workers, model.runtime.device, model.normalize)
    epochs = (training_plan(len(samples), config.batch_size, (config.seed, 0, epoch)) for epoch in range(STEPS))
    plan = list(islice((batch for epoch in epochs for step in epoch for batch in step), STEPS))
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    with console.progress("learning rates", len(plan), "steps") as bar:
        for step, batch in enumerate(loader.batches(plan)):
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
            images = len(batch.rows)
            loss = float(stepper.step(iter([batch]), 1, images, rate)) / images
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            smoothed = average / (1 - SMOOTHING ** (step + 1))
            if not math.isfinite(smoothed) or (losses and smoothed > DIVERGED * min(losses)):
                break
            rates.append(rate)
            losses.append(smoothed)
            bar.advance(1, f"rate {rate:.1e}, loss {smoothed:.3f}")
    return RangeTest(rates, losses, steepest(rates, losses))


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Return the rate at which the loss falls fastest over the logarithm of the rate, before its lowest point."""
    bottom = losses.index(min(losses)) if losses else 0
    if bottom < 2:
        raise KitError("the loss never fell in the range test: check the data (kit check) or choose another --model")
    falls = [losses[i - 1] - losses[i + 1] for i in range(1, bottom)]
    return rates[1 + falls.index(max(falls))]
