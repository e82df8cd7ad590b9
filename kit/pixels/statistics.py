"""Mean and standard deviation per channel: of all training images, of each image, or of images that belong together.

`mean = "data"` measures one pair for the whole data set. `normalize` chooses whose statistics normalise an image: its
own (`image`), those of all images with the same value in a column of the index, or those of the negative controls
with the same value of `Index.controlled_by` (`control`).
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.config import TrainConfig
from kit.console import Console
from kit.data.images import read_sample, resize
from kit.data.index import Index
from kit.data.store import Store
from kit.errors import KitError
from kit.files import read_cache, replace_cache
from kit.hooks.specs import DatasetSpec
from kit.pixels.pack import Packed, Split, packs_for
from kit.pixels.pack_sources import frame_of

IMAGES = 1000
SEED = 0
CHANNELS, IMAGE, CONTROL = "channels", "image", "control"
SMALLEST = 1 / 255  # the smallest standard deviation: an empty channel is only centred
BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each image's channels, float32 nxC, of pixels in 0..1."""

    mean: np.ndarray
    std: np.ndarray

    def of(self, rows: np.ndarray) -> "ChannelStatistics":
        """Return the statistics of some of the images."""
        return ChannelStatistics(self.mean[rows], self.std[rows])

    def followed_by(self, other: "ChannelStatistics") -> "ChannelStatistics":
        """Return the statistics of these images followed by those of others."""
        return ChannelStatistics(np.concatenate([self.mean, other.mean]), np.concatenate([self.std, other.std]))


