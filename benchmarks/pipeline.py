"""From patches on the disk to normalised float batches on two cores: kit after packing beside its peers, images/s.

Patches of 96x96 (raw tif, RGB, as histopathology has them) to batches of 64 at 96 and 224 px, mirrored, turned, zoomed,
sheared, shifted, brightened. Every peer decodes its files in each epoch and augments as its documentation shows: with
the fastest number of DataLoader workers among 0, 1 and 2, found in the same run, kept alive between epochs. torchvision
and timm have no right-angle turns, timm crops in place of a warp. What kit's host does beside a GPU, gathering bytes,
stands beside a DataLoader that decodes, resizes and collates bytes. All sides take turns; numbers are medians over
rounds, all files are in the page cache.

    pip install -e '.[benchmarks]'
    python benchmarks/pipeline.py [PATCHES] [ROUNDS]        2048 patches, 5 rounds: some three minutes
"""

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import cv2
import machine
import numpy as np
import patches
import torch
from patches import SIDE
from torch.utils.data import DataLoader, Dataset

from helpers.reference_steps import standard_steps
from kit.config import TrainConfig
from kit.pixels.batches import Loader, Normalize
from kit.pixels.sampler import Plan
from kit.pixels.samples import Samples
from kit.pixels.warp import DeviceWarp, Steps, draw, gather

BATCH, MEAN, STD = 64, (0.7, 0.54, 0.69), (0.24, 0.28, 0.22)
STEPS = {
    "flip": True,
    "rot90": True,
    "rotate": 20,
    "zoom": 0.1,
    "shear": 5,
    "shift": 0.05,
    "brightness": 0.15,
    "contrast": 0.15,
}
WORKERS = (0, 1, 2)
# An epoch: yields batches, of which the first dimension is counted.
Epoch = Callable[[], Iterator[Any]]


def config(size: int) -> TrainConfig:
    return TrainConfig(competition="c", dataset="d", loss="bce", size=size, **STEPS)


def plan(count: int) -> Plan:
    random = np.random.default_rng(1)
    order, seeds = random.permutation(count), random.integers(0, 2**31, count)
    return [(order[a : a + BATCH], seeds[a : a + BATCH]) for a in range(0, count, BATCH)]


class Files(Dataset):
    """A function of a path, as the map-style dataset of every tutorial."""

    def __init__(self, paths: list[str], read: Callable[[str], Any]) -> None:
        self.paths, self.read = paths, read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Any:
        return self.read(self.paths[row])


def one_thread(_: int) -> None:
    cv2.setNumThreads(0)


def loader(read: Callable[[str], Any], paths: list[str], workers: int) -> Epoch:
    found = DataLoader(
        Files(paths, read),
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=one_thread,
    )
    return found.__iter__


def rgb(path: str) -> np.ndarray:
    return cv2.imread(path, cv2.IMREAD_COLOR_RGB)


def albumentations(paths: list[str], size: int, workers: int) -> Epoch:
    import albumentations as A
    from albumentations.pytorch import ToTensorV2

    steps = A.Compose([A.Resize(size, size), *standard_steps(config(size)), A.Normalize(MEAN, STD), ToTensorV2()])
    return loader(lambda path: steps(image=rgb(path))["image"], paths, workers)


def torchvision(paths: list[str], size: int, workers: int) -> Epoch:
    from PIL import Image
    from torchvision.transforms import InterpolationMode, v2

    steps = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((size, size)),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(20, (0.05, 0.05), (0.9, 1.1), 5, InterpolationMode.BILINEAR),
            v2.ColorJitter(0.15, 0.15),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    return loader(lambda path: steps(Image.open(path)), paths, workers)


def timm(paths: list[str], size: int, workers: int) -> Epoch:
    from PIL import Image
    from timm.data import create_transform

    steps = create_transform(size, is_training=True, scale=(0.8, 1.0), vflip=0.5, color_jitter=0.15, mean=MEAN, std=STD)
    return loader(lambda path: steps(Image.open(path)), paths, workers)


def fastai(paths: list[str], size: int, workers: int) -> Epoch:
    from fastai.vision import all as f

    steps = f.aug_transforms(flip_vert=True, max_rotate=20, max_zoom=1.1, max_lighting=0.15, max_warp=0)
    loaders = f.ImageDataLoaders.from_lists(
        Path(paths[0]).parent,
        paths,
        [number % 2 for number in range(len(paths))],
        valid_pct=0,
        bs=BATCH,
        item_tfms=f.Resize(size),
        batch_tfms=[*steps, f.Normalize.from_stats(MEAN, STD)],
        num_workers=workers,
        device=torch.device("cpu"),
        drop_last=False,
        persistent_workers=workers > 0,
    )
    return lambda: (images for images, _ in loaders.train)


def host(paths: list[str], size: int, workers: int) -> Epoch:
    """Bytes for a GPU that does the rest."""

    def read(path: str) -> np.ndarray:
        image = rgb(path)
        return image if image.shape[:2] == (size, size) else cv2.resize(image, (size, size))

    return loader(read, paths, workers)


PEERS = {"albumentations + cv2": albumentations, "torchvision v2": torchvision, "timm": timm, "fastai": fastai}


def ours(samples: Samples) -> Epoch:
    steps = config(samples.size)
    made = Loader(samples, Steps(steps), None, torch.device("cpu"), Normalize(MEAN, STD))
    return lambda: (batch.images for batch in made.batches(plan(len(samples))))


