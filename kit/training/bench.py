"""Measure each stage of training on this machine in images per second; `kit.training.advice` interprets the numbers."""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from kit.config import TrainConfig
from kit.console import Console
from kit.data.images import read_rgb, read_sample, stored_side
from kit.data.index import Index, rows_of
from kit.data.store import Store
from kit.data.verify import cores
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, DatasetSpec
from kit.model.build import Model, build_model, normalization_of, seed_everything
from kit.pixels import resident
from kit.pixels.augment import make_augment
from kit.pixels.batches import Augment, Batch, Loader
from kit.pixels.pack import Packed, find_packed
from kit.pixels.pack_workers import Job, Layout, Workers
from kit.pixels.sampler import Plan, training_plan
from kit.pixels.samples import Samples
from kit.pixels.warp import DeviceAugment, Steps, gather, steps_of
from kit.task import BINARY
from kit.training.advice import STAGES, Bench, Rates
from kit.training.stepper import Stepper

FILES = 512  # number of synthetic images, and the most that are read from a competition
PACK_BYTES = 1 << 28  # the most that packed images may take in the temporary folder
EXAMPLE = 100_000  # images for the estimate if there is no competition
STEPS = {"rot90": True, "rotate": 15, "zoom": 0.1, "brightness": 0.1, "contrast": 0.1}


