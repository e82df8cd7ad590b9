"""Trees of files for the tests of splitting and merging."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.console import Console
from kit.errors import KitError
from kit_split_files.plan import Arguments

CONSOLE = Console(json=True)
TREE = {
    "a.tif": b"a",
    "b.tif": os.urandom(5000),
    "empty.tif": b"",
    "train/a.tif": b"another a",
    "train/deep/er/a.tif": b"a third one",
    "train/\u00e4 \u4e2d 'x'.tif": b"spaces and more",
    "notes.txt": b"not an image",
}


def make(root: Path, files: dict[str, bytes] | int = 10) -> Path:
    if isinstance(files, int):
        files = {f"{number:04d}.tif": str(number).encode() for number in range(files)}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def contents(root: Path) -> dict[str, bytes | None]:
    """Return every file with its bytes, and every folder with None."""
    return {path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


def arguments(source: Path, mode: str = "copy", **others) -> Arguments:
    return Arguments(str(source), mode, **({"parts": 3} | others))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(KitError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nest(root: Path, *names: str) -> None:
    """Put each folder into one of its own name: `train/train/`."""
    for name in names:
        (root / name).rename(root / "was")
        (root / name).mkdir()
        (root / "was").rename(root / name / name)
