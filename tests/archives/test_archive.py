"""Archives of every bad kind are refused before a file is written; good ones arrive byte for byte."""

import os
import random
import shutil
import stat
import struct
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from kit.archives.archive import Archive, matches, need_space, safe_name
from kit.archives.nested import Plan, open_archive
from kit.console import Console
from kit.errors import BAD_INPUT, DISK, KitError

FILES = {"train.csv": b"id,label\na,1\n", "train/a.tif": os.urandom(3000), "test/b.tif": os.urandom(3000), "empty": b""}


def make_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def good(tmp_path):
    return make_zip(tmp_path / "good.zip", FILES)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    (folder / ".kit").mkdir(parents=True)
    return folder


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def unpack(path: Path, root: Path) -> tuple[int, int]:
    with open_archive(path) as archive, Plan([archive], root, Console()) as plan:
        return plan.write()


def refusal(path: Path, root: Path) -> KitError:
    with pytest.raises(KitError) as caught:
        unpack(path, root)
    assert contents(root) == {}, "a refused archive has left a file"
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unpacks_byte_for_byte_and_a_second_time_writes_nothing(tmp_path, root, compression):
    path = make_zip(tmp_path / "a.zip", FILES, compression)
    assert unpack(path, root) == (4, 0)
    assert contents(root) == FILES
    before = {name: (root / name).stat().st_ino for name in FILES}
    assert unpack(path, root) == (0, 4)
    assert {name: (root / name).stat().st_ino for name in FILES} == before


def test_files_of_the_right_size_but_wrong_content_are_written_again(good, root):
    unpack(good, root)
    (root / "train/a.tif").write_bytes(bytes(3000))
    (root / "test/b.tif").write_bytes(b"short")
    assert unpack(good, root) == (2, 2)
    assert contents(root) == FILES


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../out",
        "train/../../out",
        "train\\..\\..\\out",
        "C:/out",
        "c:out",
        "line\nbreak",
        "nul\0byte",
        ".kit/origin.json",
        "./.kit/origin.json",
        ".KIT/origin.json",
        "x" * 256,
    ],
)
def test_names_that_lead_elsewhere(tmp_path, root, name):
    assert safe_name(name) is None
    path = tmp_path / "bad.zip"
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train/a.tif", b"fine")
        file.writestr(info, b"evil")
    before = set(tmp_path.rglob("*"))
    assert "leads out" in str(refusal(path, root))
    assert set(tmp_path.rglob("*")) == before


