"""Losses on logits that treat each image by itself: cross-entropy and its variants."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kit.plugin.network import Batch, Output
from kit_losses.targets import class_shares, precise


class BinaryCrossEntropy(nn.Module):
    """Mean of -[w y log p + (1 - y) log(1 - p)] over the batch and all outputs, p the sigmoid of the logit.

    Args:
        weight: w, one per output, K; None for 1.
        smoothing: targets become y (1 - smoothing) + smoothing / 2.
        factor: multiplies the whole loss.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, smoothing: float = 0, factor: float = 1) -> None:
        super().__init__()
        # Weights come from the index whenever the loss is built, so they are not part of a checkpoint.
        self.register_buffer("weight", weight, persistent=False)
        self.smoothing, self.factor = smoothing, factor

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Logits BxK and targets BxK in 0..1 -> scalar."""
        logits = precise(output.logits)
        target = batch.target.to(logits.dtype) * (1 - self.smoothing) + self.smoothing / 2
        return self.factor * functional.binary_cross_entropy_with_logits(logits, target, pos_weight=self.weight)


class CrossEntropy(nn.Module):
    """Mean over the batch of -sum_c w_c y_c log p_c, p the softmax of the logits and y the class shares.

    The mean is over images and not over their weights (as in PyTorch for class numbers). So the loss of a large batch
    is the mean over its micro-batches, whatever their classes: accumulated gradients equal those of the large batch.

    Args:
        weight: w, one per class, K; None for 1.
        smoothing: shares become y (1 - smoothing) + smoothing / K (Szegedy et al. 2016).
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, smoothing: float = 0) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.smoothing = smoothing

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Logits BxK and class numbers B or shares BxK -> scalar."""
        logits = precise(output.logits)
        target = class_shares(batch.target, logits)
        return functional.cross_entropy(logits, target, self.weight, label_smoothing=self.smoothing)


class SigmoidFocal(nn.Module):
    """Focal loss (Lin et al. 2017), the mean over the batch and all outputs.

    A positive costs a w (1 - p)^gamma (-log p), a negative (1 - a) p^gamma (-log(1 - p)), p the sigmoid of the logit;
    a soft target costs both, in proportion.

    Args:
        gamma: 0 or more; 0 gives cross-entropy.
        alpha: a in 0..1; None leaves out both a and 1 - a.
        weight: w, one per output, K; None for 1.
        smoothing: targets become y (1 - smoothing) + smoothing / 2.
    """

    weight: Tensor | None

    def __init__(
        self, gamma: float, alpha: float | None = None, weight: Tensor | None = None, smoothing: float = 0
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.gamma, self.alpha, self.smoothing = gamma, alpha, smoothing

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Logits BxK and targets BxK in 0..1 -> scalar."""
        logits = precise(output.logits)
        target = batch.target.to(logits.dtype) * (1 - self.smoothing) + self.smoothing / 2
        log_p, log_rest = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        # Powers as exp(gamma log) are finite, with finite gradients, for every logit and gamma.
        positive = -target * (self.gamma * log_rest).exp() * log_p
        negative = -(1 - target) * (self.gamma * log_p).exp() * log_rest
        if self.alpha is not None:
            positive, negative = self.alpha * positive, (1 - self.alpha) * negative
        if self.weight is not None:
            positive = self.weight * positive
        return (positive + negative).mean()


class SoftmaxFocal(nn.Module):
    """Focal loss for several classes, the mean over the batch of sum_c w_c y_c (1 - p_c)^gamma (-log p_c).

    p is the softmax of the logits, y the class shares; Lin et al. 2017, equation 5, with a weight per class.

    Args:
        gamma: 0 or more; 0 gives cross-entropy.
        weight: w, one per class, K; None for 1.
        smoothing: shares become y (1 - smoothing) + smoothing / K.
    """

    weight: Tensor | None

    def __init__(self, gamma: float, weight: Tensor | None = None, smoothing: float = 0) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.gamma, self.smoothing = gamma, smoothing

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Logits BxK and class numbers B or shares BxK -> scalar."""
        logits = precise(output.logits)
        target = class_shares(batch.target, logits) * (1 - self.smoothing) + self.smoothing / logits.shape[1]
        log_p = logits.log_softmax(1)
        # 0 to a power below 1 would have an infinite gradient.
        rest = (-torch.expm1(log_p)).clamp(min=1e-8)
        costs = -target * rest**self.gamma * log_p
        if self.weight is not None:
            costs = self.weight * costs
        return costs.sum(1).mean()
