"""Augmentation: kit's one warp over packed pixels beside albumentations over files, and beside the bare calls.

    python benchmarks/warp_paths.py [PATCHES] [REPEATS]

Patches of 96x96 (LZW tif, RGB); flips, right angles, rotation, zoom, shear, shift, brightness and contrast; to
normalised float32 batches of 64 at 96 and 224 px; two threads or two worker processes. One round times every path once;
printed are medians over rounds, images/s.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import machine
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from kit.config import TrainConfig
from kit.data.pixels import read_rgb
from kit.model.batches import Loader, Normalize, Samples
from kit.model.warp import draw, gather, warp_batch, warp_normalized
from kit.plugin.specs import DatasetSpec
from kit.training.augment import make_augment, standard_steps

SIDE, BATCH, MEAN, STD = 96, 64, (0.7, 0.54, 0.69), (0.24, 0.28, 0.22)
STEPS = {"flip": True, "rot90": True, "rotate": 20, "zoom": 0.1, "shear": 5, "shift": 0.05, "brightness": 0.15,
         "contrast": 0.15}  # fmt: skip


PEERS = ("albumentations + cv2, 2 workers", "kit from files, 2 workers")
BARE, OURS = "bare warp + LUT + float, 2 threads", "kit packed, 2 threads"


def config(size: int) -> TrainConfig:
    return TrainConfig(competition="c", dataset="d", loss="bce", size=size, **STEPS)


def make(folder: Path, count: int) -> tuple[list[tuple[Path, ...]], np.ndarray]:
    """Patches as files and as a memory-mapped array."""
    random = np.random.default_rng(0)
    packed = np.lib.format.open_memmap(folder / "packed.npy", "w+", np.uint8, (count, SIDE, SIDE, 3))
    paths = []
    for number in range(count):
        packed[number] = cv2.GaussianBlur(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8), (0, 0), 1.5)
        paths.append((folder / f"{number}.tif",))
        cv2.imwrite(str(paths[-1][0]), packed[number])
    packed.flush()
    return paths, np.load(folder / "packed.npy", mmap_mode="r")


def plan(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(1)
    order, seeds = random.permutation(count), random.integers(0, 2**31, count)
    return [(order[a : a + BATCH], seeds[a : a + BATCH]) for a in range(0, count, BATCH)]


def packed_path(images: np.ndarray, size: int, threads: int) -> Callable[[list], Iterator]:
    buffer = torch.empty((BATCH, size, size, 3))

    def run(batches: list) -> Iterator:
        for rows, seeds in batches:
            parameters = draw(config(size), seeds, (SIDE, SIDE), size)
            yield warp_normalized(images, rows, parameters, size, MEAN, STD, buffer[: len(rows)], threads)

    return run


def fresh_path(images: np.ndarray, size: int) -> Callable[[list], Iterator]:
    """New memory for every batch."""

    def run(batches: list) -> Iterator:
        for rows, seeds in batches:
            parameters = draw(config(size), seeds, (SIDE, SIDE), size)
            yield warp_normalized(images, rows, parameters, size, MEAN, STD, threads=2)

    return run


def uint8_path(images: np.ndarray, size: int) -> Callable[[list], Iterator]:
    normalize = Normalize(MEAN, STD)

    def run(batches: list) -> Iterator:
        for rows, seeds in batches:
            parameters = draw(config(size), seeds, (SIDE, SIDE), size)
            yield normalize(torch.from_numpy(warp_batch(images, rows, parameters, size, threads=2)))

    return run


def bare_path(images: np.ndarray, size: int) -> Callable[[list], Iterator]:
    """One cv2.warpAffine, one cv2.LUT and one conversion an image, the same matrix always, in two threads."""
    images = np.asarray(images)
    matrix = draw(config(size), np.array([3]), (SIDE, SIDE), size).matrices[0]
    table, pool = np.arange(256, dtype=np.uint8), ThreadPoolExecutor(2)
    buffer = np.empty((BATCH, size, size, 3), np.float32)

    def half(rows: np.ndarray, out: np.ndarray) -> None:
        for place, row in enumerate(rows):
            warped = cv2.warpAffine(images[row], matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                    borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip
            out[place] = cv2.LUT(warped, table)

    def run(batches: list) -> Iterator:
        for rows, _ in batches:
            out, middle = buffer[: len(rows)], len(rows) // 2
            list(pool.map(half, (rows[:middle], rows[middle:]), (out[:middle], out[middle:])))
            yield out

    return run


def grid_sample_path(images: np.ndarray, size: int) -> Callable[[list], Iterator]:
    from kit.model.warp import DeviceWarp

    warp = DeviceWarp(config(size), size)
    mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))

    def run(batches: list) -> Iterator:
        for rows, seeds in batches:
            packed = torch.from_numpy(draw(config(size), seeds, (SIDE, SIDE), size).packed())
            yield warp(torch.from_numpy(gather(images, rows)), packed).sub_(mean).div_(std)

    return run


def remap_path(images: np.ndarray, size: int) -> Callable[[list], Iterator]:
    """Maps by numpy, then cv2.remap, in two threads; brightness and normalisation as kit does them."""
    images, pool = np.asarray(images), ThreadPoolExecutor(2)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    buffer = np.empty((BATCH, size, size, 3), np.float32)

    def half(rows: np.ndarray, matrices: np.ndarray, out: np.ndarray) -> None:
        table = np.zeros((1, 256, 3), np.float32)
        for place, row in enumerate(rows):
            m = matrices[place].astype(np.float32)
            warped = cv2.remap(images[row], x * m[0, 0] + y * m[0, 1] + m[0, 2], x * m[1, 0] + y * m[1, 1] + m[1, 2],
                               cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip
            cv2.LUT(warped, table, dst=out[place])

    def run(batches: list) -> Iterator:
        for rows, seeds in batches:
            matrices = draw(config(size), seeds, (SIDE, SIDE), size).matrices
            out, middle = buffer[: len(rows)], len(rows) // 2
            list(pool.map(half, (rows[:middle], rows[middle:]), (matrices[:middle], matrices[middle:]),
                          (out[:middle], out[middle:])))  # fmt: skip
            yield out

    return run


class Peer(Dataset):
    """albumentations + cv2 as its documentation writes it: one image an item."""

    def __init__(self, paths: list[tuple[Path, ...]], size: int) -> None:
        import albumentations as A

        self.paths = paths
        self.steps = A.Compose([A.Resize(size, size), *standard_steps(config(size)), A.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        return torch.from_numpy(self.steps(image=read_rgb(self.paths[row][0]))["image"])


def peer_path(paths: list[tuple[Path, ...]], size: int) -> Callable[[list], Iterator]:
    def worker(_: int) -> None:
        cv2.setNumThreads(0)

    order: list[np.ndarray] = []
    loader = DataLoader(Peer(paths, size), batch_sampler=order, num_workers=2, persistent_workers=True,
                        worker_init_fn=worker)  # fmt: skip

    def run(batches: list) -> Iterator:
        order[:] = [rows.tolist() for rows, _ in batches]
        for images in loader:
            yield images.permute(0, 3, 1, 2)

    return run


def files_path(paths: list[tuple[Path, ...]], size: int, workers: int) -> Callable[[list], Iterator]:
    """kit without packed pixels: albumentations' steps, normalised as a batch."""
    spec = DatasetSpec("d", 3, index=lambda root: None, read=lambda files: read_rgb(files[0]))
    samples = Samples(paths, np.zeros((len(paths), 1), np.float32), np.zeros((len(paths), 0), np.float32), spec, size)
    loader = Loader(samples, make_augment(config(size), Path()), workers, torch.device("cpu"))
    normalize = Normalize(MEAN, STD)

    def run(batches: list) -> Iterator:
        for batch in loader.batches(batches):
            yield normalize(batch.images)

    return run