def channel_statistics(dataset: DatasetSpec, index: Index, console: Console) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel over all pixels, as fractions of white (0..1).

    Measured on all training images if there are at most `IMAGES`, otherwise on that many drawn with a fixed seed.
    """
    rows = np.sort(np.random.default_rng(SEED).permutation(len(index.train))[:IMAGES])
    files = index.train["files"].array
    pixels = 0
    sums, squares = np.zeros(dataset.channels), np.zeros(dataset.channels)
    with console.progress("channel statistics", len(rows)) as bar:
        for row in rows:
            image = read_sample(dataset, index.root, files[row])
            (total,), (square,) = _sums(image[None])
            pixels += image.shape[0] * image.shape[1]
            sums += total
            squares += square
            bar.advance()
    mean = sums / pixels
    deviation = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    # A channel that never changes is only centred.
    deviation[deviation == 0] = 255
    return [round(value / 255, 6) for value in mean.tolist()], [round(value / 255, 6) for value in deviation.tolist()]


def check_normalize(index: Index, way: str) -> None:
    """Refuse a normalisation that this index does not support."""
    columns = [
        name for name in index.train if name not in ("id", "files", "target", "group", "sample", *index.metadata)
    ]
    known = [CHANNELS, IMAGE, *([CONTROL] if index.controlled_by else []), *columns]
    if way not in known:
        raise KitError(f"normalize = {way!r} is not one of {', '.join(known)}: --set normalize=NAME")


def row_statistics(
    store: Store, index: Index, split: Split, config: TrainConfig, console: Console
) -> ChannelStatistics | None:
    """Return the statistics that normalise each image of a split; None: the run's mean and standard deviation for all.

    They come from the dataset (`DatasetSpec.statistics`) if it provides them, otherwise from the pixels at the size of
    the configuration. Images that belong together are pooled across all splits of the index.
    """
    method = config.normalize
    if method == CHANNELS:
        return None
    if method == IMAGE:
        return _statistics(*_moments(store, index, split, config, console))
    frame, column = frame_of(index, split), index.controlled_by if method == CONTROL else method
    wanted = set(frame[column])
    keys: list[np.ndarray] = []
    moments: list[tuple[np.ndarray, np.ndarray]] = []
    splits: tuple[Split, ...] = ("controls",) if method == CONTROL else ("train", "test", "controls")
    for other in splits:
        rows = frame_of(index, other)
        useful = rows[column].isin(wanted).to_numpy() if column in rows else np.zeros(len(rows), bool)
        if method == CONTROL:
            useful = useful & rows["negative"].to_numpy(bool)
        if useful.any():
            keys.append(rows[column].to_numpy(object)[useful])
            mean, square = _moments(store, index, other, config, console)
            moments.append((mean[useful], square[useful]))
    codes, known = pd.factorize(np.concatenate(keys) if keys else np.empty(0, object))
    number = pd.Index(known).get_indexer(pd.Index(frame[column]))
    if (number < 0).any():
        missing = sorted(set(frame[column][number < 0]))
        raise KitError(
            f"normalize = {method}: no image of a negative control for {len(missing)} values of {column}, the first is "
            f"{missing[0]}: --set normalize={column}"
        )
    counts = np.bincount(codes)[:, None]
    sums = [np.zeros((len(known), store.dataset.channels)) for _ in range(2)]
    for total, values in zip(sums, zip(*moments, strict=True), strict=True):
        np.add.at(total, codes, np.concatenate(values))
    return _statistics(sums[0] / counts, sums[1] / counts).of(number)


def _statistics(mean: np.ndarray, square: np.ndarray) -> ChannelStatistics:
    deviation = np.sqrt(np.maximum(square - mean**2, SMALLEST**2))
    return ChannelStatistics(mean.astype(np.float32), deviation.astype(np.float32))


def _moments(
    store: Store, index: Index, split: Split, config: TrainConfig, console: Console
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and mean square of each image's channels, of pixels in 0..1, nxC; cached beside the data."""
    if store.dataset.statistics is not None:
        provided = store.dataset.statistics(index, frame_of(index, split))
        if provided is not None:
            return provided[0], provided[1] ** 2 + provided[0] ** 2
    pack = packs_for(store, index, split, config, (config.size,), console).get(config.size)
    if pack is None:
        return _measured(_read(store, index, split, config.size), len(frame_of(index, split)), split, console)
    name = hashlib.sha256(pack.digest.encode()).hexdigest()[:16]
    path = store.own / f"statistics-{store.dataset.name}-{split}-{pack.size}-{name}.npy"
    shape = (2, pack.count, store.dataset.channels)
    kept = read_cache(path)
    if kept is None or len(kept) != np.prod(shape) * np.dtype(np.float64).itemsize:
        kept = np.stack(_measured(_blocks(pack), pack.count, split, console)).tobytes()
        replace_cache(path, f"statistics-{store.dataset.name}-{split}-{pack.size}-*.npy", kept)
    mean, square = np.frombuffer(kept, np.float64).reshape(shape)
    return mean, square


def _blocks(pack: Packed) -> Iterator[np.ndarray]:
    step = max(1, BLOCK_BYTES // pack.layout.row_bytes)
    for start in range(0, pack.count, step):
        rows = np.arange(start, min(start + step, pack.count))
        yield np.asarray(pack.verified(rows)[start : start + step])


def _read(store: Store, index: Index, split: Split, size: int) -> Iterator[np.ndarray]:
    for files in frame_of(index, split)["files"]:
        yield resize(read_sample(store.dataset, index.root, files), size)[None]


def _measured(blocks: Iterable[np.ndarray], count: int, split: str, console: Console) -> tuple[np.ndarray, np.ndarray]:
    means, squares = [], []
    with console.progress(f"statistics of {split}", count) as bar:
        for block in blocks:
            sums, square = _sums(block)
            area = block.shape[1] * block.shape[2]
            means.append(sums / area / 255)
            squares.append(square / area / 255**2)
            bar.advance(len(block))
    return np.concatenate(means), np.concatenate(squares)


def _sums(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the grey levels, and their squares, per image and channel of NxHxWxC uint8: NxC int64 each."""
    flat = images.reshape(len(images), -1, images.shape[3])
    return flat.sum(1, dtype=np.int64), np.square(flat, dtype=np.uint32).sum(1, dtype=np.int64)
