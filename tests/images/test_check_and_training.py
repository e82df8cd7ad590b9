"""What `kit check` lets pass is what training can read: one reader for both, also a dataset's own."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.tiffs import CMYK, GREY, tiff
from kit.console import Console
from kit.data.check import check_data
from kit.data.images import read_rgb, read_sample
from kit.data.index import Index
from kit.errors import KitError
from kit.hooks.specs import DatasetSpec

NOISE = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
FOUR = np.dstack([NOISE, NOISE[..., :1]])


def saved(path: Path, **options: object) -> None:
    Image.fromarray(NOISE).save(path, "TIFF", **options)


def cut(path: Path) -> None:
    saved(path, compression="tiff_lzw")
    path.write_bytes(path.read_bytes()[:-200])


def damaged(path: Path) -> None:
    saved(path, compression="tiff_deflate")
    content = path.read_bytes()
    path.write_bytes(content[:600] + bytes(range(200, 220)) + content[620:])


FILES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "plain": (saved, True),
    "zstd": (lambda path: saved(path, compression="zstd"), True),
    "lzma": (lambda path: saved(path, compression="lzma"), True),
    "alpha": (lambda path: path.write_bytes(tiff(FOUR, extra=(2,))), True),
    "cmyk": (lambda path: path.write_bytes(tiff(FOUR, photometric=CMYK)), True),
    "floats": (lambda path: path.write_bytes(tiff(NOISE.astype(np.float32) / 255)), True),
    "not a number": (lambda path: path.write_bytes(tiff(np.full((20, 24, 3), np.nan, np.float32))), False),
    "four grey bands": (lambda path: path.write_bytes(tiff(FOUR, photometric=GREY, extra=(0, 0, 0))), False),
    "an unknown compression": (lambda path: path.write_bytes(tiff(NOISE, tags={259: (34892,)})), False),
    "cut": (cut, False),
    "damaged": (damaged, False),
    "text": (lambda path: path.write_text("none"), False),
}


def index_of(root: Path, write: Callable[[Path], object]) -> Index:
    for number in range(3):
        Image.fromarray(NOISE + np.uint8(number)).save(root / f"{number}.tif")
    write(root / "1.tif")
    frame = pd.DataFrame({"id": list("abc"), "files": [(f"{number}.tif",) for number in range(3)], "target": [0, 1, 0]})
    return Index(root, "binary", ("no", "yes"), frame, frame.iloc[:0][["id", "files"]])


def unread(dataset: DatasetSpec, index: Index) -> tuple[str, ...]:
    checks = {check.name: check for check in check_data(dataset, index, Console(silent=True)).checks}
    return checks["images decode"].offenders


@pytest.mark.parametrize("what", FILES)
def test_the_check_names_what_training_cant_read_and_nothing_else(tmp_path: Path, what: str) -> None:
    write, good = FILES[what]
    index = index_of(tmp_path, write)
    dataset = DatasetSpec("noise", 3, lambda root: index, lambda files: read_rgb(files[0]))
    found = unread(dataset, index)
    if good:
        assert found == ()
        assert read_sample(dataset, tmp_path, ("1.tif",)).shape == (20, 24, 3)
    else:
        (text,) = found
        assert text.startswith("1.tif: ")
        with pytest.raises(KitError, match=r"1\.tif can't be read"):
            read_sample(dataset, tmp_path, ("1.tif",))


def test_a_reader_of_the_datasets_own_is_the_judge(tmp_path: Path) -> None:
    """One that knows no zstd, and raises what it likes; and one of a format that kit doesn't know."""

    def own(files: tuple[Path, ...]) -> np.ndarray:
        image = cv2.imread(str(files[0]))
        return image[..., ::-1]

    index = index_of(tmp_path, FILES["zstd"][0])
    (text,) = unread(DatasetSpec("own", 3, lambda root: index, own), index)
    assert text.startswith("1.tif: ")
    for number in range(3):
        with (tmp_path / f"{number}.tif").open("wb") as file:
            np.save(file, NOISE + np.uint8(number))
    arrays = DatasetSpec("arrays", 3, lambda root: index, lambda files: np.load(files[0]))
    assert unread(arrays, index) == ()
    (tmp_path / "2.tif").write_bytes(b"")
    assert unread(arrays, index)[0].startswith("2.tif: ")


def test_the_second_reader_is_named_with_what_it_reads(tmp_path: Path) -> None:
    index = index_of(tmp_path, FILES["zstd"][0])
    dataset = DatasetSpec("noise", 3, lambda root: index, lambda files: read_rgb(files[0]))
    checks = {check.name: check for check in check_data(dataset, index, Console(silent=True)).checks}
    assert checks["read by Pillow, slower"].result == "1 of 3: tif of Zstandard"
    assert checks["read by Pillow, slower"].ok
    saved(tmp_path / "1.tif")
    names = [check.name for check in check_data(dataset, index, Console(silent=True)).checks]
    assert "read by Pillow, slower" not in names
