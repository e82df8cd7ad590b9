"""Take the steps of an epoch, each with its batches; where memory runs out, from the step's start in smaller parts."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kit.errors import too_little_memory
from kit.model import distributed
from kit.model.memory import Kept, free_unused
from kit.pixels import resident
from kit.pixels.batches import Batch, Loader
from kit.training.job import FoldJob
from kit.training.parts import failed_update
from kit.training.stepper import Stepper


class Steps:
    """The steps of one epoch, each with its batches, and in how many parts they have to be taken.

    Args:
        job: the fold's training; its `parts` are doubled where memory runs out.
        stepper: takes the steps.
        loader: of the training images.
        epoch: its number, from 0.
    """

    def __init__(self, job: FoldJob, stepper: Stepper, loader: Loader, epoch: int) -> None:
        self.job, self.stepper, self.loader = job, stepper, loader
        self.seed = (job.config.seed, job.fold, epoch)
        self.plan = job.plan(self.seed)
        self._seeds = np.random.SeedSequence(self.seed).generate_state(len(self.plan))
        self._batches: Iterator[Batch] | None = None  # from the step to take onwards
        self._full = ""  # why the last attempt failed
        # What a failed attempt has moved: the statistics of batch norm.
        self._kept = Kept([*job.model.network.buffers(), *job.model.loss.buffers()])

    def images(self, number: int) -> int:
        """Return the number of images of a step, over all processes."""
        return sum(len(rows) for rows, _ in self.plan[number])

    def take(self, number: int, rate: float) -> Tensor:
        """Take a step, from its start again in more parts while memory is too small; steps are taken in their order.

        Args:
            number: of the step in the epoch.
            rate: the learning rate.

        Returns:
            As `Stepper.step`.

        Raises:
            KitError: memory is too small for two images at once or for the update of the weights, or in one process of
                several, which can't change alone how it goes on.
        """
        self._kept.keep()
        while (total := self._gradients(number)) is None:
            self._make_room(number)
        self.job.parts.note(self.job.config)
        try:
            self.stepper.update(rate)
        except Exception as error:
            if full := too_little_memory(error):
                raise failed_update(self.job.config, full) from None
            raise
        return total

    def _gradients(self, number: int) -> Tensor | None:
        """Compute the gradients of a step; return its loss, or None if memory is too small."""
        # A step's randomness depends on (seed, fold, epoch, step) alone.
        torch.manual_seed(int(self._seeds[number]) + distributed.rank())
        if self._batches is None:
            shard = distributed.shard
            own = [(shard(rows), shard(seeds)) for step in self.plan[number:] for rows, seeds in step]
            self._batches = self.loader.batches(own)
        try:
            return self.stepper.gradients(self._batches, len(self.plan[number]), self.images(number))
        except Exception as error:
            self._full = too_little_memory(error)
            if not self._full:
                raise
        return None

    def _make_room(self, number: int) -> None:
        """Undo a failed attempt; take packed pixels from the GPU, or divide the batches from this step on."""
        self._batches = None
        self.stepper.forget()
        self._kept.restore()
        # The attempt of one process of several can't be repeated: the others wait for it in their backward pass.
        config, parts, alone = self.job.config, self.job.parts, distributed.world_size() == 1
        freed = alone and config.pixels == "auto" and resident.release(self.job.model.runtime.device)
        free_unused()
        if freed:
            return
        most = self._most(number)
        while self._most(number) == most:
            parts.double(config, self._full, len(distributed.shard(np.arange(most))))
            self.plan = self.job.plan(self.seed)
        if not alone:
            raise parts.in_one_process(config)

    def _most(self, number: int) -> int:
        """Return the number of images in the largest batch of a step."""
        return max(len(rows) for rows, _ in self.plan[number])
