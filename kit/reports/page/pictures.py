"""Small pictures embedded in the page, as many as fit."""

import base64
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kit.console import Console
from kit.data.images import read_sample
from kit.data.index import Index
from kit.errors import KitError
from kit.hooks.specs import DatasetSpec

SIDE = 128  # pixels, the longest side; smaller images are not enlarged
QUALITY = 80  # of JPEG
BUDGET = 7_000_000  # characters per page, for all thumbnails


def thumbnails(dataset: DatasetSpec, index: Index, ids: Iterable[str], budget: int, console: Console) -> dict[str, str]:
    """Return data URLs of the first image of each id, in order, until `budget` characters are used up.

    Images that can't be read are left out, with a warning.
    """
    wanted = list(dict.fromkeys(ids))
    files_of = index.rows_of_ids(np.array(wanted, object))["files"]
    found: dict[str, str] = {}
    broken, used = 0, 0
    with console.progress("thumbnails", len(wanted)) as bar:
        for id_, files in zip(wanted, files_of, strict=True):
            try:
                found[id_] = thumbnail(dataset, index.root, files)
                used += len(found[id_])
            except KitError:
                broken += 1
            bar.advance()
            if used >= budget:
                break
    if broken:
        console.warn(f"{broken} images can't be read, the page shows only their ids: kit check names them")
    return found


def thumbnail(dataset: DatasetSpec, root: Path, files: tuple[str, ...]) -> str:
    """Return one sample as people see it, at most `SIDE` pixels wide and high."""
    return address(shrunk(dataset.picture(read_sample(dataset, root, files)), SIDE))


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """Shrink an image (HxWx3 uint8), keeping its proportions, until its longest side is at most `side`."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def address(image: np.ndarray) -> str:
    """Encode RGB uint8 as a data URL for an `img` element."""
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def in_order(report: dict[str, Any]) -> Iterator[str]:
    """Yield the ids that a run's document shows, the most wanted first: top losses, suspects, then the worst id of
    every cell of the confusion matrix, the second worst of every cell, and so on."""
    yield from report["top_losses"]
    yield from (suspect["id"] for suspect in report["suspects"]["shown"])
    cells = report["confusion"]["cells"] if "confusion" in report else {}
    for rank in zip_longest(*cells.values()):
        yield from (id_ for id_ in rank if id_ is not None)
