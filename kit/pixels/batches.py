"""The network's input: the one path from files or packed pixels to normalised batches on the device."""

import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kit.data.verify import room_for_workers
from kit.errors import DISK, KitError
from kit.pixels.on_device import OnDevice, Stored
from kit.pixels.sampler import Plan
from kit.pixels.samples import Samples
from kit.pixels.warp import Steps, steps_of, warp_normalized

# The steps of a run, or the user's own function (image, seed) -> image.
Augment = Steps | Callable[[np.ndarray, int], np.ndarray]


class Batch(NamedTuple):
    """Images (normalised float32 BxCxHxW), targets and metadata BxE on the device, and the rows they come from."""

    images: Tensor
    target: Tensor
    metadata: Tensor
    rows: Tensor


class Loader:
    """Load the batches of a plan, ready for the network. A batch is valid until the next one is requested.

    Packed pixels are gathered in this process, in the order of the plan. Images that must be read from files, or pass
    through the user's own pipeline, come from worker processes, which live as long as the loader. On the CPU, the
    configuration's steps, enlargement and normalisation are one pass from bytes to floats. With a GPU, bytes are all
    that is copied, unless they lie there already, and everything else happens there (`kit.pixels.on_device`).

    Args:
        samples: what to read.
        augment: the steps to apply, the user's own pipeline, or None.
        workers: processes; None: none on a CPU (they would take the network's cores), up to four with a GPU. Where
            /dev/shm has no room for their locks, this process reads alone.
        device: where the batches go.
        normalize: the mean and standard deviation to normalise by.
    """

    def __init__(
        self,
        samples: Samples,
        augment: Augment | None,
        workers: int | None,
        device: torch.device,
        normalize: "Normalize",
    ) -> None:
        self.samples, self.device, self.normalize = samples, device, normalize
        self.steps = augment if isinstance(augment, Steps) else None
        pipeline = None if augment is None or isinstance(augment, Steps) else augment
        self.on_device = device.type != "cpu"
        self._own = tuple((value.flatten() / 255).cpu().numpy() for value in (normalize.mean, normalize.std))
        self._out = torch.empty(0)
        self._there: OnDevice | None = None
        self._reader = None
        if samples.pack is None or pipeline is not None:
            self._reader = _Reading(_Reader(samples, pipeline), workers, device)

    def batches(self, plan: Plan) -> Iterator[Batch]:
        """Yield the batches of a plan, in its order: one (rows, seeds) per batch."""
        stored = self._stored(plan)
        if self.on_device:
            if self._there is None:
                pack = None if self._reader is not None else self.samples.pack
                self._there = OnDevice(self.samples, pack, self.steps, self.device, self.normalize)
            for parts in self._there.batches(plan, stored):
                yield Batch(*parts)
            return
        for (rows, seeds), (pixels, places) in zip(plan, stored, strict=True):
            images = self._normalized(rows, pixels, places, seeds)
            target, metadata = self.samples.targets[rows], self.samples.metadata[rows]
            yield Batch(images, *(torch.from_numpy(each) for each in (target, metadata, rows)))

    def _stored(self, plan: Plan) -> Stored:
        """Yield per batch an array of images NxHxWxC, and where in it the rows' images lie."""
        if self._reader is None and self.samples.pack is not None:
            for rows, _ in plan:
                yield self.samples.stored(rows)
        elif self._reader is not None:
            for (rows, _), images in zip(plan, self._reader.read(plan), strict=True):
                yield images, np.arange(len(rows))

    def _normalized(self, rows: np.ndarray, pixels: np.ndarray, places: np.ndarray, seeds: np.ndarray) -> Tensor:
        size, crop = self.samples.size, self.samples.crop
        steps = steps_of(self.steps, seeds, len(places), crop, pixels.shape[1:], size)
        shape = (len(places), size, size, pixels.shape[3])
        if self._out.shape[1:] != shape[1:] or len(self._out) < len(places):
            self._out = torch.empty(shape)
        out = self._out[: len(places)]
        statistics = self.samples.statistics
        mean, std = self._own if statistics is None else (statistics.mean[rows], statistics.std[rows])
        return warp_normalized(pixels, places, steps, size, mean, std, out)


class _Reading:
    """Read the images of a plan's rows in worker processes."""

    def __init__(self, reader: "_Reader", workers: int | None, device: torch.device) -> None:
        self._sampler: list[tuple[np.ndarray, np.ndarray]] = []
        self._plans = 0  # begun so far
        count = workers if workers is not None else (min(4, os.cpu_count() or 1) if device.type == "cuda" else 0)
        count = count if room_for_workers(count) else 0
        self._loader: DataLoader[np.ndarray | KitError] = DataLoader(
            reader,
            sampler=self._sampler,
            batch_size=None,
            # Arrays come through a pipe as they are; tensors would come through /dev/shm, which containers keep small.
            collate_fn=_as_it_is,
            num_workers=count,
            persistent_workers=count > 0,
            worker_init_fn=_start_worker,
            # A generator of its own: drawing from the global one would make a step depend on where a run was resumed.
            generator=torch.Generator(),
        )

    def read(self, plan: Plan) -> Iterator[np.ndarray]:
        self._sampler[:] = plan
        self._plans = number = self._plans + 1
        try:
            for images in self._loader:
                if self._plans != number:  # the workers read that one's images
                    raise ValueError("another plan was begun, which ends this one")
                if isinstance(images, KitError):
                    raise images
                yield images
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise KitError(
                "a process that reads images was killed (out of memory?): free some, or read in this process with "
                "--set workers=0",
                DISK,
            ) from None


def _as_it_is(images: Any) -> Any:
    return images


class _Reader(Dataset["np.ndarray | KitError"]):
    def __init__(self, samples: Samples, pipeline: Callable[[np.ndarray, int], np.ndarray] | None) -> None:
        self.samples, self.pipeline = samples, pipeline

    def __getitem__(self, item: tuple[np.ndarray, np.ndarray]) -> "np.ndarray | KitError":
        """Return a batch, or what is wrong with a file: raised in a worker, it would arrive with its traceback."""
        rows, seeds = item
        try:
            images = [self.samples.whole(row) for row in rows]
        except KitError as error:
            # A process hands on an error without its cause, which --debug shows.
            error.add_note("".join(traceback.format_exception(error)))
            return error
        if self.pipeline is not None:
            images = [self.pipeline(image, int(seed)) for image, seed in zip(images, seeds, strict=True)]
        return np.stack(images)


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(0)
    # A terminal sends Ctrl-C to workers too; only the training process may decide when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Normalize(nn.Module):
    """Normalise grey levels (float 0..255, BxCxHxW) by mean and standard deviation per channel of pixels in 0..1."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1) * 255)

    def forward(self, images: Tensor, mean: Tensor | None = None, std: Tensor | None = None) -> Tensor:
        """Normalise grey levels; the result is channels-last in memory, the layout convolutions prefer.

        `mean` and `std`, BxC of pixels in 0..1, replace the module's own, image by image.
        """
        if mean is None or std is None:
            return images.sub(self.mean).div_(self.std)
        return images.sub(mean[:, :, None, None] * 255).div_(std[:, :, None, None] * 255)
