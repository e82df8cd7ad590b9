"""`kit check`: faults made by hand are found and named."""

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kit.console import Console
from kit.data.check import Report, _sizes, check_data
from kit.data.store import Store
from kit.data.verify import CHUNK, decode, decode_all
from kit.hooks.registry import Registry
from kit.hooks.specs import DatasetSpec

TRAIN, TEST = 12, 5


def write_image(path: Path, seed: int, side: int = 96, mode: str = "RGB") -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def write_labels(path: Path, ids: list[str], labels: list[int]) -> None:
    pd.DataFrame({"id": ids, "label": labels}).to_csv(path, index=False)


@pytest.fixture
def store() -> Store:
    """A dozen training and five test patches of noise, all right."""
    store = Store.of(Registry(), "histo")
    for number in range(TRAIN):
        write_image(store.root / "train" / f"a{number:02d}.tif", number)
    for number in range(TEST):
        write_image(store.root / "test" / f"b{number:02d}.tif", 1000 + number)
    labels = [int(i % 3 == 0) for i in range(TRAIN)]
    write_labels(store.root / "train_labels.csv", [f"a{i:02d}" for i in range(TRAIN)], labels)
    write_labels(store.root / "sample_submission.csv", [f"b{i:02d}" for i in range(TEST)], [0] * TEST)
    store.set_origin("archive", "test")
    return store


def report(store: Store) -> Report:
    return check_data(store.dataset, store.index(), Console(json=True))


def wrong(store: Store) -> dict[str, tuple[str, ...]]:
    """The checks that found something, with what they name."""
    return {check.name: check.offenders for check in report(store).checks if not check.ok}


def test_right_data_passes(store: Store) -> None:
    found = report(store)
    assert found.ok
    assert found.images == {"train": TRAIN, "test": TEST}
    assert found.classes == {"normal": 8, "tumor": 4}
    results = {check.name: check.result for check in found.checks}
    assert results["images decode"] == "all 17 decode"
    assert results["size and bands"] == "17 of 96x96 RGB"


@pytest.mark.parametrize("kept", [0, 7, 5000, 27_700])
def test_a_truncated_file(store: Store, kept: int) -> None:
    path = store.root / "train" / "a03.tif"
    # Pillow writes the directory of a tif first: what is cut off here are pixels.
    path.write_bytes(path.read_bytes()[:kept])
    found = wrong(store)
    assert set(found) == {"images decode"}
    assert found["images decode"][0].startswith("train/a03.tif: ")


def test_truncated_pixels_of_a_test_image(store: Store) -> None:
    path = store.root / "test" / "b01.tif"
    path.write_bytes(path.read_bytes()[:27_000])
    # Pillow's `verify` need not read pixels, so the check decodes them.
    assert wrong(store)["images decode"][0].startswith("test/b01.tif: ")


def test_a_file_of_another_kind_under_an_images_name(store: Store) -> None:
    (store.root / "train" / "a03.tif").write_text("<html>404</html>")
    assert "a03" in wrong(store)["images decode"][0]


def test_labels_without_an_image(store: Store) -> None:
    (store.root / "train" / "a05.tif").unlink()
    assert wrong(store) == {"ids of train_labels.csv without an image": ("a05",)}


def test_images_without_a_label(store: Store) -> None:
    write_image(store.root / "train" / "external.tif", 77)
    assert wrong(store) == {"images in train/ that train_labels.csv lacks": ("external",)}


def test_a_test_image_that_is_not_there_and_one_that_is_too_many(store: Store) -> None:
    (store.root / "test" / "b00.tif").rename(store.root / "test" / "c00.tif")
    assert wrong(store) == {
        "ids of sample_submission.csv without an image": ("b00",),
        "images in test/ that sample_submission.csv lacks": ("c00",),
    }


def test_a_wrong_size(store: Store) -> None:
    write_image(store.root / "train" / "a02.tif", 2, side=95)
    assert wrong(store) == {"size and bands": ("train/a02.tif: 95x95 RGB",)}


def test_a_grey_image(store: Store) -> None:
    write_image(store.root / "test" / "b02.tif", 5, mode="L")
    assert wrong(store) == {"size and bands": ("test/b02.tif: 96x96 L",)}


MAY_DIFFER = {
    "neither": ({}, [1, 2, 3]),
    "size": ({"any_size": True}, [2, 3]),
    "bands": ({"any_bands": True}, [1, 3]),
    "both": ({"any_size": True, "any_bands": True}, []),
}


@pytest.mark.parametrize("name", MAY_DIFFER)
def test_what_may_differ_is_no_fault(name: str) -> None:
    may, rows = MAY_DIFFER[name]
    kinds = ["9x9 RGB", "8x8 RGB", "9x9 L", "8x8 RGBA", "9x9 RGB"]
    samples = cast(Any, SimpleNamespace(kinds=kinds, file=str))
    found = _sizes(DatasetSpec("some", 3, cast(Any, None), **may), samples)
    assert found.offenders == tuple(f"{row}: {kinds[row]}" for row in rows)
    assert "1 of 9x9 L" in found.result


def test_the_norm_is_the_majority_over_train_and_test(store: Store) -> None:
    for number in range(TEST):
        write_image(store.root / "test" / f"b{number:02d}.tif", 1000 + number, side=64)
    assert wrong(store) == {"size and bands": tuple(f"test/b{i:02d}.tif: 64x64 RGB" for i in range(TEST))}


def test_a_dataset_that_reads_other_channels_than_it_says(store: Store) -> None:
    spec = replace(store.dataset, read=lambda files: np.zeros((96, 96, 4), np.uint8))
    found = {check.name: check for check in check_data(spec, store.index(), Console(json=True)).checks}
    assert found["read as 3 channels"].offenders == ("train/a00.tif: returns uint8 of 96x96x4",)


