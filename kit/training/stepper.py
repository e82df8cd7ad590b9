"""One optimisation step, shared by training, `kit lr-find` and `kit bench`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kit.config import TrainConfig
from kit.model import distributed
from kit.model.build import Model, compiled
from kit.model.checkpoint import settings_of
from kit.model.losses import loss_of
from kit.model.network import Output
from kit.pixels.batches import Batch
from kit.training.graphs import Graphs, why_no_graphs
from kit.training.mix import mix
from kit.training.optim import make_optimizer


class Stepper:
    """Forward, backward, clip and update, including mixing, mixed precision and several processes.

    `loss_sum` is the sum of loss times images of this process, over all steps since it was last reset. It is on the
    device: reading it waits for the device.

    Args:
        config: configuration of the run.
        model: the model that learns; its loss may have weights of its own.
        classes: number of classes C, for mixed targets.
    """

    def __init__(self, config: TrainConfig, model: Model, classes: int) -> None:
        self.config, self.model, self.classes = config, model, classes
        self.optimizer = make_optimizer(config, model.network, model.loss)
        self.settings = settings_of(self.optimizer)  # as they begin: a checkpoint has what becomes of them
        self.scaler = model.runtime.scaler()
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=model.runtime.device)
        self.learning: list[nn.Parameter] = [*model.network.parameters(), *model.loss.parameters()]
        # Compiled for steps alone: validating with it would compile it again for each size, mode and set of frozen
        # weights, and torch gives up after eight times.
        self._network = compiled(model.network, model.runtime.device) if config.compile else model.network
        graphed = config.graphs and not why_no_graphs(model.runtime.device)
        self._graphs = Graphs(self._network, model.runtime) if graphed else None
        self.prepare()

    def prepare(self) -> None:
        """Set which gradients are computed and averaged over the processes; call it again when others are frozen."""
        if self._graphs is not None:
            self._graphs.forget()
        self._module: nn.Module = _Loss(self._graphs or self._network, self.model.loss)
        if distributed.world_size() > 1:
            # A margin loss has its own classifier and leaves the network's without a gradient.
            unused = any(True for _ in self.model.loss.parameters())
            self._module = DistributedDataParallel(self._module, find_unused_parameters=unused)

    def step(self, batches: Iterator[Batch], count: int, images: int, rate: float) -> Tensor:
        """Take one step.

        Args:
            batches: yields the step's batches, each valid until the next one is requested.
            count: number of batches in the step.
            images: number of images in all of them, over all processes.
            rate: the schedule's learning rate; each group of parameters takes its share of it.

        Returns:
            The sum of loss times images of this process, a scalar on the device.
        """
        total = self.gradients(batches, count, images)
        self.update(rate)
        return total

    def gradients(self, batches: Iterator[Batch], count: int, images: int) -> Tensor:
        """Compute the gradients of a step; where that fails, this half can be done again, from the first batch."""
        total = torch.zeros_like(self.loss_sum)
        for number in range(count):
            batch = next(batches)
            if number == 0:
                self.optimizer.zero_grad(set_to_none=True)
            with self._accumulating(number + 1 < count):
                loss = self.loss(batch) * (len(batch.rows) / images)
                # The gradients of several processes are averaged; their shares of the loss add up.
                self.scaler.scale(loss * distributed.world_size()).backward()
            total += loss.detach().double() * images
        self.loss_sum += total
        return total

    def forget(self) -> None:
        """Free the gradients of a step that failed, and what was captured of it."""
        self.optimizer.zero_grad(set_to_none=True)
        if self._graphs is not None:
            self._graphs.forget()

    def update(self, rate: float) -> None:
        """Clip the gradients and move the weights; where that fails, some may have moved."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        if self.config.clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.learning, self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of a batch, mixed as configured; mixing and dropout draw from torch's generator."""
        batch = mix(self.config, batch, self.classes)
        with self.model.runtime.autocast():
            loss: Tensor = self._module(batch)
        return loss

    def _accumulating(self, more: bool) -> AbstractContextManager[object]:
        """Average gradients over the processes only at the last batch of a step."""
        if more and isinstance(self._module, DistributedDataParallel):
            return self._module.no_sync()
        return nullcontext()


class _Loss(nn.Module):
    """Network and loss as one module, since a loss may have weights of its own."""

    def __init__(self, network: Callable[[Tensor, Tensor], Output], loss: nn.Module) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, batch: Batch) -> Tensor:
        """Return the mean loss of a batch."""
        return loss_of(self.loss, self.network(batch.images, batch.metadata), batch)
