"""`kit gradcam`'s folder in a run: the grid, a picture per image, the maps, and what they show.

grid.png        the first 64 images
<key>.png       one image, at the network's input size or larger; keys begin with the place in the requested order
maps.npz        <key>: its maps, layers x H x W float32 in 0..1; `layers`: their names
gradcam.json    run, method, layers, the caption of each image, and the digest of each file
"""

import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kit.errors import KitError
from kit.explain.explain import Explained
from kit.explain.picture import SIDE, grid, tile
from kit.files import need_writable, sha256, write_json
from kit.run import Run

RECORD = "gradcam.json"
GRID = 64  # maximum of images in the grid


def need_folder(run: Run, out: Path | None) -> Path:
    """Return the folder to write, that of the run or the person's own; call it before computing.

    Raises:
        KitError: it can't be written, or holds anything but such pictures.
    """
    if out is None:
        run.need_writable("give --out FOLDER to write elsewhere")
        return run.path / "gradcam"
    if os.path.lexists(out) and not (out / RECORD).is_file() and not (out.is_dir() and not os.listdir(out)):
        raise KitError(f"{out} holds something else: give --out a new or an empty folder")
    return need_writable(out.absolute(), "give another --out FOLDER")


def write_explained(
    explained: Iterable[Explained], ids: Sequence[str], folder: Path, facts: dict[str, Any]
) -> dict[str, Any]:
    """Write the folder: it appears whole, in place of an earlier one, or not at all.

    Args:
        explained: as `explain_run` yields them, in any order; one is held at a time.
        ids: the order of the pictures.
        folder: to write.
        facts: of the run, saved with them.

    Returns:
        The document of `kit gradcam --json`.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        images, layers = _write_all(explained, ids, temporary)
        document = {**facts, "layers": layers, "folder": str(folder), "images": images}
        files = {path.name: sha256(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / RECORD, {**document, "files": files})
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return document


def _write_all(
    explained: Iterable[Explained], ids: Sequence[str], folder: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """Write pictures and maps; return the facts of each image, in the order of the ids, and the layer names."""
    place = {id_: number for number, id_ in enumerate(dict.fromkeys(ids))}
    images: dict[tuple[int, int], dict[str, Any]] = {}
    tiles: dict[tuple[int, int], np.ndarray] = {}
    layers: list[str] = []
    with zipfile.ZipFile(folder / "maps.npz", "w") as maps:
        for one in explained:
            number = place[one.id], 1 + sum(first == place[one.id] for first, _ in images)
            key = f"{number[0] + 1:04d}-{_safe(one.id)}" + (f"-{number[1]}" if number[1] > 1 else "")
            layers = list(one.maps)
            _add(maps, key, np.stack([*one.maps.values()]))
            _png(folder / f"{key}.png", tile(one, max(SIDE, len(one.image))))
            if number[0] < GRID:
                tiles[number] = tile(one, SIDE)
            images[number] = {
                "id": one.id,
                "key": key,
                "label": one.label,
                "predicted": one.predicted,
                "explained": one.explained,
                "probability" if one.is_class else "number": one.probability,
                "fold": one.fold,
            }
        if not images:
            raise KitError("there is no image to explain: give others with --images, or drop --fold")
        _add(maps, "layers", np.array(layers))
    _png(folder / "grid.png", grid([tiles[number] for number in sorted(tiles)][:GRID]))
    return [images[number] for number in sorted(images)], layers


def _add(maps: zipfile.ZipFile, key: str, values: np.ndarray) -> None:
    """Add one array to an npz, as `np.load` reads it; `ZipInfo` has a fixed date, so equal maps give equal bytes."""
    with maps.open(zipfile.ZipInfo(f"{key}.npy"), "w") as file:
        np.lib.format.write_array(file, values, allow_pickle=False)


def _png(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())


def _safe(id_: str) -> str:
    return re.sub(r"[^\w.-]+", "_", id_)[:80]