def test_duplicates_are_named_with_the_conflict_of_their_labels(store: Store) -> None:
    train = store.root / "train"
    (train / "a04.tif").write_bytes((train / "a01.tif").read_bytes())
    (train / "a06.tif").write_bytes((train / "a01.tif").read_bytes())
    assert wrong(store) == {
        "exact duplicates in train": ("train/a04.tif = train/a01.tif", "train/a06.tif = train/a01.tif (labels 1 and 0)")
    }


def test_duplicates_are_equal_pixels_not_equal_bytes(store: Store) -> None:
    train = store.root / "train"
    with Image.open(train / "a01.tif") as image:
        image.save(train / "a02.tif", compression="tiff_lzw")
    assert (train / "a01.tif").read_bytes() != (train / "a02.tif").read_bytes()
    assert "exact duplicates in train" in wrong(store)


def test_two_files_that_fail_are_no_duplicates(store: Store) -> None:
    for name in ("a01", "a02"):
        (store.root / "train" / f"{name}.tif").write_bytes(b"")
    assert set(wrong(store)) == {"images decode"}


def test_a_test_image_copied_into_train(store: Store) -> None:
    copied = (store.root / "test" / "b04.tif").read_bytes()
    (store.root / "train" / "a09.tif").write_bytes(copied)
    assert wrong(store) == {"pixels in train and test": ("test/b04.tif = train/a09.tif",)}


def test_an_id_in_train_and_test(store: Store) -> None:
    write_image(store.root / "test" / "a07.tif", 500)
    write_labels(store.root / "sample_submission.csv", [*(f"b{i:02d}" for i in range(TEST)), "a07"], [0] * (TEST + 1))
    assert wrong(store) == {"ids in train and test": ("a07",)}


def test_the_command_passes_and_says_so(store: Store, kit: Callable[..., Any]) -> None:
    done = kit("check", "histo")
    assert "all checks passed" in done.out
    assert "tumor" in done.out
    document = kit("check", "histo", "--json").json
    assert document["ok"] is True
    assert document["classes"] == {"normal": 8, "tumor": 4}
    assert document["images"] == {"train": TRAIN, "test": TEST}


def test_the_command_names_the_first_offenders_and_exits_2(store: Store, kit: Callable[..., Any]) -> None:
    for number in range(5):
        (store.root / "train" / f"a{number:02d}.tif").unlink()
    done = kit("check", "histo", code=2)
    assert "WRONG" in done.out
    assert "a00" in done.out
    assert "and 2 more" in done.out
    assert "without an image" in done.err
    document = kit("check", "histo", "--json", code=2).json
    assert document["ok"] is False
    [check] = [check for check in document["checks"] if not check["ok"]]
    assert check["offenders"] == ["a00", "a01", "a02", "a03", "a04"]


def test_without_data_the_command_says_how_to_get_it(kit: Callable[..., Any]) -> None:
    assert "kit download histopathology" in kit("check", "histo", code=2).err


def test_a_sample_of_several_files_has_one_digest_over_them_in_order(tmp_path: Path) -> None:
    for name, seed in (("r", 1), ("g", 2), ("same", 1)):
        write_image(tmp_path / f"{name}.png", seed, 16, "L")
    root = str(tmp_path)
    assert decode(root, ("r.png", "g.png")).digest == decode(root, ("same.png", "g.png")).digest
    assert decode(root, ("r.png", "g.png")).digest != decode(root, ("g.png", "r.png")).digest
    assert decode(root, ("r.png", "g.png")).kinds == ("16x16 L", "16x16 L")
    missing = decode(root, ("r.png", "none.png"))
    assert missing.digest == b""
    assert missing.error.startswith("none.png: ")


def test_processes_give_what_one_process_gives_in_order(tmp_path: Path) -> None:
    for number in range(8):
        write_image(tmp_path / f"{number}.png", number, 8)
    (tmp_path / "5.png").write_bytes(b"no image")
    samples = [(f"{number % 8}.png",) for number in range(3 * CHUNK + 5)]
    several = list(decode_all(str(tmp_path), iter(samples), processes=2))
    assert several == [decode(str(tmp_path), files) for files in samples]
    assert several == list(decode_all(str(tmp_path), samples, processes=1))


def test_a_worker_imports_nothing_heavy() -> None:
    code = (
        "import sys, kit.data.verify; kit.data.verify.decode('.', ('none',)); "
        "print([name for name in ('torch', 'pandas', 'numpy', 'cv2', 'typer') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_real_archives_images_are_right(archives: Path, tmp_path: Path) -> None:
    """A hundred real patches, unpacked by the standard library: read, decoded, and each really there."""
    import zipfile

    store = Store.of(Registry(), "histo")
    with zipfile.ZipFile(archives / "histopathologic-cancer-detection.zip") as archive:
        labels = pd.read_csv(io.BytesIO(archive.read("train_labels.csv"))).head(100)
        sample = pd.read_csv(io.BytesIO(archive.read("sample_submission.csv"))).head(30)
        members = [f"train/{id_}.tif" for id_ in labels["id"]] + [f"test/{id_}.tif" for id_ in sample["id"]]
        archive.extractall(store.root, members)
    labels.to_csv(store.root / "train_labels.csv", index=False)
    sample.to_csv(store.root / "sample_submission.csv", index=False)
    store.set_origin("archive", "test")
    found = report(store)
    assert found.ok
    assert found.classes == {"normal": int((labels["label"] == 0).sum()), "tumor": int(labels["label"].sum())}
    assert found.images == {"train": 100, "test": 30}
