"""Forward passes without gradients: validation, evaluation and prediction go through this one function."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kit.model import processes
from kit.model.batches import Loader, ordered_plan
from kit.model.build import Model
from kit.model.network import Output


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
    give: Callable[[Output], Tensor] | None = None,
    after_batch: Callable[[int], None] = lambda images: None,
) -> Forward:
    """Run a model over all samples of a loader, averaging over `views` views what `give` takes of its output: BxK
    probabilities by default.

    Several processes share the samples, and each gets the result of all. The network is in eval mode inside and in its
    earlier mode again afterwards. The loss is that of the first view. `after_batch` is called with the number of images
    done; what it raises ends the pass.
    """
    give = give or model.probabilities
    was_training = model.network.training
    model.network.eval()
    device = model.runtime.device
    own = processes.share(np.arange(len(loader.samples)))
    found, done = torch.empty(0), 0
    loss_sum = torch.zeros((), device=device)
    try:
        # The views of an image are images like others: a pass takes as many in all, however many views there are.
        for batch in loader.batches(ordered_plan(own, max(1, batch_size // views))):
            count = len(batch.rows)
            images = torch.cat([view(batch.images, number) for number in range(views)]) if views > 1 else batch.images
            with model.runtime.autocast():
                output = model.network(images, batch.extras.repeat(views, 1))
                if has_targets:
                    first = Output(output.logits[:count], output.embedding[:count])
                    loss_sum += model.loss(first, batch) * count
            share = give(output).unflatten(0, (views, count)).mean(0)
            if not done:
                # On the device, since fetching each batch would wait for it; in one piece, since many small ones
                # between the large ones of the network would keep the memory from being given back.
                found = torch.empty(len(own), share.shape[1], device=device)
            found[done : done + count] = share
            done += count
            after_batch(count)
    finally:
        model.network.train(was_training)
    loss = processes.total(loss_sum) / len(loader.samples) if has_targets else float("nan")
    return Forward(processes.gathered(found.cpu().numpy()), loader.samples.targets, loss)
