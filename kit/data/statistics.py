"""Mean and standard deviation of the channels, measured on the training images."""

import numpy as np

from kit.console import Console
from kit.data.index import Index
from kit.data.packing import read_sample
from kit.plugin.specs import DatasetSpec

IMAGES = 1000
SEED = 0


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
            image = read_sample(dataset, index.root, files[row]).reshape(-1, dataset.channels)
            pixels += len(image)
            sums += image.sum(0, dtype=np.int64)
            squares += np.square(image, dtype=np.uint32).sum(0, dtype=np.int64)
            bar.advance()
    mean = sums / pixels
    # A channel that never changes is only centred.
    deviation = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    deviation[deviation == 0] = 255
    return [round(value / 255, 6) for value in mean.tolist()], [round(value / 255, 6) for value in deviation.tolist()]