def gather_paths(images: np.ndarray) -> dict[str, Callable[[list], Iterator]]:
    """What the CPU does beside a GPU."""
    plain, out = np.asarray(images), np.empty((BATCH, SIDE, SIDE, 3), np.uint8)
    tensor, target = torch.from_numpy(np.load(images.filename, mmap_mode="c")), torch.from_numpy(out)

    def by_row(rows: np.ndarray) -> None:
        for place, row in enumerate(rows.tolist()):
            out[place] = plain[row]

    ways: dict[str, Callable[[np.ndarray], object]] = {
        "gather, kit": lambda rows: gather(images, rows, out[: len(rows)]),
        "gather, sorted rows": lambda rows: gather(images, np.sort(rows), out[: len(rows)]),
        "gather, np.take": lambda rows: np.take(plain, rows, 0, out[: len(rows)]),
        "gather, row by row": by_row,
        "gather, fancy index": lambda rows: plain[rows],
        "gather, index_select": lambda rows: torch.index_select(tensor, 0, torch.from_numpy(rows),
                                                                out=target[: len(rows)]),
    }  # fmt: skip
    found: dict[str, Callable[[list], Iterator]] = {
        name: (lambda batches, way=way: (way(rows) for rows, _ in batches)) for name, way in ways.items()
    }
    found["draw alone"] = lambda batches: (draw(config(SIDE), seeds, (SIDE, SIDE), SIDE) for _, seeds in batches)
    return found


def rate(run: Callable[[list], Iterator], batches: list) -> tuple[float, float]:
    """Images a second, and this process' own processor time an image in microseconds."""
    images, began, worked = sum(len(rows) for rows, _ in batches), time.perf_counter(), time.process_time()
    for _ in run(batches):
        pass
    return images / (time.perf_counter() - began), (time.process_time() - worked) / images * 1e6


def main(count: int = 2048, repeats: int = 7) -> None:
    torch.set_num_threads(2)
    speeds: dict[str, dict[str, float]] = {}
    costs: dict[str, dict[str, float]] = {}
    ratios: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths, images = make(Path(folder), count)
        batches = plan(count)
        for size in (SIDE, 224):
            runs = {
                PEERS[0]: peer_path(paths, size),
                PEERS[1]: files_path(paths, size, 2),
                "kit from files, in process": files_path(paths, size, 0),
                BARE: bare_path(images, size),
                "cv2.remap, 2 threads": remap_path(images, size),
                "grid_sample on the CPU": grid_sample_path(images, size),
                "uint8, then Normalize, 2 threads": uint8_path(images, size),
                "kit packed, 2 threads, new memory": fresh_path(images, size),
                "kit packed, 1 thread": packed_path(images, size, 1),
                OURS: packed_path(images, size, 2),
                **(gather_paths(images) if size == SIDE else {}),
            }
            some = batches if size == SIDE else batches[: len(batches) // 2]
            for run in runs.values():
                rate(run, batches[:4])
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
            for _ in range(repeats):
                for name, run in runs.items():
                    taken[name].append(rate(run, some))
            found = speeds[f"{size} px"] = {name: round(median(v[0] for v in values)) for name, values in taken.items()}
            costs[f"{size} px"] = {
                name: round(median(v[1] for v in values), 1) for name, values in taken.items() if "worker" not in name
            }
            ratios[f"{size} px"] = {
                "best peer": round(found[OURS] / max(found[name] for name in PEERS), 2),
                "bare calls": round(found[OURS] / found[BARE], 2),
            }
    result = {"patches": count, "repeats": repeats, "times": ratios, "images a second": speeds,
              "processor microseconds an image": costs}  # fmt: skip
    machine.write("warp_paths", result)


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
