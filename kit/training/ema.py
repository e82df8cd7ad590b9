"""An exponential moving average of the weights, used in their place for prediction."""

import torch
from torch import Tensor, nn

from kit.model.build import Model


class Ema:
    """A second model whose weights follow those of the first one.

    After step t it takes over the share 1 - d, d = min(decay, (1 + t) / (10 + t)): the average forgets the random
    start quickly, however short the run (as in TensorFlow's ExponentialMovingAverage). Buffers (the statistics of batch
    normalisation) are averaged too, counters are copied.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay, self.model = decay, model.copy()
        # Listing a network's modules takes as long as its step on a fast GPU, so it is done once.
        self._pairs = [
            pair
            for follower, leader in ((self.model.network, model.network), (self.model.loss, model.loss))
            for pair in zip(follower.modules(), leader.modules(), strict=True)
        ]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the model after its step `step`, counted from 1."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        averages, values, counters, counts = [], [], [], []
        # Once each: weights that two layers share are averaged once.
        for ours, theirs in {
            id(ours): (ours, theirs)
            for follower, leader in self._pairs
            for ours, theirs in zip(_state(follower), _state(leader), strict=True)
        }.values():
            if ours.is_floating_point():
                averages.append(ours)
                values.append(theirs)
            else:
                counters.append(ours)
                counts.append(theirs)
        torch._foreach_lerp_(averages, values, share)
        if counters:
            torch._foreach_copy_(counters, counts)


def _state(module: nn.Module) -> list[Tensor]:
    """Return the tensors that a module itself has in its network's state."""
    own = [value for value in module._parameters.values() if value is not None]
    kept = [value for name, value in module._buffers.items() if name not in module._non_persistent_buffers_set]
    return [*own, *(value for value in kept if value is not None)]
