"""More than eight bits: one decision for a data set, said by the check, kept until the files change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.tiffs import tiff
from kit.data import images
from kit.data.images import read_grey, read_rgb, read_sample
from kit.data.store import Store
from kit.errors import KitError
from kit.images.levels import provide, range_from, reading

RANGES = {
    "twelve bits": (("uint16", 3, 4001), (0, 4095)),
    "the whole range": (("uint16", 0, 65535), (0, 65535)),
    "eight bits in sixteen": (("uint16", 0, 200), (0, 255)),
    "thirty-two bits": (("uint32", 0, 1 << 20), (0, (1 << 21) - 1)),
    "fractions": (("float32", 0.2, 0.7), (0, 1)),
    "floats of bytes": (("float32", 0.0, 254.5), (0, 254.5)),
    "Hounsfield units": (("int16", -1024, 3071), (-1024, 3071)),
    "one value": (("float32", -2.0, -2.0), (-2, -1)),
}


@pytest.mark.parametrize("what", RANGES)
def test_the_range_of_levels(what: str) -> None:
    given, wanted = RANGES[what]
    assert range_from(*given) == wanted


@pytest.fixture
def deep(store: Store) -> Store:
    """Patches of twelve bits in 16-bit tifs; the brightest is one of the darker images."""
    rng = np.random.default_rng(0)
    for number, path in enumerate(sorted((store.root / "train").iterdir())):
        levels = rng.integers(0, 1000 if number % 2 else 4095, (96, 96, 3)).astype(np.uint16)
        path.write_bytes(tiff(levels))
    (store.own / "files.txt").unlink()
    return store


def sample(store: Store, row: int) -> np.ndarray:
    index = store.index()
    return read_sample(store.dataset, index.root, index.train["files"].iat[row])


def test_all_images_are_scaled_alike(deep: Store) -> None:
    index = deep.index()
    for row in (0, 1):
        (name,) = index.train["files"].iat[row]
        wanted = np.rint(cv2.imread(str(index.root / name), cv2.IMREAD_UNCHANGED)[..., ::-1] * (255 / 4095))
        assert np.abs(sample(deep, row) - wanted).max() <= 1
    assert json.loads(next(deep.own.glob("levels-*")).read_bytes()[:-32]) == {"uint16": [0, 4095]}


def test_other_training_images_are_measured_anew_and_test_images_change_nothing(
    deep: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sample(deep, 0)
    measured = []
    monkeypatch.setattr(images, "_extent", lambda path: measured.append(path))
    for path in (deep.root / "test").iterdir():
        path.write_bytes(tiff(np.full((96, 96, 3), 60000, np.uint16)))
    assert (sample(deep, 0) == before).all()
    assert measured == []
    monkeypatch.undo()
    path = deep.root / "train" / Path(deep.index().train["files"].iat[3][0]).name
    path.write_bytes(tiff(np.full((96, 96, 3), 60000, np.uint16)))
    assert np.abs(sample(deep, 0) * 16.0 - before).max() <= 16
    assert len(list(deep.own.glob("levels-*"))) == 1


def test_the_check_says_the_range(deep: Store, kit: Callable[..., Any]) -> None:
    checks = {check["name"]: check["result"] for check in kit("check", "histo", "--json", code=2).json["checks"]}
    assert checks["levels of more than 8 bits"] == "uint16: 0 to 4,095 become 0 to 255"


def test_the_check_says_the_range_of_a_single_deep_image_too(store: Store, kit: Callable[..., Any]) -> None:
    path = sorted((store.root / "train").iterdir())[7]
    path.write_bytes(tiff(np.arange(4000, 4096).astype(np.uint16).reshape(96, 1, 1).repeat(96, 1).repeat(3, 2)))
    (store.own / "files.txt").unlink()
    checks = {check["name"]: check["result"] for check in kit("check", "histo", "--json", code=2).json["checks"]}
    assert checks["levels of more than 8 bits"] == "uint16: 0 to 4,095 become 0 to 255"


def test_packed_pixels_are_those_that_are_read(deep: Store, kit: Callable[..., Any]) -> None:
    kit("pack", "histo", "--size", "96", "--workers", "2")
    pixels = np.fromfile(next((deep.own / "packed").glob("*train*.pixels")), np.uint8).reshape(-1, 96, 96, 3)
    assert (pixels[5] == sample(deep, 5)).all()
    assert pixels.max() > 250


def test_a_reader_may_know_better(tmp_path: Path) -> None:
    (tmp_path / "image.tif").write_bytes(tiff(np.array([[0, 100, 500, 1000, 2000]], np.uint16)))
    assert read_grey(tmp_path / "image.tif", levels=(0, 1000)).tolist() == [[0, 26, 128, 255, 255]]
    assert read_rgb(tmp_path / "image.tif", levels=(100, 1100))[0, :, 0].tolist() == [0, 0, 102, 230, 255]
    assert read_grey(tmp_path / "image.tif").tolist() == [[0, 0, 2, 4, 8]]


def test_negative_levels_and_white_zero_are_scaled_by_the_data(tmp_path: Path) -> None:
    provide(tmp_path, lambda: {"int16": (-1000.0, 1000.0), "uint16": (0.0, 4095.0)})
    (tmp_path / "a.tif").write_bytes(tiff(np.array([[-2000, -1000, 0, 1000, 1001]], np.int16)))
    (tmp_path / "b.tif").write_bytes(tiff(np.array([[0, 4095]], np.uint16), photometric=0))
    with reading(tmp_path):
        assert read_grey(tmp_path / "a.tif").tolist() == [[0, 0, 128, 255, 255]]
        assert read_grey(tmp_path / "b.tif").tolist() == [[255, 0]]


def test_images_are_measured_when_one_is_read_and_once(tmp_path: Path) -> None:
    calls = []
    provide(tmp_path, lambda: calls.append(1) or {"uint16": (0.0, 1023.0)})
    Image.new("L", (2, 2)).save(tmp_path / "plain.png")
    (tmp_path / "deep.tif").write_bytes(tiff(np.array([[1023]], np.uint16)))
    with reading(tmp_path):
        read_grey(tmp_path / "plain.png")
        assert calls == []
        assert read_grey(tmp_path / "deep.tif").tolist() == read_grey(tmp_path / "deep.tif").tolist() == [[255]]
    assert calls == [1]


def test_a_measurement_that_fails_is_said(tmp_path: Path) -> None:
    def find() -> dict[str, tuple[float, float]]:
        raise KitError("the disk is gone")

    provide(tmp_path, find)
    (tmp_path / "deep.tif").write_bytes(tiff(np.array([[1023]], np.uint16)))
    with reading(tmp_path), pytest.raises(KitError, match="the disk is gone"):
        read_grey(tmp_path / "deep.tif")
