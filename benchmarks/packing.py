"""How fast `kit pack` decodes beside bare processes that do nothing else with the fastest decoder: a ratio of images/s.

For each kind of image the decoders that are installed are first timed against each other; the fastest becomes the bare
loop: as many processes as kit has, each with its share of the files and no word between them. It is timed twice, when
it only decodes (and shrinks, where kit must), and when it also puts the rows into a memory-mapped file. kit also
finds its work in chunks, holds the shape of every image against the promise, sums checksums and writes a journal. Which
of the sides goes first alternates; ratios are medians over the rounds. All files are in the page cache. Where others
use the machine, processor time (user and system, of all processes) scatters less than wall time; both ratios are given.

    python benchmarks/packing.py [SCALE [ROUNDS]]        SCALE 1: 10,000 tif, 1,500 png, 3,000 jpg; 5 rounds
"""

import importlib.util
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.images import read_grey, read_rgb, resize
from kit.data.index import Index
from kit.data.store import Store
from kit.data.verify import cores
from kit.hooks.specs import Competition, DatasetSpec
from kit.pixels.pack import packed

Decoder = Callable[[str], np.ndarray]
FORK = multiprocessing.get_context("fork")
# kind: (ending, height, width, channels, side of the pack, images at scale 1)
KINDS = {
    "tif 96x96": ("tif", 96, 96, 3, 96, 10_000),
    "png 512x512 grey": ("png", 512, 512, 1, 512, 1_500),
    "jpg 600x450": ("jpg", 450, 600, 3, 224, 3_000),
}


def whole(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 26)
    finally:
        os.close(descriptor)


def decoders(ending: str, channels: int) -> dict[str, Decoder]:
    """Decoders to uint8 HxWxC in RGB order, by name; each in the fastest way that its documentation shows."""
    flags = cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE)
    bgr = cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR
    found: dict[str, Decoder] = {
        "OpenCV imread": lambda path: cv2.imread(path, flags),
        "OpenCV imdecode": lambda path: cv2.imdecode(np.frombuffer(whole(path), np.uint8), flags),
    }

    if channels == 3:
        found["OpenCV imread, cvtColor"] = lambda path: cv2.cvtColor(cv2.imread(path, bgr), cv2.COLOR_BGR2RGB)

    def pillow(path: str) -> np.ndarray:
        from PIL import Image

        with Image.open(path) as image:
            return np.asarray(image)

    def torchvision(path: str) -> np.ndarray:
        from torchvision.io import ImageReadMode, decode_image, read_file

        mode = ImageReadMode.RGB if channels == 3 else ImageReadMode.GRAY
        return decode_image(read_file(path), mode).permute(1, 2, 0).numpy()

    def simplejpeg(path: str) -> np.ndarray:
        import simplejpeg

        return simplejpeg.decode_jpeg(whole(path))

    found["Pillow"] = pillow
    if ending != "tif":
        found["torchvision.io"] = torchvision
    if ending == "jpg" and importlib.util.find_spec("simplejpeg"):
        found["simplejpeg"] = simplejpeg
    return found


def share(decode: Decoder, paths: list[str], rows: np.ndarray | None, side: int, ready: Any, go: Any) -> None:
    """One bare process: decode, shrink to `side`, and store where `rows` are given."""
    cv2.setNumThreads(0)
    decode(paths[0])
    ready.release()
    go.acquire()
    for row, path in enumerate(paths):
        image = resize(decode(path), side)
        if rows is not None:
            rows[row] = image.reshape(-1)