def synthetic(folder: Path, size: int) -> Store:
    """Make a store of 512 JPEG files with this side, to measure a machine before any download."""
    random = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(FILES)]
    for name in names:
        clouds = random.integers(0, 256, (size // 16 + 2, size // 16 + 2, 3)).astype(np.uint8)
        image = cv2.resize(clouds, (size, size), interpolation=cv2.INTER_CUBIC)
        grain = random.integers(0, 12, (size, size, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / name), cv2.add(image, grain))
    rows = pd.DataFrame({"id": names, "files": [(name,) for name in names], "target": np.arange(FILES) % 2})
    index = Index(folder, BINARY, ("no", "yes"), rows, rows.iloc[:0])
    dataset = DatasetSpec("synthetic", 3, lambda root: index, lambda files: read_rgb(files[0]))
    return Store(nowhere(), dataset, folder)


def nowhere() -> Competition:
    """Return the competition of the synthetic images: kit's defaults and augmentation by warps."""
    return Competition(
        "synthetic",
        "synthetic images",
        "synthetic",
        "binary",
        "roc_auc",
        "synthetic",
        "synthetic",
        kaggle="none",
        defaults={"loss": "bce", **STEPS},
    )


def measure(registry: Registry, store: Store, config: TrainConfig, seconds: float, console: Console) -> Bench:
    """Measure every stage for about `seconds` each; write only into a temporary folder."""
    known = store.competition.kaggle != "none"
    index = (store.index() if known else store.dataset.index(store.root)).with_metadata(config.metadata)
    rates: Rates = dict.fromkeys(STAGES)
    seed_everything(config.seed, 0)
    normalization = normalization_of(config, registry, store.dataset, index, console)
    # The numbers do not depend on the weights, so nothing needs to be downloaded.
    model = build_model(config, registry, store.dataset, index, normalization, pretrained=False)
    with (
        tempfile.TemporaryDirectory(prefix="kit-bench-") as name,
        console.progress("measuring", len(STAGES), "stages") as bar,
    ):

        def note(stage: str, rate: float | None) -> None:
            rates[stage] = rate
            bar.advance(1, STAGES[stage])

        sample = index.train.iloc[np.linspace(0, len(index.train) - 1, min(FILES, len(index.train))).astype(int)]
        note("decode_one", _decoding(store.dataset, index.root, sample, seconds, 1))
        note("decode_all", _decoding(store.dataset, index.root, sample, seconds, cores()))
        side = stored_side(config.size, config.crop)
        pack = _pack(store.dataset, index.root, sample, side, (rates["decode_all"] or 1) * seconds, Path(name))
        note("pack", pack.images_per_second)
        repeated = _repeated(index, sample, max(pack.count, 2 * config.batch_size))
        packs = {config.size: pack} if config.pack else {}
        samples = Samples.of(repeated, repeated.train, store.dataset, config.size, packs, crop=config.crop)
        samples = replace(samples, places=np.arange(len(samples)) % pack.count)
        layout = Layout(len(index.train), pack.size, store.dataset.channels)
        device = model.runtime.device
        there = config.pixels == "gpu" or (config.pixels == "auto" and resident.fits(layout.bytes, device))
        own = () if config.augment else packs.values()  # a pipeline of one's own runs on the host
        resident.keep(own, device, "gpu" if there else "host", Console(silent=True))
        work = _Work(registry, config, model, samples, index, seconds)
        for stage in ("gather", "augment", "copy", "forward", "train", "train_double", "epoch"):
            note(stage, getattr(work, stage)())
        resident.drop()
    return Bench(
        rates,
        config,
        model.runtime.device.type,
        model.runtime.amp is not None,
        torch.get_num_threads(),
        cores(),
        config.augment is not None,
        _images(index, config) if known else EXAMPLE,
        known and find_packed(store, index, "train", side) is not None,
        layout.bytes,
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    )


@dataclass(frozen=True)
class _BenchLayout(Layout):
    """A layout with chunks so small that a second's work has several for every core."""

    max_chunk_rows: int = 1

    @property
    def chunk_rows(self) -> int:
        """Images per chunk."""
        return min(super().chunk_rows, self.max_chunk_rows)


def _images(index: Index, config: TrainConfig) -> int:
    """Return how many training images a run of this configuration has."""
    rows = rows_of(index.train, config.only)
    ids = rows["id"].nunique()
    return len(rows) if config.limit is None or config.limit >= ids else round(config.limit * len(rows) / ids)


def _pack(dataset: DatasetSpec, root: Path, rows: pd.DataFrame, size: int, images: float, folder: Path) -> Packed:
    """Pack about `images` images into a folder with kit's own worker processes, and note their images per second."""
    height, width, channels = read_sample(dataset, root, rows["files"].iloc[0]).shape
    side = min(size, height) if height == width else size
    count = max(1, min(round(images), PACK_BYTES // (side * side * channels)))
    layout = _BenchLayout(count, side, channels, max(1, round(count / (4 * cores()))))
    files, path = [rows["files"].iloc[number % len(rows)] for number in range(count)], folder / "pixels"
    path.touch()
    os.truncate(path, layout.bytes)
    with Workers(Job(path, layout, root, dataset), None) as pool:
        began = time.perf_counter()
        for _ in pool.fill(range(layout.chunks), lambda chunk: files[chunk.start : chunk.stop]):
            pass
        seconds = time.perf_counter() - began
    return Packed(path, "train", layout, "", count / seconds)


def _repeated(index: Index, sample: pd.DataFrame, count: int) -> Index:
    rows = sample.iloc[np.resize(np.arange(len(sample)), count)].reset_index(drop=True)
    return replace(index, train=rows.assign(id=[str(number) for number in range(count)]))


_files: list[tuple[DatasetSpec, Path, list[tuple[str, ...]]]] = []


def _decoding(dataset: DatasetSpec, root: Path, rows: pd.DataFrame, seconds: float, processes: int) -> float:
    """Return the images per second of this many processes that only decode files already read once."""
    files: list[tuple[str, ...]] = []
    began = time.perf_counter()
    for row in rows["files"]:
        if files and time.perf_counter() - began > 2 * seconds:
            break
        for name in row:
            with contextlib.suppress(OSError):  # decoding it later says what is wrong
                (root / name).read_bytes()
        files.append(row)
    # Forked, so that a dataset's `read` may be any callable; each task runs longer than the others need to start.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_prepare, initargs=(dataset, root, files)) as pool:
        return sum(pool.map(_decode_for, [seconds] * processes))


def _prepare(dataset: DatasetSpec, root: Path, files: list[tuple[str, ...]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process waits for them, about a second
    cv2.setNumThreads(0)
    _files[:] = [(dataset, root, files)]


def _decode_for(seconds: float) -> float:
    dataset, root, files = _files[0]
    order = cycle(files)
    read_sample(dataset, root, files[0])

    def one() -> int:
        read_sample(dataset, root, next(order))
        return 1

    return timed(one, seconds, lambda: None)


def timed(work: Callable[[], int], seconds: float, wait: Callable[[], None]) -> float:
    """Return the images per second of `work`, which returns how many it did; `wait` waits for the device."""
    wait()
    began, images, calls = time.perf_counter(), 0, 0
    while not calls or time.perf_counter() - began < seconds:
        images += work()
        calls += 1
        if calls % 8 == 0:
            wait()  # keeps the device's queue short
    wait()
    return images / (time.perf_counter() - began)


class _Work:
    """The stages from packed pixels onwards; each method returns images per second."""

    def __init__(
        self, registry: Registry, config: TrainConfig, model: Model, samples: Samples, index: Index, seconds: float
    ) -> None:
        self.config, self.model, self.samples = config, model, samples
        self.seconds, self.device = seconds, model.runtime.device
        self.steps: Augment | None = make_augment(config, Path(), registry)
        self.stepper = Stepper(config, model, len(index.classes))
        self.loader = Loader(samples, self.steps, config.workers, self.device, model.normalize)
        # A loader reuses its memory for its next batch.
        self.batch = Batch(*(tensor.clone() for tensor in next(self._batches())))

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def timed(self, work: Callable[[], int]) -> float:
        for _ in range(3 if self.device.type == "cuda" else 1):
            work()
        return timed(work, self.seconds, self.wait)

    def _plan(self) -> Plan:
        seed = (self.config.seed, 0, 0)
        return [batch for step in training_plan(len(self.samples), self.config.batch_size, seed) for batch in step]

    def _batches(self) -> Iterator[Batch]:
        while True:
            yield from self.loader.batches(self._plan())

    def gather(self) -> float | None:
        """Gather the bytes of a batch from the pack: all that the host does beside a GPU that does not hold them."""
        if self.samples.pack is None or resident.held(self.samples.pack, self.device) is not None:
            return None
        pixels, plan = self.samples.pack.pixels, self._plan()
        out = np.empty((max(len(rows) for rows, _ in plan), *pixels.shape[1:]), np.uint8)
        batches = cycle(plan)

        def one() -> int:
            rows, _ = next(batches)
            gather(pixels, self.samples.places[rows], out[: len(rows)])
            return len(rows)

        return self.timed(one)

    def augment(self) -> float:
        """Turn packed pixels, or files, into normalised floats, wherever that happens."""
        if self.device.type == "cuda" and self.samples.pack is not None and not callable(self.steps):
            return self.warp()
        batches = self._batches()
        return self.timed(lambda: len(next(batches).rows))

    def warp(self) -> float:
        """Warp and normalise bytes that are already on the device."""
        images = self._bytes().to(self.device)
        steps = self.steps if isinstance(self.steps, Steps) else None
        height, width, channels = images.shape[1:]
        augment = DeviceAugment(steps, self.samples.size, self.samples.crop, channels)
        seeds, size = np.arange(len(images)), self.samples.size
        drawn = steps_of(steps, seeds, len(images), self.samples.crop, (height, width, channels), size)
        packed = None if drawn is None else torch.from_numpy(drawn.packed()).to(self.device)

        def one() -> int:
            self.model.normalize(augment(images, packed))
            return len(images)

        return self.timed(one)

    def _bytes(self) -> torch.Tensor:
        rows = self._plan()[0][0]
        if self.samples.pack is None:
            return torch.from_numpy(np.stack([self.samples.whole(row) for row in rows]))
        return torch.from_numpy(gather(self.samples.pack.pixels, self.samples.places[rows]))

    def copy(self) -> float | None:
        """Copy bytes from pinned memory to the device."""
        if self.device.type != "cuda" or resident.held(self.samples.pack, self.device) is not None:
            return None
        images = self._bytes().pin_memory()

        def one() -> int:
            images.to(self.device, non_blocking=True)
            return len(images)

        return self.timed(one)

    def forward(self) -> float:
        """Predict a batch that is already on the device."""
        self.model.network.eval()

        def one() -> int:
            with torch.inference_mode(), self.model.runtime.autocast():
                self.model.network(self.batch.images, self.batch.metadata)
            return len(self.batch.rows)

        return self.timed(one)

    def step(self, raw: Batch) -> int:
        """Take one training step and return its number of images."""
        # Learning rate 0: a thousand steps on one batch would lead to numbers that are slow to compute with.
        self.stepper.step(iter([raw]), 1, len(raw.rows), rate=0.0)
        return len(raw.rows)

    def train(self) -> float:
        """Take steps on a batch that is already on the device."""
        self.model.network.train()
        return self.timed(lambda: self.step(self.batch))

    def train_double(self) -> float | None:
        """Do the same with twice the batch, on a GPU, which may be underused."""
        if self.device.type != "cuda":
            return None
        try:
            double = Batch(*(torch.cat([tensor, tensor]) for tensor in self.batch))
            return self.timed(lambda: self.step(double))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return None

    def epoch(self) -> float:
        """Run the loader and the steps together."""
        batches = self._batches()
        return self.timed(lambda: self.step(next(batches)))
