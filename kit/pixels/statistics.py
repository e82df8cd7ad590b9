"""Mean and standard deviation of the channels: of all training images, of each image, or of those that belong together.

`mean = "data"` measures one pair for the whole data set. `normalize` chooses whose statistics normalise an image: its
own (`image`), those of all images with which it shares a column of the index (`plate`, `experiment`), or those of the
negative controls on its plate (`control`).
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
from kit.files import atomic
from kit.hooks.specs import DatasetSpec
from kit.pixels.pack import Packed, Split, frame_of, packs_for

IMAGES = 1000
SEED = 0
CHANNELS, IMAGE, CONTROL = "channels", "image", "control"
PLATE = "plate"
SMALLEST = 1 / 255  # of a standard deviation: an empty channel is only centred
BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each image's channels, float32 nxC, of pixels in 0..1."""

    mean: np.ndarray
    std: np.ndarray

    def of(self, rows: np.ndarray) -> "ChannelStatistics":
        """Those of some images."""
        return ChannelStatistics(self.mean[rows], self.std[rows])

    def followed_by(self, other: "ChannelStatistics") -> "ChannelStatistics":
        """Those of these images and then of others."""
        return ChannelStatistics(np.concatenate([self.mean, other.mean]), np.concatenate([self.std, other.std]))


def channel_statistics(dataset: DatasetSpec, index: Index, console: Console) -> tuple[list[float], list[float]]:
    """Mean and standard deviation a channel over all pixels, as shares of white (0..1).

    Of all training images where there are at most `IMAGES`, otherwise of that many drawn with a fixed seed.
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
    """Refuse a way to normalise that this index knows nothing of."""
    columns = [
        name for name in index.train if name not in ("id", "files", "target", "group", "sample", *index.metadata)
    ]
    known = [CHANNELS, IMAGE, *([CONTROL] if len(index.controls) else []), *columns]
    if way not in known:
        raise KitError(f"normalize = {way!r} is none of {', '.join(known)}: --set normalize=NAME")


def row_statistics(
    store: Store, index: Index, split: Split, config: TrainConfig, console: Console
) -> ChannelStatistics | None:
    """By what each image of a split is normalised; None: all by the run's mean and standard deviation.

    Statistics are those that the dataset brings (`DatasetSpec.statistics`) or else those of the pixels at the size of
    the configuration. What belongs together is taken together from all splits of the index.
    """
    way = config.normalize
    if way == CHANNELS:
        return None
    if way == IMAGE:
        return _statistics(*_moments(store, index, split, config, console))
    frame, column = frame_of(index, split), PLATE if way == CONTROL else way
    wanted = set(frame[column])
    keys: list[np.ndarray] = []
    moments: list[tuple[np.ndarray, np.ndarray]] = []
    splits: tuple[Split, ...] = ("controls",) if way == CONTROL else ("train", "test", "controls")
    for other in splits:
        rows = frame_of(index, other)
        useful = rows[column].isin(wanted).to_numpy() if column in rows else np.zeros(len(rows), bool)
        if way == CONTROL:
            useful = useful & rows["negative"].to_numpy(bool)
        if useful.any():
            keys.append(rows[column].to_numpy(object)[useful])
            mean, square = _moments(store, index, other, config, console)
            moments.append((mean[useful], square[useful]))
    codes, known = pd.factorize(np.concatenate(keys) if keys else np.empty(0, object))
    number = pd.Index(known).get_indexer(pd.Index(frame[column]))
    if (number < 0).any():
        lacking = sorted(set(frame[column][number < 0]))
        raise KitError(
            f"normalize = {way}: {len(lacking)} plates have no image of a negative control, the first is {lacking[0]}: "
            "--set normalize=plate"
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
    """Mean and mean square of each image's channels, of pixels in 0..1, nxC; kept beside the data once measured."""
    if store.dataset.statistics is not None:
        brought = store.dataset.statistics(index, frame_of(index, split))
        if brought is not None:
            return brought[0], brought[1] ** 2 + brought[0] ** 2
    pack = packs_for(store, index, split, config, (config.size,), console).get(config.size)
    if pack is None:
        return _measured(_read(store, index, split, config.size), len(frame_of(index, split)), split, console)
    name = hashlib.sha256(pack.digest.encode()).hexdigest()[:16]
    path = store.own / f"statistics-{store.dataset.name}-{split}-{pack.size}-{name}.npy"
    if not path.is_file():
        for old in path.parent.glob(f"statistics-{store.dataset.name}-{split}-{pack.size}-*.npy"):
            old.unlink()
        found = np.stack(_measured(_blocks(pack), pack.count, split, console))
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, found)
    mean, square = np.load(path, allow_pickle=False)
    return mean, square


def _blocks(pack: Packed) -> Iterator[np.ndarray]:
    step = max(1, BLOCK_BYTES // pack.layout.row_bytes)
    for start in range(0, pack.count, step):
        yield np.asarray(pack.pixels[start : start + step])


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
    """Sum of the grey levels, and of their squares, of each channel of NxHxWxC uint8: NxC int64."""
    flat = images.reshape(len(images), -1, images.shape[3])
    return flat.sum(1, dtype=np.int64), np.square(flat, dtype=np.uint32).sum(1, dtype=np.int64)
