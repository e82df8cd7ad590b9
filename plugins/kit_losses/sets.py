"""Losses that score each class over the whole batch, as F1 and the Jaccard index do: every class counts equally."""

import torch
from torch import Tensor, nn

from kit.plugin.network import Batch, Output
from kit_losses.targets import class_shares, precise


class SoftF1(nn.Module):
    """1 - macro F1 of the batch, with probabilities p for predicted classes: F1 = 2 sum(p y) / sum(p + y) per class.

    For probabilities of 0 and 1 it is exactly 1 - F1; a class without a positive in the batch has F1 = 0.

    Args:
        softmax: probabilities are the softmax of the logits (multiclass), not their sigmoid.
    """

    def __init__(self, softmax: bool) -> None:
        super().__init__()
        self.softmax = softmax

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Logits BxK and targets BxK in 0..1, or class numbers B -> scalar."""
        logits = precise(output.logits)
        p = logits.softmax(1) if self.softmax else logits.sigmoid()
        target = class_shares(batch.target, logits)
        total = (p + target).sum(0).clamp(min=torch.finfo(p.dtype).tiny)
        return 1 - (2 * (p * target).sum(0) / total).mean()


class Lovasz(nn.Module):
    """The Lovasz hinge (Berman et al. 2018) of each class over the images of the batch, averaged over classes.

    Per class, not per image, and for the class and its absence alike (the mean of both), as the winners of the
    protein competition did: macro F1 is a mean over classes too, and a class without an image in the batch would
    otherwise learn from its worst image alone.
    """

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Logits BxK and targets BxK in 0..1 -> scalar."""
        logits = precise(output.logits)
        target = batch.target.to(logits.dtype)
        return (lovasz_hinge(logits, target) + lovasz_hinge(-logits, 1 - target)).mean() / 2


def lovasz_hinge(logits: Tensor, target: Tensor) -> Tensor:
    """Return the Lovasz extension of each column's Jaccard loss at its hinge errors.

    Hinge errors are 1 - f for positives and 1 + f for negatives. A soft target y counts as a positive of mass y and a
    negative of mass 1 - y.

    Args:
        logits: f, BxK.
        target: BxK in 0..1.

    Returns:
        One loss per column, K.
    """
    nothing = torch.zeros_like(target)
    errors, order = torch.cat([1 - logits, 1 + logits]).sort(dim=0, descending=True, stable=True)
    positive = torch.cat([target, nothing]).gather(0, order)
    negative = torch.cat([nothing, 1 - target]).gather(0, order)
    # The Jaccard loss if the 1, 2, ... largest errors are mistakes: their positives missed, their negatives predicted.
    union = target.sum(0) + negative.cumsum(0)
    jaccard = torch.where(union > 0, 1 - (target.sum(0) - positive.cumsum(0)) / union, 0)
    steps = torch.diff(jaccard, dim=0, prepend=torch.zeros_like(jaccard[:1]))
    return (errors.relu() * steps).sum(0)
