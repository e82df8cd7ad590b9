"""What kit keeps to save time: damaged, it is made again without a word, and never needed."""

import os
from pathlib import Path

import numpy as np
import pytest

from helpers.packs_made import CONSOLE, Made
from kit.config import validate
from kit.data.near_duplicates import hashes
from kit.errors import KitError
from kit.files import read_cache, replace_cache
from kit.pixels.statistics import row_statistics

DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "short": lambda content: content[:20],
    "longer": lambda content: content + b"\0",
    "first byte": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "middle": lambda content: content[:70] + bytes([content[70] ^ 128]) + content[71:],
    "last byte": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "text": lambda content: b"not an array",
    "an array": lambda content: b"\x93NUMPY\1\0F\0{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,)}\n",
}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "made", [(8, 8)] * 12)


def likeness(made: Made) -> np.ndarray:
    files = made.index.train["files"].array
    return hashes(made.store.dataset, made.folder, files, made.store.own / "likeness-grey-train", CONSOLE)


def statistics(made: Made) -> np.ndarray:
    facts = {"competition": "made", "dataset": "grey", "loss": "bce", "folds": 2, "size": 8, "normalize": "image"}
    found = row_statistics(made.store, made.index, "train", validate(facts), CONSOLE)
    assert found is not None
    return np.stack([found.mean, found.std])


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("compute", [likeness, statistics])
def test_a_damaged_cache_is_made_again(made, compute, damage, capsys):
    first = compute(made)
    [path] = made.store.own.glob(f"{compute.__name__}-*.npy")
    content = path.read_bytes()
    assert read_cache(path) is not None
    assert (compute(made) == first).all()
    path.write_bytes(DAMAGE[damage](content))
    assert read_cache(path) is None
    capsys.readouterr()
    assert (compute(made) == first).all()
    assert path.read_bytes() == content
    assert "warning" not in capsys.readouterr().err


def test_every_byte_of_a_cache_counts(tmp_path):
    path = tmp_path / "a.npy"
    replace_cache(path, "a*.npy", b"content")
    content = path.read_bytes()
    assert read_cache(path) == b"content"
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert read_cache(path) is None


def test_a_whole_cache_of_another_shape_is_made_again(made):
    first = likeness(made)
    [path] = made.store.own.glob("likeness-*.npy")
    replace_cache(path, path.name, bytes(32))
    assert (likeness(made) == first).all()


def test_a_link_or_a_pipe_is_no_cache(tmp_path):
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "a.npy").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "b.npy")
    assert read_cache(tmp_path / "a.npy") is read_cache(tmp_path / "b.npy") is read_cache(tmp_path / "none") is None
    replace_cache(tmp_path / "a.npy", "a*.npy", b"content")
    assert (tmp_path / "real").read_bytes() == b"x"
    assert read_cache(tmp_path / "a.npy") == b"content"


def test_where_nothing_can_be_kept_it_is_computed_all_the_same(made, monkeypatch):
    first = likeness(made)
    [path] = made.store.own.glob("likeness-*.npy")
    path.unlink()

    def refuse(path: Path, content: bytes) -> None:
        raise KitError("can't be written", 5)

    monkeypatch.setattr("kit.files.write_bytes", refuse)
    assert (likeness(made) == first).all()
