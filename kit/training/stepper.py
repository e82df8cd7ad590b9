"""The part of a step that several processes do together: the loss of a batch, and gradients that all of them share."""

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kit.model import distributed
from kit.model.build import Model
from kit.pixels.batches import Batch


class _Loss(nn.Module):
    """Network and loss as one module, since a loss may have weights of its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network, self.loss = model.network, model.loss

    def forward(self, batch: Batch) -> Tensor:
        """The mean loss of a batch."""
        loss: Tensor = self.loss(self.network(batch.images, batch.extras), batch)
        return loss


class Stepper:
    """Calls network and loss; among several processes backward leaves the mean of their gradients in each of them."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @classmethod
    def of(cls, model: Model) -> "Stepper":
        """To be made anew when other weights are frozen: what is averaged is settled here."""
        module = _Loss(model)
        if distributed.world_size() == 1:
            return cls(module)
        # A margin loss has a classifier of its own and leaves the network's without a gradient.
        unused = any(True for _ in model.loss.parameters())
        return cls(DistributedDataParallel(module, find_unused_parameters=unused))

    def __call__(self, batch: Batch) -> Tensor:
        """The mean loss of a batch."""
        loss: Tensor = self.module(batch)
        return loss

    def accumulating(self, more: bool) -> AbstractContextManager[object]:
        """Where more batches of the same step follow, gradients are averaged only with the last of them."""
        if more and isinstance(self.module, DistributedDataParallel):
            return self.module.no_sync()
        return nullcontext()
