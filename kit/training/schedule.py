"""The schedule of a run: what each epoch trains, at which size, and the learning rate of each step.

Everything here is a function of the configuration, the step and the history, so a resumed run needs no further state.
"""

import math
from collections.abc import Sequence

from kit.config import TrainConfig

PLATEAU_FACTOR, PLATEAU_PATIENCE, PLATEAU_THRESHOLD, PLATEAU_MIN = 0.5, 5, 1e-4, 1e-8
# The rates are multiplied by this once the body trains too, as in fastai's fine_tune.
AFTER_UNFREEZING = 0.5


def is_frozen(config: TrainConfig, epoch: int) -> bool:
    """Return whether an epoch trains the head alone."""
    return epoch < config.freeze_epochs


def stage_size(config: TrainConfig, epoch: int) -> int:
    """Return the side of the images in an epoch; the sizes of progressive resizing share the epochs equally."""
    if not config.sizes:
        return config.size
    return config.sizes[min(epoch * len(config.sizes) // config.epochs, len(config.sizes) - 1)]


def learning_rate(
    config: TrainConfig, step: int, steps_an_epoch: int, valid_losses: Sequence[float | None] = ()
) -> float:
    """Return the schedule's rate at one step; a schedule runs once while the body is frozen and once more afterwards.

    One-cycle (Smith & Topin 2018, as in `torch.optim.lr_scheduler.OneCycleLR`): a cosine from lr/25 up to lr over
    the first 30 % of the steps, then a cosine down to lr/250,000. Cosine (Loshchilov & Hutter 2017): a linear
    warm-up, then half a cosine to zero. Step: `drops` divisions by ten at equal intervals. Plateau: halved whenever
    the validation loss has not improved for more than five epochs, never below 1e-8. On top of each, `decay` divides
    the rate by 1 + decay * step, counted from the first step of the fold (the `decay` of Keras' optimisers).
    """
    return _scheduled(config, step, steps_an_epoch, valid_losses) / (1 + config.decay * step)


def _scheduled(config: TrainConfig, step: int, steps_an_epoch: int, valid_losses: Sequence[float | None]) -> float:
    frozen_epochs = min(config.freeze_epochs, config.epochs)
    edge = frozen_epochs * steps_an_epoch
    frozen = step < edge
    total = edge if frozen else config.epochs * steps_an_epoch - edge
    peak = config.lr if frozen or not frozen_epochs else config.lr * AFTER_UNFREEZING
    at = step if frozen else step - edge
    if config.schedule == "one_cycle":
        return _one_cycle(peak, at, total)
    if config.schedule == "step":
        return peak * 0.1 ** (at * (config.drops + 1) // max(total, 1))
    if config.schedule == "cosine":
        warm = max(1, round(config.warmup * total)) if config.warmup else 0
        return peak * (at + 1) / warm if at < warm else _cosine(peak, 0.0, (at - warm) / max(total - warm, 1))
    if config.schedule == "plateau":
        return max(peak * PLATEAU_FACTOR ** plateau_drops(valid_losses), PLATEAU_MIN)
    return peak


def plateau_drops(losses: Sequence[float | None]) -> int:
    """Count how often `torch.optim.lr_scheduler.ReduceLROnPlateau` would have reduced the rate after these losses.

    An undefined loss says nothing: it is neither an improvement nor a wait.
    """
    best, waiting, drops = math.inf, 0, 0
    for loss in losses:
        if loss is None:
            continue
        if loss < best * (1 - PLATEAU_THRESHOLD):
            best, waiting = loss, 0
        else:
            waiting += 1
        if waiting > PLATEAU_PATIENCE:
            drops, waiting = drops + 1, 0
    return drops


def out_of_patience(config: TrainConfig, scores: Sequence[float | None], higher_is_better: bool) -> bool:
    """Return whether the metric of the last `patience` epochs never beat the best before them.

    An epoch in which the metric is undefined says nothing, so it does not count.
    """
    sign = 1 if higher_is_better else -1
    signed = [sign * score for score in scores if score is not None]
    if config.patience is None or len(signed) <= config.patience:
        return False
    return max(signed[-config.patience :]) <= max(signed[: -config.patience])


def _one_cycle(peak: float, step: int, total: int) -> float:
    low, end = peak / 25, peak / 25e4
    top = 0.3 * total - 1
    if step <= top:
        return _cosine(low, peak, step / top if top > 0 else 1.0)
    return _cosine(peak, end, (step - top) / max(total - 1 - top, 1e-9))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(share, 1.0)))
