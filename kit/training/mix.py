"""Mixup and CutMix: blend two images of a batch into one, and their targets in the same shares."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from kit.config import TrainConfig
from kit.pixels.batches import Batch


def mix(config: TrainConfig, batch: Batch, classes: int) -> Batch:
    """Mix each image of a batch with the one before it, by the configured method; without one, return it unchanged.

    The order of a batch is random already, and another one would have to be copied to the device.

    Mixup (Zhang et al. 2018) adds images in the shares p and 1 - p, p drawn from Beta(alpha, alpha). CutMix (Yun et
    al. 2019) pastes a box with the share 1 - p of the area. With both configured, each batch uses one at random.
    The targets become float shares: BxK (multiclass class numbers as one-hot rows).
    """
    methods = [method for method, alpha in ((mixup, config.mixup), (cutmix, config.cutmix)) if alpha > 0]
    if not methods:
        return batch
    method = methods[int(torch.randint(len(methods), ()))]
    alpha = torch.tensor(config.mixup if method is mixup else config.cutmix)
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    target = batch.target if batch.target.is_floating_point() else functional.one_hot(batch.target, classes).float()
    images, share = method(batch.images, batch.images.roll(1, 0), share)
    target, metadata = (each * share + each.roll(1, 0) * (1 - share) for each in (target, batch.metadata))
    return Batch(images, target, metadata, batch.rows)


def mixup(images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
    """Return `share` of the images plus the rest of the others, and that share."""
    return images * share + others * (1 - share), share


def cutmix(images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
    """Return the images with a box of the others at a random place, and the share of the area that was kept."""
    height, width = images.shape[2:]
    side = math.sqrt(1 - share)
    y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
    half_height, half_width = round(height * side / 2), round(width * side / 2)
    top, bottom = max(y - half_height, 0), min(y + half_height, height)
    left, right = max(x - half_width, 0), min(x + half_width, width)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
