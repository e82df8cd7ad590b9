"""Pictures of explained images: the image, each layer's overlay and map side by side, with captions."""

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kit.data.images import resize
from kit.explain.explain import Explained

SIDE = 192  # of a picture in the grid, and the minimum of one in a file of its own; pixels
GAP, MARGIN = 6, 14
HEADING, LINE, TEXT = 20, 19, 13
WIDEST = 2000  # width of the grid, pixels
INK = (40, 40, 40)
WEIGHT = 0.5  # of the map's colours in an overlay


def overlay(image: np.ndarray, map: np.ndarray) -> np.ndarray:
    """Lay a map's colours over its image: blue is cold, red is hot.

    Args:
        image: HxWx3 uint8.
        map: HxW in 0..1.

    Returns:
        HxWx3 uint8, RGB.
    """
    return cv2.addWeighted(image, 1 - WEIGHT, heat(map), WEIGHT, 0)


def heat(map: np.ndarray) -> np.ndarray:
    """Return the colours of a map (HxW in 0..1) alone: HxWx3 uint8, RGB, from blue through green to red."""
    levels = np.rint(np.clip(map, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)


def tile(explained: Explained, side: int) -> np.ndarray:
    """Draw one explained image: pictures of side x side with headings, then label, prediction, and what is shown.

    Returns:
        HxWx3 uint8, RGB; equal sides and numbers of layers give equal sizes.
    """
    pictures = [("image", explained.image)]
    for name, map in explained.maps.items():
        pictures += [(name, overlay(explained.image, map)), ("map", heat(map))]
    width = len(pictures) * (side + GAP) - GAP
    captions = (
        f"label: {explained.label or 'none, a test image'}",
        f"predicted: {explained.predicted}",
        f"shown: {explained.shown}, by fold {explained.fold}",
        f"id: {explained.id}",
    )
    canvas = Image.new("RGB", (width, HEADING + side + len(captions) * LINE + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (heading, picture) in enumerate(pictures):
        left = number * (side + GAP)
        # The end of a layer's name tells more than its beginning.
        draw.text((left, 1), _fitted(heading[::-1], side)[::-1], INK, _font())
        canvas.paste(Image.fromarray(resize(picture, side)), (left, HEADING))
    for number, text in enumerate(captions):
        draw.text((0, HEADING + side + 3 + number * LINE), _fitted(text, width), INK, _font())
    return np.asarray(canvas)


def grid(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Arrange tiles of one size, at least one, row by row on white: HxWx3 uint8."""
    height, width = (side + MARGIN for side in tiles[0].shape[:2])
    columns = min(len(tiles), max(1, WIDEST // width))
    rows = -(-len(tiles) // columns)
    canvas = np.full((rows * height + MARGIN, columns * width + MARGIN, 3), 255, np.uint8)
    for number, picture in enumerate(tiles):
        top, left = (
            MARGIN + place * step for place, step in zip(divmod(number, columns), (height, width), strict=True)
        )
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


@lru_cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load DejaVu Sans, which covers most alphabets, from beside matplotlib's code; without it Pillow's own font."""
    with contextlib.suppress(ImportError):
        found = find_spec("matplotlib")
        for folder in (found and found.submodule_search_locations) or ():
            path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
            if path.is_file():
                return ImageFont.truetype(path, TEXT)
    return ImageFont.load_default(TEXT)


def _fitted(text: str, width: int) -> str:
    """Shorten a text to a width in pixels."""
    text = " ".join(text.split())
    if _font().getlength(text) <= width:
        return text
    while text and _font().getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
