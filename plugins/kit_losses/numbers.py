"""Losses on numbers. Predictions and targets reach them scaled: to mean 0 and standard deviation 1, or, with `bounds`,
to 0..1 (`kit.model.targets`)."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from kit.plugin.network import Batch, Output
from kit_losses.targets import precise

# As the logit of a share, so that what a sigmoid has rounded to 0 or 1 stays finite.
EDGE = 1e-6


class NumberLoss(nn.Module):
    """The mean over the batch and all targets of an error.

    Args:
        error: (predictions BxT, targets BxT) -> scalar.
    """

    def __init__(self, error: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.error = error

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Predictions BxT and targets BxT -> scalar."""
        numbers = precise(output.logits)
        return self.error(numbers, batch.target.to(numbers.dtype))


def share_cross_entropy(shares: Tensor, target: Tensor) -> Tensor:
    """Return the mean of -[y log p + (1 - y) log(1 - p)] for shares p and targets y in 0..1, BxT."""
    return functional.binary_cross_entropy_with_logits(shares.logit(EDGE), target)