def bare(decode: Decoder, paths: list[str], side: int, out: str = "") -> float:
    """Images a second of bare processes, from the moment that all have started."""
    rows = None
    if out:
        Path(out).unlink(missing_ok=True)
        rows = np.memmap(out, np.uint8, "w+", shape=(len(paths), resize(decode(paths[0]), side).size))
    ready, go, count = FORK.Semaphore(0), FORK.Semaphore(0), cores()
    edges = [len(paths) * part // count for part in range(count + 1)]
    processes = [
        FORK.Process(target=share, args=(decode, paths[a:b], None if rows is None else rows[a:b], side, ready, go))
        for a, b in pairwise(edges)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    began = time.perf_counter()
    for _ in processes:
        go.release()
    for process in processes:
        process.join()
    return len(paths) / (time.perf_counter() - began)


def ours(store: Store, index: Index, side: int) -> float:
    """Images a second of kit's pass, as it reports them."""
    shutil.rmtree(store.root / ".kit", ignore_errors=True)
    rate = packed(store, index, "train", side, Console(json=True)).images_per_second
    return rate or 0.0


def processor() -> float:
    """Seconds of processor time that this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def write_images(folder: Path, ending: str, height: int, width: int, channels: int, count: int) -> list[str]:
    """Clouds with some grain, which png and jpg compress about as they do microscope images."""
    random = np.random.default_rng(0)
    names = [f"{number:06d}.{ending}" for number in range(count)]
    for name in names:
        clouds = random.integers(0, 256, (max(2, height // 16), max(2, width // 16), channels)).astype(np.uint8)
        image = cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
        grain = random.integers(0, 12, image.shape, dtype=np.uint8)
        flags = [cv2.IMWRITE_TIFF_COMPRESSION, 1] if ending == "tif" else []
        cv2.imwrite(str(folder / name), cv2.add(image, grain), flags)
    return names


def compare(folder: Path, kind: str, scale: float, rounds: int) -> dict[str, Any]:
    ending, height, width, channels, side, count = KINDS[kind]
    names = write_images(folder, ending, height, width, channels, max(64, round(count * scale)))
    paths = [str(folder / name) for name in names]
    read = (lambda files: read_rgb(files[0])) if channels == 3 else (lambda files: read_grey(files[0])[..., None])
    rows = pd.DataFrame({"id": names, "files": [(name,) for name in names], "target": 0})
    index = Index(folder, "binary", ("no", "yes"), rows, rows.iloc[:0])
    dataset = DatasetSpec("benchmark", channels, lambda root: index, read)
    competition = Competition("benchmark", "benchmark", "benchmark", "binary", "roc_auc", "benchmark", "benchmark")
    store = Store(competition, dataset, folder)

    known = decoders(ending, channels)
    speeds = dict.fromkeys(known, 0.0)
    for name in [*known] * 3:
        speeds[name] = max(speeds[name], bare(known[name], paths, side))
    fastest = max(speeds, key=lambda name: speeds[name])
    decode, out = known[fastest], str(folder / "bare.pixels")
    runs: dict[str, list[float]] = {"kit": [], "decode": [], "store": []}
    work: dict[str, list[float]] = {which: [] for which in runs}
    for turn in range(rounds):
        for which in list(runs) if turn % 2 else list(runs)[::-1]:
            os.sync()  # what the run before has left to be written is not this one's
            began = processor()
            if which == "kit":
                runs[which].append(ours(store, index, side))
            else:
                runs[which].append(bare(decode, paths, side, out if which == "store" else ""))
            work[which].append(processor() - began)

    def ratio(some: list[float], others: list[float]) -> float:
        return round(statistics.median(a / b for a, b in zip(some, others, strict=True)), 3)

    return {
        "images": len(names),
        "side": side,
        "decoders_images_per_second": {name: round(speed) for name, speed in speeds.items()},
        "fastest": fastest,
        "wall_ratio": ratio(runs["kit"], runs["store"]),
        "wall_ratio_to_decoding_alone": ratio(runs["kit"], runs["decode"]),
        "processor_ratio": ratio(work["store"], work["kit"]),
        "processor_ratio_to_decoding_alone": ratio(work["decode"], work["kit"]),
        **{f"{which}_images_per_second": [round(speed) for speed in run] for which, run in runs.items()},
    }


def main() -> None:
    scale, rounds = [*map(float, sys.argv[1:]), *(1.0, 5.0)[len(sys.argv) - 1 :]]
    kinds = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as name:
            kinds[kind] = compare(Path(name).resolve(), kind, scale, round(rounds))
    machine.write("packing", {"processes": cores(), "kinds": kinds})


if __name__ == "__main__":
    main()
