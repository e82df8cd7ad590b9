"""Losses on logits."""

from torch import Tensor, nn
from torch.nn import functional

from kit.model.batches import Batch
from kit.model.network import Output


class BinaryCrossEntropy(nn.Module):
    """Mean of -[y log p + (1 - y) log(1 - p)], p the sigmoid of the logit, over the batch and all outputs."""

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Logits BxK and targets BxK of 0 and 1 -> scalar."""
        return functional.binary_cross_entropy_with_logits(output.logits.float(), batch.target)


class CrossEntropy(nn.Module):
    """Mean of -log softmax(logits)[target] over the batch."""

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Logits BxK and class numbers B -> scalar."""
        return functional.cross_entropy(output.logits.float(), batch.target)
