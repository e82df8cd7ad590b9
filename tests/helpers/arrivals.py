"""Small archives, a store for them, and data of before and after, for tests of what arrives."""

import io
import zipfile
from pathlib import Path

import pytest

from helpers.leaf_store import read_index
from kit.archives.unpack import from_archives
from kit.console import Console
from kit.data.store import Store
from kit.plugin import Competition, DatasetSpec

TABLE = b"id,label\na,0\nb,1\n"
OLD = {"train.csv": TABLE, "train/a": b"old a", "train/b": b"old b", "old/gone": b"1", "same": b"the same"}
NEW = {"train.csv": TABLE, "train/a": b"NEW A", "train/b": b"NEW B", "test/c": b"2", "same": b"the same"}
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def packed(files: dict[str, bytes], compression: int = DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


def seven(files: dict[str, bytes]) -> bytes:
    py7zr = pytest.importorskip("py7zr", reason="py7zr is not installed: .7z is not tested")
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(content, name)
    return buffer.getvalue()


def write_miniature(root: Path, seed: int) -> None:
    for name, content in {"train.csv": TABLE, "train/a": b"x" * 5000, "train/b": b"y", ".kit/truth.csv": b"z"}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)


def store_at(root: Path) -> Store:
    facts = Competition("leaves", "Leaves", "leaves", "binary", "roc_auc", "leaves", "leaves")
    dataset = DatasetSpec("leaves", 3, index=read_index, read=lambda files: None, miniature=write_miniature)
    return Store(facts, dataset, root)


def bring(store: Store, content: bytes, force: bool = False, add: bool = False, name: str = "leaves.zip") -> None:
    path = store.root.parent / name
    path.write_bytes(content)
    from_archives(store, [path], force, Console(silent=True), add)
