"""Forward passes without gradients: validation, evaluation and prediction go through this one function."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kit.model.batches import Loader, ordered_plan
from kit.model.build import Model


@dataclass(frozen=True)
class Forward:
    """Probabilities nxK, targets as the index gives them, and the mean loss a sample (NaN without targets)."""

    probabilities: np.ndarray
    targets: np.ndarray
    loss: float


def view(images: Tensor, number: int) -> Tensor:
    """One of the eight flips and right-angle rotations of BxCxHxW images; 0 is the image itself.

    1, 2, 3 are the flips, so that two views mirror left-right and four need no transposition.
    """
    if number & 1:
        images = images.flip(3)
    if number & 2:
        images = images.flip(2)
    return images.transpose(2, 3) if number & 4 else images


@torch.inference_mode()
def forward(
    model: Model,
    loader: Loader,
    batch_size: int,
    views: int = 1,
    has_targets: bool = True,
    after_batch: Callable[[int], None] = lambda images: None,
) -> Forward:
    """Run a model over all samples of a loader, averaging the probabilities of `views` views.

    The network is in eval mode inside and in its earlier mode again afterwards. The loss is that of the first view.
    `after_batch` is called with the number of images done; what it raises ends the pass.
    """
    was_training = model.network.training
    model.network.eval()
    probabilities, count = [], len(loader.samples)
    loss_sum = torch.zeros((), device=model.runtime.device)
    try:
        for batch in loader.batches(ordered_plan(count, batch_size)):
            total = torch.zeros(())
            for number in range(views):
                with model.runtime.autocast():
                    output = model.network(view(batch.images, number), batch.extras)
                    if number == 0 and has_targets:
                        loss_sum += model.loss(output, batch) * len(batch.rows)
                share = model.probabilities(output)
                total = share if number == 0 else total + share
            probabilities.append((total / views).cpu().numpy())
            after_batch(len(batch.rows))
    finally:
        model.network.train(was_training)
    loss = float(loss_sum) / count if has_targets else float("nan")
    return Forward(np.concatenate(probabilities), loader.samples.targets, loss)
