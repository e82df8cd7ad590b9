"""An exponential moving average of the weights, used in their place for prediction."""

import torch

from kit.model.build import Model


class Ema:
    """A second model whose weights follow those of the first one.

    After step t it takes over the share 1 - d, d = min(decay, (1 + t) / (10 + t)): the average forgets the random
    start quickly, however short the run (as in TensorFlow's ExponentialMovingAverage). Buffers (the statistics of batch
    normalisation) are averaged too, counters are copied.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay, self.model = decay, model.copy()

    @torch.no_grad()
    def update(self, model: Model, step: int) -> None:
        """Follow the model after its step `step`, counted from 1."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        averages, values = [], []
        for follower, leader in ((self.model.network, model.network), (self.model.loss, model.loss)):
            for ours, theirs in zip(follower.state_dict().values(), leader.state_dict().values(), strict=True):
                if ours.is_floating_point():
                    averages.append(ours)
                    values.append(theirs)
                else:
                    ours.copy_(theirs)
        torch._foreach_lerp_(averages, values, share)
