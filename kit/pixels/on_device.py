"""Batches on the training device, with as little work of the host as can be.

What the batches of a whole block are made of (rows, and what was drawn for each image) is drawn at once and copied
once; targets, metadata and statistics lie on the device. Its pixels lie there too (`kit.pixels.resident`), or are
copied from pinned memory, one batch ahead, on a stream of their own. Nothing here waits for the device's work.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kit.data.images import stored_side
from kit.pixels.packed import Packed
from kit.pixels.resident import held
from kit.pixels.sampler import Plan
from kit.pixels.samples import Samples
from kit.pixels.warp import DeviceAugment, Steps, gather, steps_of

BLOCK = 8192  # images whose plan is drawn and copied at once
SLOTS = 3  # batches of bytes on their way: one that is read, one that is copied, one that is gathered
# Per batch an array of stored images NxHxWxC, and where in it the batch's images lie.
Stored = Iterator[tuple[np.ndarray, np.ndarray]]


class Planned(NamedTuple):
    """What a batch, or a block of batches, is made of, on the device; None: it has no such part."""

    places: Tensor
    target: Tensor
    metadata: Tensor
    mean: Tensor | None
    std: Tensor | None
    steps: Tensor | None

    def part(self, start: int, end: int) -> "Planned":
        """Return the images from `start` to `end`."""
        return Planned._make(each if each is None else each[start:end] for each in self)


class OnDevice:
    """Makes the batches of a plan on a device.

    Args:
        samples: what to read.
        pack: the pack of the samples that batches are made of; None: they come from files, one by one.
        steps: the steps to apply; None: none.
        device: where the batches go.
        normalize: `kit.pixels.batches.Normalize`.
    """

    def __init__(
        self,
        samples: Samples,
        pack: Packed | None,
        steps: Steps | None,
        device: torch.device,
        normalize: nn.Module,
    ) -> None:
        self.samples, self.steps, self.device, self.normalize = samples, steps, device, normalize
        self.side = stored_side(samples.size, samples.crop) if pack is None else pack.size
        # What is mixed of two packs is put together by the host.
        self.pack = None if (samples.places < 0).any() else pack
        self.augment = DeviceAugment(steps, samples.size, samples.crop, samples.dataset.channels)
        statistics = samples.statistics
        whole = (samples.places, samples.targets, samples.metadata)
        own = (None, None) if statistics is None else (statistics.mean, statistics.std)
        self._whole = [each if each is None else torch.tensor(each, device=device) for each in (*whole, *own)]
        copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._plans = [(Slot(device, copies), Slot(device, copies)) for _ in range(2)]
        self._new_slots = lambda: [Slot(device, copies) for _ in range(SLOTS)]
        self._idle: list[list[Slot]] = []  # what no iterator uses now

    def batches(self, plan: Plan, stored: Stored) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield images, target, metadata and rows of each batch; `stored` is read only if pixels must be copied."""
        pixels = held(self.pack, self.device)
        slots = self._idle.pop() if self._idle else self._new_slots()
        ahead = None
        try:
            for number, (rows, planned) in enumerate(self._planned(plan)):
                slot = None
                if pixels is None:
                    slot = slots[number % SLOTS]
                    slot.send(*next(stored))
                if ahead is not None:
                    yield self._made(*ahead, pixels)
                ahead = rows, planned, slot
            if ahead is not None:
                yield self._made(*ahead, pixels)
        finally:
            # Not before: the batch ahead of one iterator must not be overwritten by another's.
            self._idle.append(slots)

    def _made(
        self, rows: np.ndarray, planned: Planned, slot: "Slot | None", pixels: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if pixels is not None:
            images = self.augment(pixels.index_select(0, planned.places), planned.steps)
        elif slot is not None:
            images = self.augment(slot.take(), planned.steps)
            slot.done()
        own = () if planned.mean is None else (planned.mean, planned.std)
        return self.normalize(images, *own), planned.target, planned.metadata, torch.from_numpy(rows)

    def _planned(self, plan: Plan) -> Iterator[tuple[np.ndarray, Planned]]:
        """Yield the rows of each batch, and what it is made of: drawn and copied for a block of batches at once."""
        for number, block in enumerate(_blocks(plan)):
            whole, start = self._sent(block, self._plans[number % 2]), 0
            for rows, _ in block:
                yield rows, whole.part(start, start + len(rows))
                start += len(rows)

    def _sent(self, block: Plan, slots: "tuple[Slot, Slot]") -> Planned:
        rows, seeds = (np.concatenate(each) for each in zip(*block, strict=True))
        samples, source = self.samples, (self.side, self.side, self.samples.dataset.channels)
        steps = steps_of(self.steps, seeds, len(rows), samples.crop, source, samples.size)
        number, drawn = slots[0].sent(rows), None if steps is None else slots[1].sent(steps.packed())
        columns = [each if each is None else each.index_select(0, number) for each in self._whole]
        return Planned._make([*columns, drawn])


class Slot:
    """Memory on the host (pinned) and on the device for one array on its way, used again and again."""

    def __init__(self, device: torch.device, copies: "torch.cuda.Stream | None") -> None:
        self.device, self.copies = device, copies
        self.host, self.there = torch.empty(0), torch.empty(0)
        self.count = 0
        self.copied = None if copies is None else torch.cuda.Event()
        self.read = None if copies is None else torch.cuda.Event()

    def send(self, values: np.ndarray, places: np.ndarray | None = None) -> None:
        """Start to copy an array, or these rows of it; it has the type and the shape, but for its length, of others."""
        if self.copied is not None:
            self.copied.synchronize()  # of the host's memory: that copy was started several batches ago
        self.count = len(values) if places is None else len(places)
        kind = torch.from_numpy(np.empty((0, *values.shape[1:]), values.dtype))
        if self.host.shape[1:] != kind.shape[1:] or self.host.dtype != kind.dtype or len(self.host) < self.count:
            shape = (self.count, *kind.shape[1:])
            self.host = torch.empty(shape, dtype=kind.dtype, pin_memory=self.copies is not None)
            self.there = torch.empty(shape, dtype=kind.dtype, device=self.device)
            self.done()  # this memory may have been another's until now
            if self.copies is not None:
                self.there.record_stream(self.copies)  # nor may it be another's while a copy is under way
        host = self.host[: self.count].numpy()
        if places is None:
            host[...] = values
        else:
            gather(values, places, host)
        with torch.cuda.stream(self.copies):
            if self.copies is not None and self.read is not None:
                self.copies.wait_event(self.read)
            self.there[: self.count].copy_(self.host[: self.count], non_blocking=True)
            if self.copied is not None:
                self.copied.record()

    def sent(self, values: np.ndarray) -> Tensor:
        """Copy a small array into new memory of the device."""
        self.send(values)
        result = self.take().clone()
        self.done()
        return result

    def take(self) -> Tensor:
        """Return the array on the device, for what is computed there from now on until `done`."""
        if self.copied is not None:
            torch.cuda.current_stream(self.device).wait_event(self.copied)
        return self.there[: self.count]

    def done(self) -> None:
        """Let the memory be written again, once the device has done what was asked of it so far."""
        if self.read is not None:
            self.read.record(torch.cuda.current_stream(self.device))


def _blocks(plan: Plan) -> Iterator[Plan]:
    """Yield a plan in blocks of about `BLOCK` images, of at least one batch each."""
    block: list[tuple[np.ndarray, np.ndarray]] = []
    images = 0
    for rows, seeds in plan:
        if block and images + len(rows) > BLOCK:
            yield block
            block, images = [], 0
        block.append((rows, seeds))
        images += len(rows)
    if block:
        yield block