def our_host(samples: Samples, draws: bool) -> Epoch:
    """Bytes for a GPU, and where wanted the numbers that tell it what to do with each image."""
    steps, pixels, out = config(SIDE), samples.pack.pixels, np.empty((BATCH, SIDE, SIDE, 3), np.uint8)

    def epoch() -> Iterator[Any]:
        for rows, seeds in 20 * plan(len(samples)):  # one pass takes milliseconds
            if draws:
                draw(steps, seeds, (SIDE, SIDE), SIDE).packed()
            yield gather(pixels, samples.places[rows], out[: len(rows)])

    return epoch


def bare(samples: Samples) -> Epoch:
    """One cv2.warpAffine, one cv2.LUT and one conversion an image, the same matrix always, in two threads."""
    images, size = np.asarray(samples.pack.pixels), samples.size
    matrix = draw(config(size), np.array([3]), (SIDE, SIDE), size).matrices[0]
    table, pool = np.arange(256, dtype=np.uint8), ThreadPoolExecutor(2)
    buffer = np.empty((BATCH, size, size, 3), np.float32)

    def half(rows: np.ndarray, out: np.ndarray) -> None:
        for place, row in enumerate(rows):
            warped = cv2.warpAffine(
                images[row],
                matrix,
                (size, size),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            )
            out[place] = cv2.LUT(warped, table)

    def epoch() -> Iterator[Any]:
        for rows, _ in plan(len(samples)):
            out, middle = buffer[: len(rows)], len(rows) // 2
            list(pool.map(half, (rows[:middle], rows[middle:]), (out[:middle], out[middle:])))
            yield out

    return epoch


def grid_sample(samples: Samples) -> Epoch:
    """The way for a GPU, on the CPU: why kit has two."""
    size, pixels, steps = samples.size, samples.pack.pixels, config(samples.size)
    warp, normalize = DeviceWarp(steps, size), Normalize(MEAN, STD)

    def epoch() -> Iterator[Any]:
        for rows, seeds in plan(len(samples))[:8]:
            packed = torch.from_numpy(draw(steps, seeds, (SIDE, SIDE), size).packed())
            yield normalize(warp(torch.from_numpy(gather(pixels, rows)), packed))

    return epoch


def rate(epoch: Epoch) -> float:
    began, images = time.perf_counter(), 0
    for batch in epoch():
        images += len(batch)
    return images / (time.perf_counter() - began)


def best(make: Callable[[int], Epoch]) -> tuple[int, Epoch, dict[int, float]]:
    """The number of workers that is fastest in one of two epochs after a first, its loader, and the speeds of all."""
    speeds = {}
    for workers in WORKERS:
        epoch = make(workers)
        rate(epoch)
        speeds[workers] = max(rate(epoch), rate(epoch))
        del epoch  # its workers end
    chosen = max(speeds, key=lambda workers: speeds[workers])
    epoch = make(chosen)
    rate(epoch)
    return chosen, epoch, speeds


def compare(folder: Path, names: list[str], size: int, rounds: int) -> dict[str, Any]:
    store, index = patches.store_of(folder, names)
    # The peers are slow: fewer patches.
    some = [str(folder / name) for name in names][:: 2 if size == SIDE else 4]
    samples = patches.samples_of(store, index, size)
    runs: dict[str, Epoch] = {
        "kit": ours(samples),
        "bare warp, LUT, float": bare(samples),
        "grid_sample on the CPU": grid_sample(samples),
    }
    workers: dict[str, Any] = {}
    peers = {**PEERS, **({"DataLoader to bytes": host} if size == SIDE else {})}
    for name, make in peers.items():
        chosen, runs[name], speeds = best(partial(make, some, size))
        workers[name] = {"chosen": chosen, "images_per_second": {n: round(speed) for n, speed in speeds.items()}}
    if size == SIDE:
        runs |= {"kit, gather": our_host(samples, False), "kit, draw and gather": our_host(samples, True)}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for epoch in runs.values():
        rate(epoch)
    for turn in range(rounds):
        for name in list(runs) if turn % 2 else list(runs)[::-1]:
            taken[name].append(rate(runs[name]))

    def ratio(mine: str, *others: str) -> float:
        """The median over the rounds of what kit does beside the best of the others in the same round."""
        turns = [(taken[mine][turn], max(taken[other][turn] for other in others)) for turn in range(rounds)]
        return round(median(a / b for a, b in turns), 2)

    ratios = {
        "best peer": ratio("kit", *PEERS),
        **{name: ratio("kit", name) for name in PEERS},
        "bare calls": ratio("kit", "bare warp, LUT, float"),
    }
    if size == SIDE:
        ratios["gather / DataLoader to bytes"] = ratio("kit, gather", "DataLoader to bytes")
        ratios["draw and gather / DataLoader to bytes"] = ratio("kit, draw and gather", "DataLoader to bytes")
    speeds = {name: round(median(values)) for name, values in taken.items()}
    return {"ratios": ratios, "images_per_second": speeds, "workers": workers}


def main(count: int = 2048, rounds: int = 5) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        names = patches.write(folder, count)
        sizes = {f"{size} px": compare(folder, names, size, rounds) for size in (SIDE, 224)}
    machine.write("pipeline", {"patches": count, "rounds": rounds, "batch": BATCH, **sizes})


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
