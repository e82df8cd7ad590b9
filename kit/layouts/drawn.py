"""Pictures for miniatures, whose colour and texture tell what they are of."""

from pathlib import Path

import numpy as np
from PIL import Image

BACKGROUND, NOISE = 90.0, 18.0


def draw_image(
    path: Path, kind: float, random: np.random.Generator, size: tuple[int, int] = (48, 48), grey: bool = False
) -> None:
    """Write a picture that can be told from those of another kind: the place and the colour of its blob differ.

    Args:
        path: where to write; the ending says in which format. Folders are made.
        kind: of what it is, from 0 to 1, such as a class number divided by the number of classes.
        random: draws the noise.
        size: width and height in pixels.
        grey: whether it has one channel.
    """
    width, height = size
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    angle = 2 * np.pi * kind * 0.85
    blob = np.exp(-(((x - 0.5 - 0.25 * np.cos(angle)) ** 2 + (y - 0.5 - 0.25 * np.sin(angle)) ** 2) / 0.02))
    colour = 60 + 60 * np.cos(angle + np.array([0.0, 2.1, 4.2]))
    pixels = BACKGROUND + random.normal(0, NOISE, (height, width, 3)) + blob[..., None] * colour
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    (image.convert("L") if grey else image).save(path)
