"""Figures for `kit explore`: the four channels, and what the protein looks like in each class."""

from collections.abc import Iterator

import cv2
import numpy as np

from kit.plugin import Picture
from kit.plugin.data import Index
from kit.plugin.figures import image_grid, table
from kit.plugin.images import read_grey, resize
from kit_protein.dataset import GREEN, composite, read

HEADINGS = ("composite", "red: microtubules", "green: the protein", "blue: nucleus", "yellow: endoplasmic reticulum")
# RGB colour of each channel at full brightness.
PAINTS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
PANELS, EACH = 6, 4  # images with all channels, green images per class
LARGE, SMALL, GAP = 240, 160, 4  # pixels: sides of the two kinds of picture, white gap between the small ones
WHITE, MOST = 99.8, 4  # percentile that becomes white, largest factor of brightness
DISPLAY = f"brightened for display ({WHITE}th percentile to white, at most {MOST} times)"
SEED = 2


def figures(index: Index) -> Iterator[Picture]:
    """Yield the channels of some training images, each in its colour, and green images of each class."""
    yield _channels(index)
    yield _greens(index)


def brightened(channel: np.ndarray) -> np.ndarray:
    """Brighten a channel (HxW uint8) for display: its 99.8th percentile becomes white, at most 4 times as bright.

    Fluorescence is dark: the mean of the real images is 14 to 20 of 255.
    """
    factor = min(MOST, 255 / max(float(np.percentile(channel, WHITE)), 1))
    return cv2.convertScaleAbs(channel, alpha=factor)


def painted(channel: np.ndarray, paint: tuple[int, int, int]) -> np.ndarray:
    """Colour a channel (HxW uint8), HxWx3 uint8: 255 becomes `paint`."""
    return cv2.merge([channel if level else np.zeros_like(channel) for level in paint])


def _channels(index: Index) -> Picture:
    rows = np.random.default_rng(SEED).permutation(len(index.train))[:PANELS]
    chosen = index.train.iloc[rows]
    lines = []
    for files, target in zip(index.paths(chosen), chosen["target"], strict=True):
        image = resize(cv2.merge([brightened(channel) for channel in cv2.split(read(files))]), LARGE)
        single = [painted(channel, paint) for channel, paint in zip(cv2.split(image), PAINTS, strict=True)]
        lines.append((",\n".join(index.classes[number] for number in target), [composite(image), *single]))
    text = f"Training images with their labels: the four channels together and each in its colour, each {DISPLAY}"
    return Picture("rgby-panels", text, table(lines, HEADINGS, text))


def _greens(index: Index) -> Picture:
    labels = index.targets(index.train) > 0
    alone = labels.sum(1) == 1
    order = np.random.default_rng(SEED).permutation(len(labels))
    order = order[np.argsort(~alone[order], kind="stable")]  # images with a single label first
    files = index.train["files"].array
    mosaics, titles = [], []
    for number, name in enumerate(index.classes):
        rows = order[labels[order, number]][:EACH]
        if len(rows):
            mosaics.append(_mosaic([brightened(read_grey(index.root / files[row][GREEN])) for row in rows]))
            titles.append(f"{name} ({labels[:, number].sum():,})")
    text = (
        "Green channel of each class (number of images in brackets), from images with that label alone if possible, "
        f"each {DISPLAY}"
    )
    if absent := len(index.classes) - len(titles):
        text += f"; {absent} classes have no image"
    return Picture("green-by-class", text, image_grid(mosaics, titles, text, columns=7, side=2.2))


def _mosaic(channels: list[np.ndarray]) -> np.ndarray:
    """Arrange up to four green images (HxW uint8) two by two on white."""
    mosaic = np.full((2 * SMALL + GAP, 2 * SMALL + GAP, 3), 255, np.uint8)
    for place, channel in enumerate(channels):
        top, left = (SMALL + GAP) * (place // 2), (SMALL + GAP) * (place % 2)
        mosaic[top : top + SMALL, left : left + SMALL] = resize(painted(channel, PAINTS[GREEN]), SMALL)
    return mosaic
