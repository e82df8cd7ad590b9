"""The network's input: the one path from files to normalised batches, for training, validation and prediction."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kit.data.index import Index
from kit.data.pixels import resize
from kit.errors import KitError
from kit.plugin.specs import DatasetSpec

Augment = Callable[[np.ndarray, int], np.ndarray]
Plan = Sequence[tuple[np.ndarray, np.ndarray]]


class Batch(NamedTuple):
    """Images (uint8 BxHxWxC from the loader, normalised float BxCxHxW for the network), targets, extras BxE, rows."""

    images: Tensor
    target: Tensor
    extras: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Samples:
    """Rows of an index, read at one size."""

    paths: list[tuple[Path, ...]]
    targets: np.ndarray
    extras: np.ndarray
    dataset: DatasetSpec
    size: int

    @classmethod
    def of(cls, index: Index, frame: pd.DataFrame, dataset: DatasetSpec, size: int) -> "Samples":
        """The rows of `frame`; rows without a target (the test part) get zeros."""
        targets = index.targets(frame) if "target" in frame else np.zeros((len(frame), 0), np.float32)
        return cls(index.paths(frame), targets, index.extra_inputs(frame), dataset, size)

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, row: int) -> np.ndarray:
        """One sample as size x size x C uint8."""
        image = self.dataset.read(self.paths[row])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != self.dataset.channels:
            raise KitError(
                f"{self.paths[row][0]}: read as {image.dtype} {image.shape}, dataset {self.dataset.name} promises "
                f"uint8 with {self.dataset.channels} channels: kit check names all such files"
            )
        return resize(image, self.size)


class Loader:
    """Batches of samples by a plan; worker processes live as long as the loader.

    Args:
        samples: what to read.
        augment: (image, seed) -> image, or None.
        workers: processes; None: none on a CPU (they would take the network's cores), up to four beside a GPU.
        device: where the batches will go.
    """

    def __init__(self, samples: Samples, augment: Augment | None, workers: int | None, device: torch.device) -> None:
        self._sampler: list[tuple[np.ndarray, np.ndarray]] = []
        cuda = device.type == "cuda"
        count = workers if workers is not None else (min(4, os.cpu_count() or 1) if cuda else 0)
        self._loader: DataLoader[Batch] = DataLoader(
            _Reader(samples, augment),
            sampler=self._sampler,
            batch_size=None,
            num_workers=count,
            persistent_workers=count > 0,
            pin_memory=cuda,
            worker_init_fn=_start_worker,
            # A generator of its own: drawing from the global one would make a step depend on where a run was resumed.
            generator=torch.Generator(),
        )

    def batches(self, plan: Plan) -> Iterator[Batch]:
        """The batches of a plan, in its order: one (rows, seeds) a batch."""
        self._sampler[:] = plan
        yield from self._loader


class _Reader(Dataset[Batch]):
    def __init__(self, samples: Samples, augment: Augment | None) -> None:
        self.samples, self.augment = samples, augment

    def __getitem__(self, item: tuple[np.ndarray, np.ndarray]) -> Batch:
        rows, seeds = item
        images = [self.samples.image(row) for row in rows]
        if self.augment is not None:
            images = [self.augment(image, int(seed)) for image, seed in zip(images, seeds, strict=True)]
        return Batch(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(self.samples.targets[rows]),
            torch.from_numpy(self.samples.extras[rows]),
            torch.from_numpy(rows),
        )


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(0)
    # A terminal sends Ctrl-C to workers too; only the training process may decide when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def training_plan(
    count: int, batch_size: int, seed: tuple[int, ...], accumulate: int = 1, weights: np.ndarray | None = None
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """An epoch: for each step its batches of (rows, seeds of their augmentation), `accumulate` of them or fewer.

    Without `weights` every one of `count` rows comes once in a random order; with them as many rows are drawn with
    these probabilities. No batch has one row alone, since batch normalisation can't work on one.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(count) if weights is None else random.choice(count, count, p=weights)
    seeds = random.integers(0, 2**31, count)
    edges = list(range(0, count, batch_size * accumulate))
    if len(edges) > 1 and count - edges[-1] == 1:
        edges.pop()
    plan = []
    for start, end in zip(edges, [*edges[1:], count], strict=True):
        parts = min(accumulate, -(-(end - start) // batch_size))
        plan.append(list(zip(np.array_split(order[start:end], parts), np.array_split(seeds[start:end], parts),
                             strict=True)))  # fmt: skip
    return plan


def balanced_weights(targets: np.ndarray) -> np.ndarray:
    """Probabilities with which every class is drawn equally often; a row of several classes counts by its rarest.

    Targets as `Index.targets` gives them: class numbers n, or nxK of 0 and 1 (binary nx1: two classes).
    """
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0].astype(np.int64)
    hot = targets if targets.ndim == 2 else np.eye(int(targets.max()) + 1, dtype=np.float32)[targets]
    share = 1 / np.maximum(hot.sum(0), 1)
    weights = np.where(hot > 0, share, 0).max(1)
    # Rows without any label are drawn as often as the average row.
    weights[weights == 0] = weights[weights > 0].mean() if (weights > 0).any() else 1
    return weights / weights.sum()


def ordered_plan(count: int, batch_size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """All rows in their order, in batches, for validation and prediction."""
    rows = np.arange(count)
    return [(rows[a : a + batch_size], rows[:0]) for a in range(0, count, batch_size)]


class Normalize(nn.Module):
    """uint8 BxHxWxC -> float32 BxCxHxW, by the mean and standard deviation a channel of pixels in 0..1."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1) * 255)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise; the result lies channels-last in memory, as convolutions like it."""
        return images.permute(0, 3, 1, 2).float().sub_(self.mean).div_(self.std)


def to_device(batch: Batch, device: torch.device, normalize: Normalize) -> Batch:
    """The batch on the device, images normalised."""
    images, target, extras = (part.to(device, non_blocking=True) for part in batch[:3])
    return Batch(normalize(images), target, extras, batch.rows)
