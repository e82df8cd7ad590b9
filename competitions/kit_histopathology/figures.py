"""Figures for `kit explore`: which pixels the label describes, and patches of both classes."""

from collections.abc import Iterator

import numpy as np

from kit.plugin import Picture
from kit.plugin.data import Index
from kit.plugin.figures import image_grid, panel
from kit_histopathology.dataset import read

CENTRE = (32, 32, 32, 32)  # left, top, width, height
SEED = 1


def figures(index: Index) -> Iterator[Picture]:
    """Yield up to 64 patches with the decisive centre framed, and a panel of patches with and without tumour."""
    rng = np.random.default_rng(SEED)
    targets = index.train["target"].to_numpy()
    rows = rng.permutation(len(targets))[:64]
    text = f"{len(rows)} training patches: the label describes the framed centre, 32x32 pixels"
    titles = [index.classes[target] for target in targets[rows]]
    yield Picture("centre-box", text, image_grid(_images(index, rows), titles, text, box=CENTRE))

    blocks = []
    for target, name in ((1, "tumour in the centre (label 1)"), (0, "no tumour in the centre (label 0)")):
        rows = rng.permutation(np.flatnonzero(targets == target))[:24]
        blocks.append((name, _images(index, rows)))
    text = "Positive and negative training patches"
    yield Picture("positive-negative", text, panel(blocks, text))


def _images(index: Index, rows: np.ndarray) -> list[np.ndarray]:
    return [read(files) for files in index.paths(index.train.iloc[rows])]
