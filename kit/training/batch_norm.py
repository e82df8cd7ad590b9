"""Re-estimate the statistics of batch normalisation where training takes too few steps for its moving averages.

A layer with momentum m moves its averages by the share m in each step. After n steps they still hold the share
(1 - m)^n of their start, and they trail behind weights that move quickly: a network that has learned may then validate
as if it had not. So before each validation the statistics are averaged over training images with the weights as they
are ("precise batch norm", Wu & Johnson 2021; the same average as `torch.optim.swa_utils.update_bn`).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kit.model import distributed
from kit.model.build import Model
from kit.pixels.batches import Loader
from kit.pixels.sampler import Plan

# An epoch of this many times 1 / momentum steps leaves e^-10 of what the averages held before: 100 steps for 0.1.
SETTLED = 10
IMAGES = 1024  # training images that the statistics are averaged over, over all processes


def moving_layers(network: nn.Module) -> list[_BatchNorm]:
    """Return the layers whose moving averages follow the data; the network must be in training mode."""
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats and layer.momentum != 0
    ]


def is_unsettled(network: nn.Module, steps_per_epoch: int) -> bool:
    """Return whether an epoch is too short for the moving averages of a network in training mode.

    It is with fewer than 10 / momentum steps; always for a layer that averages over all steps (momentum None).
    """
    return any(layer.momentum is None or steps_per_epoch * layer.momentum < SETTLED for layer in moving_layers(network))


def settling_plan(steps: Sequence[Plan]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the first batches of an epoch's plan, of `IMAGES` images or a little more."""
    plan, images = [], 0
    for rows, seeds in (batch for step in steps for batch in step):
        if images >= IMAGES:
            break
        plan.append((rows, seeds))
        images += len(rows)
    return plan


@torch.no_grad()
def settle(
    model: Model,
    loader: Loader,
    plan: Sequence[tuple[np.ndarray, np.ndarray]],
    after_batch: Callable[[int], None] = lambda images: None,
) -> None:
    """Replace the moving averages by the mean over these batches, each weighted by its images.

    Only batch normalisation is in training mode meanwhile: dropout would widen what it sees. Several processes share
    each batch, and all end with the mean of what they have seen.

    Args:
        model: its network is in training mode, and returns to it.
        loader: of the training images, as training sees them.
        plan: batches of (rows, seeds), over all processes.
        after_batch: called with the number of images done; what it raises ends the pass.
    """
    network, layers = model.network, moving_layers(model.network)
    momenta = [layer.momentum for layer in layers]
    network.eval()
    seen = 0
    try:
        for layer in layers:
            layer.train()
        own = [(distributed.shard(rows), distributed.shard(seeds)) for rows, seeds in plan]
        for (rows, _), batch in zip(plan, loader.batches(own), strict=True):
            seen += len(rows)
            for layer in layers:
                layer.momentum = len(rows) / seen
                if layer.num_batches_tracked is not None:
                    layer.num_batches_tracked -= 1  # it counts the steps of training alone
            with model.runtime.autocast():
                # Not the compiled network, which a change of momentum would compile anew.
                network.forward(batch.images, batch.metadata)
            after_batch(len(rows))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        network.train()
    averages = (value for layer in layers for value in (layer.running_mean, layer.running_var))
    distributed.average(value for value in averages if value is not None)
