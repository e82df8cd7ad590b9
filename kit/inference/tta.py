"""Test-time augmentation: the views of an image over which predictions are averaged.

Flips and right angles show the whole image; ordered crops (a grid of crops from enlarged images, as in the best entry
of ISIC 2018 without data of its own, Gessert et al. 2018) show it at several scales.
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
STEP = 0.5  # the largest distance of neighbouring crops, in sides of a crop


@dataclass(frozen=True)
class Scale:
    """The views of images of one side (pixels): each gives BxCxsxs, s being the network's size, from BxCxsidexside."""

    side: int
    views: tuple[View, ...]


def flip(images: Tensor, number: int) -> Tensor:
    """One of the eight flips and right-angle rotations of BxCxHxW images; 0 is the image itself.

    1, 2, 3 are the flips, so that two views mirror left-right and four need no transposition.
    """
    if number & 1:
        images = images.flip(3)
    if number & 2:
        images = images.flip(2)
    return images.transpose(2, 3) if number & 4 else images


def corners(side: int, size: int) -> list[tuple[int, int]]:
    """Top and left of ordered crops of `size` from an image of `side` pixels: a grid, row by row, from edge to edge.

    Neighbours overlap by half or more, so a scale of 1 has one crop, of up to 1.5 four, of up to 2 nine.
    """
    count = math.ceil(round((side - size) / size / STEP, 6)) + 1
    places = [round(number * (side - size) / max(count - 1, 1)) for number in range(count)]
    return [(top, left) for top in places for left in places]


def views_of(config: TrainConfig, tta: int | None = None, scales: str | None = None) -> list[Scale]:
    """At each scale its ordered crops, each in `tta` flips and right angles; what is None is the configuration's.

    Raises:
        KitError: neither 1, 2, 4 nor 8 flips, or a scale that is none.
    """
    given = {name: value for name, value in (("tta", tta), ("scales", scales)) if value is not None}
    chosen = validate({**config.model_dump(), **given})
    sides = dict.fromkeys(round(chosen.size * scale) for scale in chosen.scales)
    return [Scale(side, tuple(_views(side, chosen.size, chosen.tta))) for side in sides]


def scaled_samples(
    store: Store, index: Index, split: Split, config: TrainConfig, scale: Scale, console: Console
) -> Callable[[pd.DataFrame], Samples]:
    """As `samples_of`, at the side of a scale."""
    return samples_of(store, index, split, config.model_copy(update={"size": scale.side, "sizes": ()}), console)


def _views(side: int, size: int, flips: int) -> Iterator[View]:
    for top, left in corners(side, size):
        for number in range(flips):
            yield partial(_crop, top=top, left=left, size=size, number=number)


def _crop(images: Tensor, top: int, left: int, size: int, number: int) -> Tensor:
    return flip(images[:, :, top : top + size, left : left + size], number)
