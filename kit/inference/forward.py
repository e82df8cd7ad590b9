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
from kit.model.memory import AtOnce
from kit.model.network import Output
from kit.pixels.batches import Batch, Loader
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
    at_once: AtOnce | None = None,
) -> Forward:
    """Run a model over all samples of a loader; average over `views` what `output_of` takes from its output (BxK).

    By default `output_of` takes the probabilities. Without views, the only one is the image itself. Several processes
    share the samples, and each gets the result of all. The network runs in eval mode and returns to its earlier mode
    afterwards. The loss is that of the first view. `after_batch` is called with the number of images done; what it
    raises ends the pass. In eval mode an image's output depends on no other, so where memory is too small for a batch
    the pass goes on with fewer images `at_once`.
    """
    output_of = output_of or model.probabilities
    at_once = at_once or AtOnce()
    was_training = model.network.training
    model.network.eval()
    device = model.runtime.device
    own = distributed.shard(np.arange(len(loader.samples)))
    found, done = torch.empty(0), 0
    loss_sum = torch.zeros((), device=device)

    def passed(batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean over the views, and the loss times images."""
        outputs: list[Tensor] = []
        count, summed = len(batch.rows), torch.zeros((), device=device)
        for some in _groups(views, count, at_once.most):
            images = torch.cat([view(batch.images) for view in some]) if some else batch.images
            with model.runtime.autocast():
                output = model.network(images, batch.metadata.repeat(max(1, len(some)), 1))
                if has_targets and not outputs:
                    summed = model.loss(Output(output.logits[:count], output.embedding[:count]), batch) * count
            outputs.append(output_of(output))
        return torch.cat(outputs).unflatten(0, (-1, count)).mean(0), summed

    try:
        # Views count as images: a pass takes as many in total, however many views there are of each.
        count_views = max(1, len(views))
        plan = ordered_plan(own, max(1, batch_size // count_views))
        for _, (mean, summed) in at_once.each(loader, plan, passed, count_views):
            if not done:
                # On the device, since fetching each batch would wait for it; in one tensor, since many small ones
                # between the large ones of the network would keep the memory from being freed.
                found = torch.empty(len(own), mean.shape[1], device=device)
            found[done : done + len(mean)] = mean
            loss_sum += summed
            done += len(mean)
            after_batch(len(mean))
    finally:
        model.network.train(was_training)
    loss = distributed.all_reduce(loss_sum) / len(loader.samples) if has_targets else float("nan")
    return Forward(distributed.all_gather(found.cpu().numpy()), loader.samples.targets, loss)


def _groups(views: Sequence[View], count: int, most: int | None) -> list[Sequence[View]]:
    """Return the views that pass together: all, or as many as make `most` images of `count`."""
    together = max(1, len(views) if most is None else most // count)
    return [views[at : at + together] for at in range(0, len(views), together)] or [()]


def forward_views(
    model: Model,
    samples: Sequence[tuple[Scale, Samples]],
    config: TrainConfig,
    output_of: Callable[[Output], Tensor] | None = None,
    after_batch: Callable[[int], None] = lambda images: None,
    at_once: AtOnce | None = None,
) -> np.ndarray:
    """Average over all views at all scales what `output_of` takes from a model's output, nxK float64.

    Args:
        model: of one fold.
        samples: the same samples at each scale.
        config: of the run.
        output_of, after_batch, at_once: as in `forward`.
    """
    counts = [max(1, len(scale.views)) for scale, _ in samples]
    total: np.ndarray = np.zeros(())
    at_once = at_once or AtOnce()
    for count, (scale, scaled) in zip(counts, samples, strict=True):
        loader = Loader(scaled, None, config.workers, model.runtime.device, model.normalize)
        found = forward(model, loader, config.batch_size * 2, scale.views, False, output_of, after_batch, at_once)
        total = total + found.probabilities.astype(np.float64) * (count / sum(counts))
    return total