def test_harmless_oddities_are_taken(tmp_path, root):
    path = make_zip(
        tmp_path / "a.zip", {"train/": b"", "./train/a b.tif": b"1", "train//c.tif": b"2", "ä/日.png": b"3"}
    )
    unpack(path, root)
    assert contents(root) == {"train/a b.tif": b"1", "train/c.tif": b"2", "ä/日.png": b"3"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices(tmp_path, root, kind):
    info = zipfile.ZipInfo("train/link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr(info, b"/etc/passwd")
    assert "link or a device" in str(refusal(tmp_path / "bad.zip", root))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a.tif", "a.tif"), ("a.tif", "A.TIF"), ("a.tif", "./a.tif"), ("\u00e9", "e\u0301")])
def test_doubled_names(tmp_path, root, names):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        for name in names:
            file.writestr(name, b"x")
    assert "twice" in str(refusal(tmp_path / "bad.zip", root))


def test_a_file_that_is_also_a_folder(tmp_path, root):
    path = make_zip(tmp_path / "bad.zip", {"train/a.tif": b"x", "train": b"y"})
    assert "name of its folder" in str(refusal(path, root))


def test_zip_bombs(tmp_path, root, good):
    bomb = make_zip(tmp_path / "bomb.zip", {"zeros": bytes(110_000_000)}, zipfile.ZIP_DEFLATED)
    assert "110.0 MB" in str(refusal(bomb, root))
    data = bytearray(good.read_bytes())
    # Every entry of the directory points at the same, large member: the classic overlap.
    for at in _directory_entries(data):
        struct.pack_into("<I", data, at + 20, len(data))
    (tmp_path / "overlap.zip").write_bytes(data)
    assert "overlap" in str(refusal(tmp_path / "overlap.zip", root))


def _directory_entries(data: bytes) -> list[int]:
    places, at = [], data.find(b"PK\x01\x02")
    while at >= 0:
        places.append(at)
        at = data.find(b"PK\x01\x02", at + 1)
    return places


def test_encrypted_members(tmp_path, root, good):
    data = bytearray(good.read_bytes())
    for at in _directory_entries(data):
        data[at + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    assert "encrypted" in str(refusal(tmp_path / "locked.zip", root))


@pytest.mark.parametrize("content", [b"id,label\n", bytes(range(256))])
def test_no_zip(tmp_path, root, content):
    path = tmp_path / "page.zip"
    path.write_bytes(content)
    error = refusal(path, root)
    assert "not a zip" in str(error)
    assert error.code == BAD_INPUT


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.99])
def test_truncated(tmp_path, root, good, share):
    data = good.read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(data[: int(len(data) * share)])
    assert "cut short" in str(refusal(path, root))


def test_empty_archive_absent_archive_folder(tmp_path, root):
    assert "no files" in str(refusal(make_zip(tmp_path / "empty.zip", {}), root))
    assert "no archive" in str(refusal(tmp_path / "absent.zip", root))
    assert "no archive" in str(refusal(tmp_path, root))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_leaves_no_file_and_the_rest_goes_on_later(tmp_path, root, compression):
    path = make_zip(tmp_path / "a.zip", FILES, compression)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("test/b.tif")
    broken = bytearray(whole)
    broken[info.header_offset + 30 + len(info.filename) + 1500] ^= 0x10
    path.write_bytes(broken)
    with pytest.raises(KitError, match=r"test/b.tif is damaged .*: fetch the archive again"):
        unpack(path, root)
    assert contents(root) == {name: FILES[name] for name in ("train.csv", "train/a.tif")}
    path.write_bytes(whole)
    assert unpack(path, root) == (2, 2)
    assert contents(root) == FILES


def test_headers_that_contradict_the_directory(tmp_path, root, good):
    data = good.read_bytes()
    (tmp_path / "liar.zip").write_bytes(data.replace(b"train.csv", b"../../../", 1))
    assert "damaged" in str(refusal(tmp_path / "liar.zip", root))


def test_random_damage_is_always_a_kit_error(tmp_path, good):
    chance, data, refused = random.Random(0), good.read_bytes(), 0
    for number in range(300):
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 5)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        path, root = tmp_path / "x.zip", tmp_path / str(number)
        path.write_bytes(broken)
        (root / ".kit").mkdir(parents=True)
        try:
            unpack(path, root)
        except KitError:
            refused += 1
        shutil.rmtree(root)
    assert refused > 0
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, good.name}


def test_links_in_the_folder_are_not_followed(tmp_path, good, root):
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "train").symlink_to(outside)
    with pytest.raises(KitError, match="is a link"):
        unpack(good, root)
    assert list(outside.iterdir()) == []
    (root / "train").unlink()
    victim = tmp_path / "victim"
    victim.write_bytes(FILES["train/a.tif"])
    (root / "train").mkdir()
    (root / "train/a.tif").symlink_to(victim)
    unpack(good, root)
    assert not (root / "train/a.tif").is_symlink()


def test_too_little_space_is_told_with_figures(root, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 10_000_000))
    need_space(root, [4096] * 2000)
    with pytest.raises(KitError, match=r"81.9 MB are needed .* 10.0 MB are free: free 71.9 MB more") as caught:
        need_space(root, [1] * 20_000)
    assert caught.value.code == DISK
    need_space(root / "not" / "yet" / "there", [1] * 2000)


def test_a_full_disk_leaves_whole_files_only(good, root, monkeypatch):
    replace, done = os.replace, []

    def full(source, target):
        if len(done) == 2:
            raise OSError(28, "No space left on device")
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(KitError, match="No space left on device") as caught:
        unpack(good, root)
    assert caught.value.code == DISK
    assert contents(root) == {name: FILES[name] for name in ("train.csv", "train/a.tif")}


def test_the_digest_tells_contents_apart_not_packings(tmp_path, good):
    with Archive(good) as first, Archive(make_zip(tmp_path / "b.zip", FILES, zipfile.ZIP_DEFLATED)) as second:
        assert first.digest == second.digest
        assert all(not matches(tmp_path / "absent", member) for member in first.members)
    with Archive(make_zip(tmp_path / "c.zip", {**FILES, "empty": b"x"})) as third:
        assert third.digest != second.digest
