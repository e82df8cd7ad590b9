"""Numbers as a network predicts them: scaled for the loss, in their own unit for everybody else."""

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from kit.config import TrainConfig
from kit.data.index import Index
from kit.errors import KitError
from kit.model.losses import loss_of, predicting_logits
from kit.model.network import Output
from kit.pixels.batches import Batch

# What is said of classes, and what it is where nothing is said.
OF_CLASSES = {"class_weights": "none", "label_smoothing": 0, "sampler": "uniform", "two_units": False}
EDGE = 0.01  # a mean target nearer to a bound starts here: beyond, a sigmoid hardly learns


def check_targets(config: TrainConfig, index: Index) -> None:
    """Raise `KitError` for settings that make no sense for the task, or targets outside `bounds`."""
    if index.task.has_classes:
        if config.bounds is not None:
            raise KitError(f"bounds are for numbers, and this task is {index.task}: --set bounds=none")
        return
    for name, none in OF_CLASSES.items():
        if getattr(config, name) != none:
            raise KitError(
                f"{name} is for classes, and a {index.task} predicts numbers: --set {name}={str(none).lower()}"
            )
    if config.bounds is None:
        return
    frame, (low, high) = index.labelled, config.bounds
    targets = index.targets(frame)
    outside = (targets < low) | (targets > high)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise KitError(
            f"{index.classes[column]} of {frame['id'].iat[row]} is {targets[row, column]:g}, outside the bounds "
            f"{low:g}..{high:g} ({outside.any(1).sum()} such rows): give wider --set bounds=LOW..HIGH, or correct the "
            "csv"
        )


class ScaledTargets(nn.Module):
    """A loss that sees targets and predictions scaled; `logits` gives the predictions in the targets' unit.

    A target becomes (target - centre) / scale, T numbers each: by the mean and the standard deviation of the training
    targets, or with bounds by the lower one and their distance. With bounds, the sigmoid of the network's logits is
    what the loss and everybody else gets, and a network that knows nothing yet predicts the mean target.

    Args:
        loss: the loss of the configuration, whoever wrote it.
        centre, scale: T.
        bounded: whether to apply the sigmoid.
        start: T, added to the logits before the sigmoid; None for 0.
    """

    centre: Tensor
    scale: Tensor
    start: Tensor

    def __init__(
        self, loss: nn.Module, centre: Tensor, scale: Tensor, bounded: bool, start: Tensor | None = None
    ) -> None:
        super().__init__()
        self.loss, self.bounded = loss, bounded
        # In a checkpoint: what a network has learned is in these units, whatever is added to the data later.
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        if bounded:
            self.register_buffer("start", torch.zeros_like(scale) if start is None else start)

    @classmethod
    def of(cls, loss: nn.Module, config: TrainConfig, index: Index) -> Self:
        """Wrap a loss for the training targets of an index, external ones included."""
        targets = index.targets(index.labelled.drop_duplicates("id")).astype(np.float64)
        if config.bounds is not None:
            low, high = config.bounds
            whole = torch.ones(index.outputs)
            place = torch.tensor((targets.mean(0) - low) / (high - low)).float()
            return cls(loss, low * whole, (high - low) * whole, bounded=True, start=place.logit(EDGE))
        spread = targets.std(0)
        scale = np.where(spread > 0, spread, 1)
        return cls(loss, torch.tensor(targets.mean(0)).float(), torch.tensor(scale).float(), bounded=False)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Return the loss of the scaled targets, a scalar."""
        target = (batch.target.float() - self.centre) / self.scale
        return loss_of(self.loss, self._squeezed(output), batch._replace(target=target))

    def logits(self, output: Output) -> Tensor:
        """Return the predictions BxT in the targets' own unit."""
        return predicting_logits(self.loss, self._squeezed(output)).float() * self.scale + self.centre

    def _squeezed(self, output: Output) -> Output:
        return output._replace(logits=(output.logits.float() + self.start).sigmoid()) if self.bounded else output
