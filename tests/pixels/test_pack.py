"""Packed pixels: the same bytes as reading gives, made once, whatever stops the making."""

import copy
import errno
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from helpers import packed_memory
from helpers.packs_made import CONSOLE, Made, probed
from kit.data.images import read_grey
from kit.errors import DISK, KitError
from kit.pixels import pack_workers
from kit.pixels.pack import find_packed, mend_packed, packed
from kit.pixels.samples import Samples


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(pack_workers, "CHUNK_ROWS", 4)
    monkeypatch.setattr(pack_workers, "WRITE_BYTES", 500)


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path / "made", [(8, 8)] * 30)


@pytest.mark.parametrize(
    ("channels", "sides", "size"),
    [
        (3, (8, 8), 8),
        (3, (8, 8), 5),
        (3, (9, 12), 16),
        (1, (9, 12), 6),
        (4, (9, 12), 6),
        (6, (8, 8), 8),
        (6, (9, 12), 16),
        (6, (8, 8), 5),
    ],
)
def test_pixels_are_those_of_samples(tmp_path, channels, sides, size):

    made = Made(tmp_path / "made", [sides] * 10, channels)
    pack = made.pack(size)
    samples = Samples.of(made.index, made.index.train, made.store.dataset, size)
    assert pack.pixels.shape == (10, size, size, channels)
    assert pack.pixels.dtype == np.uint8
    assert not pack.pixels.flags.writeable
    for row in range(10):
        assert np.array_equal(pack.pixels[row], samples.image(row))


def test_the_second_call_makes_nothing(made):
    first = made.pack()
    assert first.images_per_second is not None
    assert made.reads() == Counter(range(30)) + probed(30)
    second = made.pack()
    assert second == replace(first, images_per_second=None) == made.find()
    assert made.reads() == probed(30) + probed(30)
    assert made.files() == {".pixels", ".json"}
    assert second.pixels.size > 0
    assert "pixels" not in vars(copy.copy(second)), "to another process goes the path alone"


def test_workers_change_nothing(made):
    one = made.pack(workers=1)
    content = made.take(one)
    two = made.pack(workers=2)
    assert two.path.read_bytes() == content
    assert two.digest == one.digest


def test_splits_lie_side_by_side(made):
    train = made.pack()
    test = packed(made.store, made.index, "test", 8, CONSOLE)
    assert (test.split, test.count) == ("test", 3)
    assert np.array_equal(test.pixels, train.pixels[:3])


def test_what_pixels_depend_on_tells_packs_apart(made):
    made.pack()
    other = replace(made.store, dataset=replace(made.store.dataset, name="other"))
    assert find_packed(other, made.index, "train", 8) is None
    assert made.find(6) is None
    inverted = replace(made.store.dataset, read=lambda files: 255 - made.read(files))
    assert find_packed(replace(made.store, dataset=inverted), made.index, "train", 8) is None
    turned = replace(made.index, train=made.index.train[::-1])
    assert find_packed(made.store, turned, "train", 8) is None
    os.utime(made.folder / "7_2.png", ns=(1, 1))
    assert made.find() is None


def test_an_outdated_pack_is_removed_when_its_successor_is_there(made, capsys):
    old = made.pack()
    smaller = made.pack(6)
    image = made.folder / "7_2.png"
    cv2.imwrite(str(image), 255 - read_grey(image))
    new = made.pack()
    assert new.digest != old.digest
    assert new.pixels[7, 0, 0, 2] == read_grey(image)[0, 0]
    assert not old.path.exists()
    assert smaller.path.exists(), "another size is another pack"
    assert f"removed the outdated {old.path.name}" in capsys.readouterr().out


@pytest.mark.parametrize("size", [9, 64])
def test_enlarged_pixels_are_not_stored(made, size):
    pack = made.pack(size)
    assert pack.size == 8
    assert made.find(8) == made.find(size) == replace(pack, images_per_second=None)


def test_images_of_several_sizes_are_brought_to_the_one_asked_for(tmp_path, capsys):
    from kit.pixels.batches import Samples

    made = Made(tmp_path / "made", [(8, 8)] * 20 + [(8, 9)] + [(20, 20)] * 3)
    pack = made.pack(16)
    assert "not all images are 8 px: resizing all to 16" in capsys.readouterr().out
    assert pack.size == 16
    samples = Samples.of(made.index, made.index.train, made.store.dataset, 16)
    assert all(np.array_equal(pack.pixels[row], samples.image(row)) for row in range(24))
    assert made.files() == {".pixels", ".json"}
    assert made.find(16) == replace(pack, images_per_second=None)
    made.reads()
    assert made.pack(16).images_per_second is None
    assert made.reads() == probed(24)


