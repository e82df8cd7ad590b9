"""Patches as histopathology has them, 96x96 RGB raw tif, and the same pixels packed as kit packs them."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.images import read_rgb
from kit.data.index import Index
from kit.data.store import Store
from kit.hooks.specs import Competition, DatasetSpec
from kit.pixels.pack import Packed, packed
from kit.pixels.samples import Samples

SIDE = 96


def write(folder: Path, count: int) -> list[str]:
    """Clouds with some grain."""
    random = np.random.default_rng(0)
    names = [f"{number:05d}.tif" for number in range(count)]
    for name in names:
        clouds = cv2.resize(
            random.integers(0, 256, (6, 6, 3)).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
        )
        grain = random.integers(0, 12, clouds.shape, dtype=np.uint8)
        cv2.imwrite(str(folder / name), cv2.add(clouds, grain), [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    return names


def unpack(archive: Path, folder: Path, count: int) -> list[str]:
    """The first training patches of a real archive."""
    with zipfile.ZipFile(archive) as file:
        members = sorted(name for name in file.namelist() if "train/" in name and name.endswith(".tif"))[:count]
        for name in members:
            (folder / Path(name).name).write_bytes(file.read(name))
    return [Path(name).name for name in members]


def store_of(folder: Path, names: list[str]) -> tuple[Store, Index]:
    rows = pd.DataFrame({"id": names, "files": [(name,) for name in names], "target": np.arange(len(names)) % 2})
    index = Index(folder, "binary", ("no", "yes"), rows, rows.iloc[:0])
    dataset = DatasetSpec("patches", 3, lambda root: index, lambda files: read_rgb(files[0]))
    known = Competition("patches", "patches", "patches", "binary", "roc_auc", "patches", "patches", kaggle="none")
    return Store(known, dataset, folder), index


def packs(store: Store, index: Index, *sizes: int) -> dict[int, Packed]:
    return {size: packed(store, index, "train", size, Console(json=True)) for size in sizes}


def samples_of(store: Store, index: Index, size: int) -> Samples:
    return Samples.of(index, index.train, store.dataset, size, packs(store, index, size))
