"""What is compared on a GPU: the cases, and the loops that train them."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from one_fold import history_of
from table import CASES
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from watch import Watch, processor_seconds, synchronize

from kit.config import TrainConfig
from kit.console import Console
from kit.data.index import Index
from kit.hooks.registry import Registry
from kit.hooks.specs import DatasetSpec
from kit.model.build import Model, build_model, seed_everything
from kit.pixels.pack import Packed
from kit.pixels.pack_workers import Layout
from kit.pixels.samples import Samples

# Full augmentation: the defaults of histopathology.
STEPS = {
    "flip": True,
    "rot90": True,
    "rotate": 45,
    "zoom": 0.13,
    "shift": 0.03,
    "shear": 5,
    "brightness": 0.15,
    "contrast": 0.15,
}
RATE = 1e-5  # of learning: random labels teach nothing, and numbers stay ordinary
WARM = 10  # steps before a bare loop is measured
STEADY = 3.0  # seconds for which a loop behind a DataLoader is measured
BLOCK = 2048  # distinct images of a pack


@dataclass(frozen=True)
class Case:
    """A network at a size and a batch size, and the number of images of an epoch."""

    title: str
    model: str
    size: int
    batch: int
    images: int

    def config(self, **changes: Any) -> TrainConfig:
        own = {"model": self.model, "size": self.size, "batch_size": self.batch}
        fixed = {"competition": "c", "dataset": "random", "loss": "bce", "pretrained": False, "epochs": 2}
        return TrainConfig(**{**fixed, **own, "lr": RATE, "schedule": "constant", **STEPS, **changes})


def cases(rehearsal: bool) -> list[Case]:
    models = ("resnet18", "resnet50", "efficientnet_lite0", "timm/vit_small_patch16_224")
    real = ((96, 1024, 49_152), (224, 256, 6_144), (96, 1024, 32_768), (224, 256, 8_192))
    tiny = ((32, 8, 24), (64, 4, 8), (32, 8, 16), (224, 2, 4))
    sizes = tiny if rehearsal else real
    return [Case(title, model, *size) for title, model, size in zip(CASES, models, sizes, strict=True)]


@dataclass(frozen=True)
class Pixels:
    """Random images of one size: packed as kit packs them, and as raw tif files for the others."""

    size: int
    folder: Path
    count: int

    @classmethod
    def make(cls, folder: Path, size: int, count: int, files: int) -> "Pixels":
        folder.mkdir(parents=True)
        block = np.random.default_rng(0).integers(0, 256, (min(count, BLOCK), size, size, 3), np.uint8)
        with (folder / "pixels").open("wb") as file:
            for start in range(0, count, len(block)):
                block[: count - start].tofile(file)
        raw = [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_NONE]
        (folder / "files").mkdir()
        for number in range(files):
            (folder / "files" / f"{number}.tif").write_bytes(cv2.imencode(".tif", block[number % len(block)], raw)[1])
        return cls(size, folder, count)

    def samples(self, images: int) -> tuple[Samples, Index]:
        """The first images of the pack; nothing is verified, they were just drawn."""
        names = [str(number) for number in range(self.count)]
        frame = pd.DataFrame({"id": names, "files": [(name,) for name in names], "target": np.arange(self.count) % 2})
        index = Index(self.folder, "binary", ("no", "yes"), frame, frame[["id", "files"]].iloc[:0])
        blank = np.zeros((self.size, self.size, 3), np.uint8)
        spec = DatasetSpec("random", 3, lambda root: index, lambda files: blank)
        pack = Packed(self.folder / "pixels", "train", Layout(self.count, self.size, 3), "")
        return Samples.of(index, frame.iloc[:images], spec, self.size, {self.size: pack}), index


def model_of(config: TrainConfig, samples: Samples, index: Index) -> Model:
    seed_everything(0)
    halves = {"mean": [0.5] * 3, "std": [0.5] * 3}
    return build_model(config, Registry(), samples.dataset, index, halves, pretrained=False)


class NotAsAskedError(Exception):
    """Kit went on otherwise than it was asked to, with a warning."""


@contextlib.contextmanager
def warnings() -> Iterator[list[str]]:
    """Collect what kit warns of."""
    said: list[str] = []
    warn = Console.warn

    def heard(console: Console, text: str, *given: Any) -> None:
        said.append(text)
        warn(console, text, *given)

    Console.warn = heard
    try:
        yield said
    finally:
        Console.warn = warn


def kit_loop(case: Case, data: Pixels, **changes: Any) -> dict[str, Any]:
    """Kit's whole loop over packed pixels: the second epoch.

    Raises:
        NotAsAskedError: kit warns of something under these changes, as of going on without compiling.
    """
    config = case.config(**changes)
    samples, index = data.samples(case.images)
    with warnings() as said, Watch().watching() as watch:
        history_of(config, model_of(config, samples, index), samples, index)
    if changes and said:
        raise NotAsAskedError("; ".join(said))
    about = {"warnings": said} if said else {}
    return {
        "images/s": case.images / watch.seconds[1],
        "waiting": watch.waiting[1],
        "host cores": watch.cores[1],
    } | about


def bare_step(model: Model, batch: int, size: int) -> Callable[[], None]:
    """A step on random numbers that lie on the device already, and nothing else."""
    device = model.runtime.device
    images = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    target = (torch.arange(batch, device=device) % 2).float()[:, None]
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=RATE, fused=True)
    model.network.train()

    def step() -> None:
        with model.runtime.autocast():
            loss = binary_cross_entropy_with_logits(model.network(images).logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def bare_loop(case: Case, data: Pixels, compiled: bool = False) -> dict[str, Any]:
    """As many bare steps as kit's epoch has; without a gradient scaler, which bfloat16 does not need."""
    steps, model = -(-case.images // case.batch), model_of(case.config(), *data.samples(2))
    if compiled:
        model.network.compile()
    step = bare_step(model, case.batch, case.size)
    for _ in range(min(WARM, steps)):
        step()
    synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize()
    return {"images/s": steps * case.batch / (time.perf_counter() - began)}


class Files(torch.utils.data.Dataset):
    """The map-style dataset of every tutorial: a file is opened, transformed and given with its label."""

    def __init__(self, paths: list[Path], images: int) -> None:
        from torchvision.transforms import InterpolationMode, v2

        self.paths, self.images = paths, images
        self.steps = v2.Compose(
            [
                v2.ToImage(),
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.RandomAffine(45, (0.03, 0.03), (0.87, 1.13), 5, InterpolationMode.BILINEAR),
                v2.ColorJitter(0.15, 0.15),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        from PIL import Image

        image = self.steps(Image.open(self.paths[row % len(self.paths)]))
        return image, torch.tensor([row % 2], dtype=torch.float32)


def loader_of(case: Case, data: Pixels, workers: int) -> torch.utils.data.DataLoader:
    """As many batches as are asked for, shuffled."""
    paths = sorted((data.folder / "files").glob("*.tif"))
    return torch.utils.data.DataLoader(
        Files(paths, 1000 * case.batch),
        case.batch,
        shuffle=True,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        drop_last=True,
    )


class Steady:
    """The speed of a loop behind a DataLoader, from where its queue no longer lives on what was there at the start."""

    def __init__(self, batch: int, workers: int, rehearsal: bool) -> None:
        self.batch, self.least = batch, 0.0 if rehearsal else STEADY
        # Workers deliver about at once: whole rounds of them are counted.
        self.first, self.round = (2, 1) if rehearsal else (2 * workers, workers)
        self.steps, self.began, self.used = 0, 0.0, 0.0
        self.figures: dict[str, Any] = {}

    def over(self) -> bool:
        """Note a step; return whether it was the last one, while the workers still live."""
        self.steps += 1
        if self.steps == self.first:
            synchronize()
            self.began, self.used = time.perf_counter(), processor_seconds()
        rounds, rest = divmod(self.steps - self.first, self.round)
        if rounds < 1 or rest or time.perf_counter() - self.began < self.least:
            return False
        synchronize()
        seconds = time.perf_counter() - self.began
        cores = (processor_seconds() - self.used) / seconds
        self.figures = {"images/s": (self.steps - self.first) * self.batch / seconds, "host cores": cores}
        return True


def dataloader_loop(case: Case, data: Pixels, workers: int, rehearsal: bool) -> dict[str, Any]:
    """A plain AMP loop behind torchvision's transforms."""
    model = model_of(case.config(), *data.samples(2))
    network, device = model.network.train(), model.runtime.device
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, fused=True)
    steady = Steady(case.batch, workers, rehearsal)
    for images, target in loader_of(case, data, workers):
        images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
        target = target.to(device, non_blocking=True)
        with model.runtime.autocast():
            loss = binary_cross_entropy_with_logits(network(images).logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if steady.over():
            break
    return steady.figures


def lightning_loop(case: Case, data: Pixels, workers: int, rehearsal: bool) -> dict[str, Any]:
    """Lightning over the same loader; an `ImportError` where it is not installed."""
    from lightning_module import train

    model = model_of(case.config(), *data.samples(2))
    steady = Steady(case.batch, workers, rehearsal)
    train(model, loader_of(case, data, workers), RATE, steady.over)
    return steady.figures