def test_an_unreadable_file_is_named_and_the_good_chunks_are_kept(made):
    content = made.take(made.pack(workers=1))
    made.broken.write_text("17_0.png")
    with pytest.raises(KitError, match=r"17_0.png can't be read as an image: kit check"):
        made.pack(workers=1)
    assert made.files() == {".part", ".journal"}
    assert made.find() is None
    noted = made.noted()
    assert noted
    made.broken.unlink()
    made.reads()
    again = made.pack(workers=1)
    assert made.reads() == Counter(row for row in range(30) if row // 4 not in noted) + probed(30)
    assert again.path.read_bytes() == content


@pytest.mark.parametrize(
    "read",
    [
        lambda files: np.zeros((8, 8), np.uint8),
        lambda files: np.zeros((8, 8, 3), np.float32),
        lambda files: np.zeros((8, 8, 4), np.uint8),
    ],
)
def test_what_is_read_otherwise_than_promised_is_refused(made, read):
    store = replace(made.store, dataset=replace(made.store.dataset, read=read))
    with pytest.raises(KitError, match=r"0_0.png: read as .*dataset grey promises uint8 with 3 channels: kit check"):
        packed(store, made.index, "train", 8, CONSOLE)


def test_an_absent_file_is_named(made):
    (made.folder / "9_1.png").unlink()
    with pytest.raises(KitError, match=r"9_1.png can't be read \(No such file or directory\): kit check"):
        made.pack()


def test_a_disk_that_is_too_small_is_refused_before(made, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(KitError, match=r"needs 5.8 kB, 1.0 kB is free in .*packed: free some, choose") as refused:
        made.pack()
    assert refused.value.code == DISK
    assert made.files() == set()


def test_a_disk_that_fills_up_ends_in_one_line(made, monkeypatch):
    write, full = os.pwrite, made.folder / "full"

    def pwrite(file: int, content: memoryview, offset: int) -> int:
        if offset > 2000 and full.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[:100], offset)

    full.touch()
    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(KitError, match="the disk is full: free some space, then the same command resumes") as refused:
        made.pack()
    assert refused.value.code == DISK
    full.unlink()
    assert made.pack().pixels[29, 0, 0, 2] == read_grey(made.folder / "29_2.png")[0, 0]


def test_a_folder_that_can_not_be_written_is_named(made):
    (made.folder / ".kit" / "packed").write_text("a file")
    with pytest.raises(KitError, match=r"packed can't be written \(.*\): make it writable, set KIT_CACHE") as refused:
        made.pack()
    assert refused.value.code == DISK


def test_a_pack_of_another_length_counts_as_none(made):
    path = made.pack().path
    with path.open("r+b") as file:
        file.truncate(100)
    assert made.find() is None
    assert made.pack().images_per_second is not None
    path.with_suffix(".json").unlink()
    assert made.find() is None


def test_a_flipped_bit_is_found_and_mended(made):
    pack = made.pack()
    content = pack.path.read_bytes()
    assert mend_packed(made.store, made.index, "train", 8, CONSOLE) == []
    damaged = bytearray(content)
    damaged[13 * 192 + 5] ^= 16
    pack.path.write_bytes(damaged)
    made.reads()
    assert mend_packed(made.store, made.index, "train", 8, CONSOLE) == [range(12, 16)]
    assert made.reads() == Counter(range(12, 16)) + probed(30)
    assert pack.path.read_bytes() == content
    assert made.find() == replace(pack, images_per_second=None)
    with pytest.raises(
        KitError, match="no complete pack of train at 6 px fits the data: kit pack made --size 6 makes one"
    ):
        mend_packed(made.store, made.index, "train", 6, CONSOLE)


def test_the_command(kit, store):
    first = kit("pack", "histo", "--json").json
    assert first["competition"] == "histopathology"
    facts = [[pack[key] for key in ("split", "count", "size", "made")] for pack in first["packs"]]
    assert facts == [["train", 240, 96, True], ["test", 60, 96, True]]
    for pack in first["packs"]:
        assert pack["bytes"] == Path(pack["path"]).stat().st_size == pack["count"] * 96 * 96 * 3
        assert pack["channels"] == 3
        assert pack["images_per_second"] > 0
    second = kit("pack", "histo", "--json").json
    assert second["packs"] == [pack | {"made": False, "images_per_second": None} for pack in first["packs"]]
    assert kit("pack", "histo", "--verify").out.count("already packed") == 2
    done = kit("pack", "histo", "--size", 64, "--split", "test", "--workers", 1)
    assert "pack test: 60 images at 64 px, 737.3 kB in " in done.out
    path = Path(first["packs"][0]["path"])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = kit("pack", "histo", "--verify", code=2)
    assert "chunks damaged on disk and rebuilt now: 1 (rows train 236..239)" in done.err
    kit("pack", "histo", "--verify")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    peaks = {}
    for count in (10_000, 100_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        command = [sys.executable, Path(packed_memory.__file__), folder, str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peaks[count] = [int(peak) for peak in done.stdout.split()]
    for few, many in zip(peaks[10_000], peaks[100_000], strict=True):  # this process, and its largest worker
        assert many <= 1.1 * few, peaks


def test_a_copy_that_lost_the_times_of_its_files_keeps_its_packs(kit, tmp_path, monkeypatch):
    kit("download", "histo", "--miniature")
    made = kit("pack", "histo", "--size", "16", "--json").json["packs"]
    shutil.copytree(tmp_path / "data", tmp_path / "copy", copy_function=shutil.copyfile)
    monkeypatch.setenv("KIT_DATA", str(tmp_path / "copy"))
    again = kit("pack", "histo", "--size", "16", "--json").json["packs"]
    assert [pack["images_per_second"] for pack in again] == [None, None]
    assert [pack["digest"] for pack in again] == [pack["digest"] for pack in made]
    kit("verify", "histo")
    # Another content of the same length, which kit was told to take, is another pack.
    images = sorted((tmp_path / "copy").glob("*/train/*.tif"))
    assert images[0].stat().st_size == images[1].stat().st_size
    shutil.copyfile(images[1], images[0])
    kit("verify", "histo", "--accept")
    train, test = kit("pack", "histo", "--size", "16", "--json").json["packs"]
    assert (train["images_per_second"] is None, test["images_per_second"]) == (False, None)
    assert train["digest"] != made[0]["digest"]
