"""How the layouts of `helpers.layouts` are written: images, tables, archives."""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from PIL import Image

SIDE = 20


def image(path: Path, kind: float = 0.0, mode: str = "RGB") -> None:
    """Write a picture of a kind from 0 to 1."""
    random = np.random.default_rng(crc32(f"{path.parent.name}/{path.name}".encode()))
    pixels = random.normal(80 + 120 * kind, 15, (SIDE, SIDE, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert(mode).save(path)


def table(path: Path, rows: Iterable[dict[str, Any]], **more: Any) -> None:
    """Write a csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(list(rows)).to_csv(path, index=False, **more)


def write_json(path: Path, content: Any) -> None:
    """Write a json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def zipped(folder: Path, inside: bool = True) -> None:
    """Put a folder, or a file, into an archive beside it, with or without its own name, and remove it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
    base = folder.parent if inside or folder.is_file() else folder
    with zipfile.ZipFile(folder.with_name(folder.name + ".zip"), "w") as archive:
        for path in files:
            archive.write(path, path.relative_to(base))
            path.unlink()
    if folder.is_dir():
        for path in sorted((each for each in folder.rglob("*")), reverse=True):
            path.rmdir()
        folder.rmdir()
