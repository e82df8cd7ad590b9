"""Read files into arrays of uint8: the pixels that are checked, packed, trained on and shown."""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kit.data.checksums import Checksums, read_unchanged
from kit.errors import KitError
from kit.files import read_cache, replace_cache
from kit.hooks.specs import DatasetSpec
from kit.images.decode import VERSION, decoded, to_bytes
from kit.images.header import Header, opened
from kit.images.levels import Range, range_from, range_of, reading

MEASURED = 2000  # images at most, from which the range of levels is taken


class UnreadableError(KitError):
    """A file that can't be read as an image, and why."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} can't be read as an image ({why}): kit check names all such files")
        self.path, self.why = path, why

    def __reduce__(self) -> tuple[type["UnreadableError"], tuple[Path, str]]:
        return type(self), (self.path, self.why)


def read_pixels(path: Path) -> np.ndarray:
    """Read an image as it is, HxW or HxWx3 uint8; raise `KitError` if it can't be read."""
    return _read(path, None)


def read_rgb(path: Path, levels: Range | None = None) -> np.ndarray:
    """Read a colour image as HxWx3 uint8 in RGB order, upright; a grey one has three equal channels.

    Args:
        path: a file of `kit.images.header.FORMATS`; docs/images.md says how alpha, palettes and the like are read.
        levels: what becomes 0 and 255 where it holds more than eight bits; None: the range of the data set.

    Raises:
        KitError: it can't be read.
    """
    image = _read(path, levels)
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)


def read_only_file(files: tuple[Path, ...]) -> np.ndarray:
    """Read a sample of one file as HxWx3 uint8: what a dataset does that has no reader of its own."""
    return read_rgb(files[0])


def read_grey(path: Path, levels: Range | None = None) -> np.ndarray:
    """Read a one-channel image as HxW uint8, as `read_rgb` does.

    A coloured file (one stain, drawn in its colour) yields the brightest channel of each pixel.
    """
    image = _read(path, levels)
    return image if image.ndim == 2 else image.max(2)


def _read(path: Path, levels: Range | None) -> np.ndarray:
    image, header = _decoded(path)
    if image.dtype == np.uint8:
        return image
    low, high = levels or range_of(image.dtype.name) or _range_of_type(path, image)
    scaled = to_bytes(image, low, high)
    return 255 - scaled if header.is_inverted else scaled


def _decoded(path: Path) -> tuple[np.ndarray, Header]:
    try:
        content, header = opened(path)
        image = decoded(content, header)
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise ValueError("it holds NaN or infinite levels: replace them by numbers")
        return image, header
    except OSError as error:
        raise UnreadableError(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise UnreadableError(path, str(error)) from None


def _range_of_type(path: Path, image: np.ndarray) -> Range:
    """Return the range of an image that belongs to no known data set: that of its type."""
    if image.dtype.kind != "f":
        return float(np.iinfo(image.dtype).min), float(np.iinfo(image.dtype).max)
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise UnreadableError(path, f"its levels {low:g} to {high:g} are not within 0 to 1: give read_rgb their range")
    return 0.0, 1.0


def measured_levels(root: Path, frame: pd.DataFrame, cache: Path) -> Mapping[str, Range]:
    """Return the range of levels of each type of more than eight bits (`kit.images.levels.range_from`).

    It is measured on at most `MEASURED` rows of `frame`, evenly spaced, and kept in `cache` until their files change.

    Args:
        root: the folder that the file names are relative to.
        frame: the training samples, so that other test images change nothing.
        cache: a path without suffix.
    """
    rows = np.unique(np.linspace(0, len(frame) - 1, min(MEASURED, len(frame))).round().astype(int))
    names = [name for row in rows.tolist() for name in frame["files"].iat[row]]
    digest = hashlib.sha256(f"{VERSION}".encode())
    for name in names:
        state = os.stat(root / name) if (root / name).is_file() else None
        digest.update(f"{name}\0{state and (state.st_size, state.st_mtime_ns)}\n".encode())
    kept_at = cache.with_name(f"{cache.name}-{digest.hexdigest()[:16]}.json")
    kept = read_cache(kept_at)
    if kept is None:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            found = [one for one in pool.map(_extent, [root / name for name in names]) if one is not None]
        extents: dict[str, Range] = {}
        for dtype, low, high in found:
            darkest, brightest = extents.get(dtype, (low, high))
            extents[dtype] = min(low, darkest), max(high, brightest)
        kept = json.dumps({dtype: range_from(dtype, *extent) for dtype, extent in extents.items()}).encode()
        replace_cache(kept_at, f"{cache.name}-*.json", kept)
    return {dtype: (low, high) for dtype, (low, high) in json.loads(kept).items()}


def _extent(path: Path) -> tuple[str, float, float] | None:
    """Return the type of an image of more than eight bits, its darkest and its brightest level; None for any other."""
    try:
        _, header = opened(path)
        if not header.is_deep:
            return None
        image, _ = _decoded(path)
    except (KitError, OSError, ValueError):
        return None  # kit check names it
    return None if image.dtype == np.uint8 else (image.dtype.name, float(image.min()), float(image.max()))


def stored_side(size: int, crop: float) -> int:
    """Return the side at which to store images of which the network sees `crop`, a share, at `size` pixels."""
    return round(size / crop)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize HxWxC to size x size x C, any C: by area averaging when it shrinks, bilinearly when it grows."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    shrinks = size < min(height, width)
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    # OpenCV averages at most four channels.
    chunks = [np.ascontiguousarray(image[..., first : first + 4]) for first in range(0, image.shape[2], 4)]
    resized = [cv2.resize(chunk, (size, size), interpolation=interpolation).reshape(size, size, -1) for chunk in chunks]
    return resized[0] if len(resized) == 1 else np.concatenate(resized, axis=2)


def checked_paths(root: Path, files: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the paths of a sample's files; raise `KitError` if one is not what was downloaded."""
    known = Checksums.of(root)
    for name in files:
        known.check_file(name)
    return tuple([root / name for name in files])


def read_sample(dataset: DatasetSpec, root: Path, files: tuple[str, ...]) -> np.ndarray:
    """Read one sample as HxWxC uint8 at its native size.

    Raises:
        KitError: a file, which it names, can't be read, is read as something else, or has changed since it came.
    """
    paths = tuple([root / name for name in files])
    with reading(root):
        image = read_unchanged(lambda: checked_paths(root, files), lambda: dataset.read(paths))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != dataset.channels:
        raise KitError(
            f"{root / files[0]}: read as {image.dtype} {image.shape}, dataset {dataset.name} promises "
            f"uint8 with {dataset.channels} channels: kit check names all such files"
        )
    return image
