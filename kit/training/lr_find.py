"""The learning-rate range test (Smith 2017): raise the rate step by step and find where the loss falls fastest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

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
from kit.training.rows import fold_rows, limited
from kit.training.start import check_batch
from kit.training.stepper import Stepper

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTHING = 0.95
# The test ends when the smoothed loss is more than this many times its best.
DIVERGED = 4.0
SKIPPED = 10  # steps at the start: a fall there comes of the images drawn, at rates that change nothing
WIDTH = 12  # steps to either side that a smoothed point sees
CERTAIN = 4.0  # standard errors by which the fall must exceed none
ROUNDING = 1e-9  # a share of the loss


@dataclass(frozen=True)
class RangeTest:
    """The rates tried, the smoothed loss at each, and the rate at which it fell fastest."""

    rates: list[float]
    losses: list[float]
    suggestion: float


def find_rate(registry: Registry, store: Store, config: TrainConfig, folds: Folds, console: Console) -> RangeTest:
    """Train the first fold's network on up to 100 batches with a learning rate growing from 1e-7 to 10."""
    check_batch(config)
    index, folds = limited(store.index().with_metadata(config.metadata), folds, config, console)
    seed_everything(config.seed, 0)
    normalization = normalization_of(config, registry, store.dataset, index, console)
    model = build_model(config, registry, store.dataset, index, normalization, config.pretrained)
    if config.freeze_epochs:
        freeze_body(model.network, True)
    stepper = Stepper(config, model, len(index.classes))
    rows, _ = fold_rows(index, folds, 0, config.only)
    first = config.model_copy(update={"size": config.sizes[0] if config.sizes else config.size})
    samples = samples_of(store, index, "train", first, console)(rows)
    augment = make_augment(config, Path(), registry)
    loader = Loader(samples, augment, config.workers, model.runtime.device, model.normalize)
    epochs = (training_plan(len(samples), config.batch_size, (config.seed, 0, epoch)) for epoch in range(STEPS))
    plan = list(islice((batch for epoch in epochs for step in epoch for batch in step), STEPS))
    rates, losses = _tried(stepper, loader, plan, console)
    suggestion = steepest(rates, losses)
    return RangeTest(rates, smoothed(losses)[0].tolist(), suggestion)


def _tried(
    stepper: Stepper, loader: Loader, plan: Sequence[tuple[np.ndarray, np.ndarray]], console: Console
) -> tuple[list[float], list[float]]:
    """Take a step per batch at growing rates; return the rates, and the loss of each batch before its step.

    Most of the noise is that some batches are harder than others. So each loss is corrected by that of the network
    before the first step on the very same batch, with the same draws of dropout and mixing (a control variate).
    """
    before = Stepper(stepper.config, stepper.model.copy(), stepper.classes)
    rates: list[float] = []
    losses: list[float] = []
    starts: list[float] = []
    average, best = 0.0, math.inf
    with console.progress("learning rates", len(plan), "steps") as bar:
        for step, batch in enumerate(loader.batches(plan)):
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
            images = len(batch.rows)
            torch.manual_seed(step)
            with torch.no_grad():
                start = float(before.loss(batch))
            torch.manual_seed(step)
            loss = float(stepper.step(iter([batch]), 1, images, rate)) / images
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            running = average / (1 - SMOOTHING ** (step + 1))
            if not math.isfinite(running + start) or running > DIVERGED * best:
                break
            best = min(best, running)
            rates.append(rate)
            losses.append(loss)
            starts.append(start)
            bar.advance(1, f"rate {rate:.1e}, loss {running:.3f}")
    level = sum(starts) / max(len(starts), 1)
    return rates, [loss - start + level for loss, start in zip(losses, starts, strict=True)]


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Return the rate at which the loss falls fastest over the logarithm of the rate, before its lowest point.

    Args:
        rates: at equal steps of their logarithm.
        losses: of single batches, as noisy as they are.

    Raises:
        KitError: no fall stands out of the noise.
    """
    level, _, _ = smoothed(losses)
    first, bottom = min(SKIPPED, len(level) // 4), int(np.argmin(level)) if len(level) else 0
    # Without the wall at which training diverges: it would show through the smoothing.
    beyond = np.flatnonzero(_medians(losses[bottom:]) > level[: first + 1].mean()) if bottom else np.empty(0, np.int64)
    _, slope, error = smoothed(losses[: bottom + int(beyond[0])] if len(beyond) else losses)
    falls, errors = -slope[first:bottom], error[first:bottom]
    if not (falls > CERTAIN * errors + ROUNDING * np.abs(level[first:bottom])).any():
        raise KitError(
            "the loss never fell by more than its noise in the range test: try larger batches (--set batch_size=64), "
            "check the data (kit check) or choose another --model"
        )
    # Of two falls that look alike the more certain one counts.
    return rates[first + int(np.argmax(falls - errors))]


def _medians(values: Sequence[float]) -> np.ndarray:
    """Return the median of each value with two neighbours to either side."""
    padded = np.pad(np.asarray(values, float), 2, mode="edge")
    medians: np.ndarray = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), 1)
    return medians


def smoothed(losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit a line around each point; return its height, its slope per step, and the slope's standard error.

    Lines are weighted by (1 - |d/w|^3)^3 at the distance d (LOESS, Cleveland 1979). The error comes from the noise
    where it is (White 1980), since it grows with the rate: from the distance of each point to the middle of its
    neighbours (Gasser, Sroka & Jennen-Steinmetz 1986), in which a bend of the curve hardly counts.
    """
    values = np.asarray(losses, float)
    steps = np.arange(len(values))
    distance = steps - steps[:, None]  # of each step from the point whose row this is
    weight = np.clip(1 - np.abs(distance / (WIDTH + 1)) ** 3, 0, None) ** 3
    s0, s1, s2 = (np.sum(weight * distance**power, 1, keepdims=True) for power in (0, 1, 2))
    spread = np.maximum(s0 * s2 - s1**2, 1e-12)
    of_level, of_slope = weight * (s2 - s1 * distance) / spread, weight * (s0 * distance - s1) / spread
    noise = np.zeros(len(values))
    if len(values) > 2:
        noise[1:-1] = values[1:-1] - (values[:-2] + values[2:]) / 2
        noise[[0, -1]] = noise[[1, -2]]
    return of_level @ values, of_slope @ values, np.sqrt(of_slope**2 @ (2 / 3 * noise**2))
