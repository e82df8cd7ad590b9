"""Pictures of explained images: the image, each layer's overlay and map side by side, with words under them."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kit.data.images import resize
from kit.explain.explain import Explained, heat, overlay

SIDE = 192  # of a picture in the grid, and the least of one in a file of its own; pixels
GAP, MARGIN = 6, 14
HEADING, LINE, TEXT = 20, 19, 13
WIDEST = 2000  # of the grid
INK = (40, 40, 40)


def tile(explained: Explained, side: int) -> np.ndarray:
    """One image explained: pictures of side x side with headings, then label, prediction, and what is shown.

    Returns:
        HxWx3 uint8, RGB; equal sides and numbers of layers give equal sizes.
    """
    pictures = [("image", explained.image)]
    for name, map in explained.maps.items():
        pictures += [(name, overlay(explained.image, map)), ("map", heat(map))]
    width = len(pictures) * (side + GAP) - GAP
    words = (
        f"label: {explained.label or 'none, a test image'}",
        f"predicted: {explained.predicted}",
        f"shown: {explained.explained}, probability {explained.probability:.2f}, by fold {explained.fold}",
        f"id: {explained.id}",
    )
    canvas = Image.new("RGB", (width, HEADING + side + len(words) * LINE + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (heading, picture) in enumerate(pictures):
        left = number * (side + GAP)
        # The end of a layer's name tells more than its beginning.
        draw.text((left, 1), _fitted(heading[::-1], side)[::-1], INK, _font())
        canvas.paste(Image.fromarray(resize(picture, side)), (left, HEADING))
    for number, text in enumerate(words):
        draw.text((0, HEADING + side + 3 + number * LINE), _fitted(text, width), INK, _font())
    return np.asarray(canvas)


def grid(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Tiles of one size, at least one, row by row on white: HxWx3 uint8."""
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
def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows most alphabets."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", TEXT)


def _fitted(text: str, width: int) -> str:
    """As much of a text as fits a width in pixels."""
    text = " ".join(text.split())
    if _font().getlength(text) <= width:
        return text
    while text and _font().getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
