"""Test-time augmentation (TTA): the views of an image over which predictions are averaged.

Flips and right-angle rotations show the whole image; ordered crops (a grid of crops from enlarged images, as in the
best entry of ISIC 2018 without external data, Gessert et al. 2018) show it at several scales.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd
from torch import Tensor

from kit.config import TrainConfig, validate
from kit.console import Console
from kit.data.index import Index
from kit.data.store import Store
from kit.pixels.pack import Split
from kit.pixels.samples import Samples, samples_of

View = Callable[[Tensor], Tensor]
STEP = 0.5  # the largest distance between neighbouring crops, in crop sides


@dataclass(frozen=True)
class Scale:
    """The views of images with one side (pixels): each turns BxCxsidexside into BxCxsxs, s being the network's size."""

    side: int
    views: tuple[View, ...]


def flip(images: Tensor, number: int) -> Tensor:
    """Apply one of the eight flips and right-angle rotations to BxCxHxW images; 0 is the image itself.

    1, 2, 3 are the flips, so that two views mirror left-right and four need no transposition.
    """
    if number & 1:
        images = images.flip(3)
    if number & 2:
        images = images.flip(2)
    return images.transpose(2, 3) if number & 4 else images


def corners(side: int, size: int) -> list[tuple[int, int]]:
    """Return top and left of ordered crops of `size` from an image of `side` pixels: a grid, row by row, edge to edge.

    Neighbours overlap by half or more, so a scale of 1 has one crop, up to 1.5 four, up to 2 nine.
    """
    count = math.ceil(round((side - size) / size / STEP, 6)) + 1
    places = [round(number * (side - size) / max(count - 1, 1)) for number in range(count)]
    return [(top, left) for top in places for left in places]


def views_of(config: TrainConfig, tta: int | None = None, scales: str | None = None) -> list[Scale]:
    """Return the ordered crops of each scale, each in `tta` flips and rotations; None takes the configuration's value.

    Raises:
        KitError: `tta` is not 1, 2, 4 or 8, or a scale is invalid.
    """
    given = {name: value for name, value in (("tta", tta), ("scales", scales)) if value is not None}
    chosen = validate({**config.model_dump(), **given})
    sides = dict.fromkeys(round(chosen.size * scale) for scale in chosen.scales)
    return [Scale(side, tuple(_views(side, chosen.size, chosen.tta))) for side in sides]


def scaled_samples(
    store: Store, index: Index, split: Split, config: TrainConfig, scale: Scale, console: Console
) -> Callable[[pd.DataFrame], Samples]:
    """Return what `samples_of` does, at the side of a scale."""
    return samples_of(store, index, split, config.model_copy(update={"size": scale.side, "sizes": ()}), console)


def _views(side: int, size: int, flips: int) -> Iterator[View]:
    for top, left in corners(side, size):
        for number in range(flips):
            yield partial(_crop, top=top, left=left, size=size, number=number)


def _crop(images: Tensor, top: int, left: int, size: int, number: int) -> Tensor:
    return flip(images[:, :, top : top + size, left : left + size], number)
