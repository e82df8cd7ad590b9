"""Forward passes without gradients: validation, evaluation and prediction all use this one function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kit.config import TrainConfig
from kit.inference.tta import Scale, View
from kit.model import distributed
from kit.model.build import Model
from kit.model.network import Output
from kit.pixels.batches import Loader
from kit.pixels.sampler import ordered_plan
from kit.pixels.samples import Samples


@dataclass(frozen=True)
class Forward:
    """Probabilities nxK, targets as the index gives them, and the mean loss per sample (NaN without targets)."""

    probabilities: np.ndarray
    targets: np.ndarray
    loss: float


@torch.inference_mode()
def forward(
    model: Model,
    loader: Loader,
    batch_size: int,
    views: Sequence[View] = (),
    has_targets: bool = True,
    output_of: Callable[[Output], Tensor] | None = None,
    after_batch: Callable[[int], None] = lambda images: None,
) -> Forward:
    """Run a model over all samples of a loader; average over `views` what `output_of` takes from its output (BxK).

    By default `output_of` takes the probabilities. Without views, the only one is the image itself. Several processes
    share the samples, and each gets the result of all. The network runs in eval mode and returns to its earlier mode
    afterwards. The loss is that of the first view. `after_batch` is called with the number of images done; what it
    raises ends the pass.
    """
    output_of = output_of or model.probabilities
    was_training = model.network.training
    model.network.eval()
    device = model.runtime.device
    count_views = max(1, len(views))
    own = distributed.shard(np.arange(len(loader.samples)))
    found, done = torch.empty(0), 0
    loss_sum = torch.zeros((), device=device)
    try:
        # Views count as images: a pass takes as many in total, however many views there are of each.
        for batch in loader.batches(ordered_plan(own, max(1, batch_size // count_views))):
            count = len(batch.rows)
            images = torch.cat([view(batch.images) for view in views]) if views else batch.images
            with model.runtime.autocast():
                output = model.network(images, batch.metadata.repeat(count_views, 1))
                if has_targets:
                    first = Output(output.logits[:count], output.embedding[:count])
                    loss_sum += model.loss(first, batch) * count
            mean = output_of(output).unflatten(0, (count_views, count)).mean(0)
            if not done:
                # On the device, since fetching each batch would wait for it; in one tensor, since many small ones
                # between the large ones of the network would keep the memory from being freed.
                found = torch.empty(len(own), mean.shape[1], device=device)
            found[done : done + count] = mean
            done += count
            after_batch(count)
    finally:
        model.network.train(was_training)
    loss = distributed.all_reduce(loss_sum) / len(loader.samples) if has_targets else float("nan")
    return Forward(distributed.all_gather(found.cpu().numpy()), loader.samples.targets, loss)


def forward_views(
    model: Model,
    samples: Sequence[tuple[Scale, Samples]],
    config: TrainConfig,
    output_of: Callable[[Output], Tensor] | None = None,
    after_batch: Callable[[int], None] = lambda images: None,
) -> np.ndarray:
    """Average over all views at all scales what `output_of` takes from a model's output, nxK float64.

    Args:
        model: of one fold.
        samples: the same samples at each scale.
        config: of the run.
        output_of, after_batch: as in `forward`.
    """
    counts = [max(1, len(scale.views)) for scale, _ in samples]
    total: np.ndarray = np.zeros(())
    for count, (scale, scaled) in zip(counts, samples, strict=True):
        loader = Loader(scaled, None, config.workers, model.runtime.device, model.normalize)
        found = forward(model, loader, config.batch_size * 2, scale.views, False, output_of, after_batch)
        total = total + found.probabilities.astype(np.float64) * (count / sum(counts))
    return total
