"""Archives within archives: where their files go, what is refused, and that a kill anywhere loses nothing."""

import io
import os
import stat
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from helpers.leaf_store import contents, read_index
from kit.archives.archive import DamagedArchive
from kit.archives.unpack import add_files, from_archives, from_miniature, lock, missing_files, unpack
from kit.console import Console
from kit.data.store import Store, data_state
from kit.errors import KitError
from kit.plugin import Competition, DatasetSpec

TABLE = b"id,label\na,0\nb,1\n"


def packed(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
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
    (root / "train").mkdir()
    (root / "train.csv").write_text("id,label\nx,0\ny,1\n")
    for name in ("x", "y"):
        (root / "train" / name).write_text(name)


@pytest.fixture
def store(tmp_path):
    facts = Competition("leaves", "Leaves", "leaves", "binary", "roc_auc", "leaves", "leaves")
    dataset = DatasetSpec("leaves", 3, index=read_index, read=lambda files: None, miniature=write_miniature)
    return Store(facts, dataset, tmp_path / "data" / "leaves")


@pytest.fixture
def bring(store, tmp_path):
    """Bring files, zipped, to the store; more members make it one that the index takes."""

    def bring(files: dict[str, bytes], force: bool = False, content: bytes | None = None) -> dict[str, bytes]:
        path = tmp_path / "leaves.zip"
        path.write_bytes(content or packed({"train.csv": TABLE, **files}))
        from_archives(store, [path], force, Console())
        there = contents(store)
        assert there.pop("train.csv") == TABLE
        assert store.files() == sorted([*there, "train.csv"])
        assert {path.name for path in store.root.glob(".kit/*")} == {"files.txt", "origin.json", "lock"}
        return there

    return bring


MAPPED = [
    ("train.zip", {"a": b"1", "b": b"2"}, {"train/a": b"1", "train/b": b"2"}),
    ("train.zip", {"train/a": b"1", "train/b/c": b"2"}, {"train/a": b"1", "train/b/c": b"2"}),
    ("train.zip", {"train/a": b"1", "b": b"2"}, {"train/train/a": b"1", "train/b": b"2"}),
    ("labels.csv.zip", {"labels.csv": b"1"}, {"labels.csv": b"1"}),
    ("labels.csv.zip", {"labels.csv": b"1", "b": b"2"}, {"labels.csv/labels.csv": b"1", "labels.csv/b": b"2"}),
    ("x/labels.CSV.ZIP", {"labels.CSV": b"1"}, {"x/labels.CSV": b"1"}),
    ("x/part_1.zip", {"a.jpg": b"1"}, {"x/part_1/a.jpg": b"1"}),
    ("x/.zip", {"a": b"1"}, None),
]


@pytest.mark.parametrize("pack", [packed, seven])
@pytest.mark.parametrize(("name", "files", "expected"), MAPPED)
def test_where_the_files_go(store, bring, tmp_path, pack, name, files, expected):
    inner = pack(files)
    name = name if pack is packed else name.replace(".zip", ".7z").replace(".ZIP", ".7Z")
    expected = expected or {name: inner}
    assert bring({name: inner}) == expected
    assert from_archives(store, [tmp_path / "leaves.zip"], False, Console()) is None
    (store.root / next(iter(expected))).unlink()
    assert missing_files(store) == 1
    assert bring({name: inner}) == expected
    assert bring({name: inner}, force=True) == expected


def test_three_deep_and_four_deep(store, bring):
    third = packed({"c.zip": packed({"a": b"1"}), "note": b"2"})
    assert bring({"all.zip": packed({"train.zip": third})}) == {"all/train/c/a": b"1", "all/train/note": b"2"}
    with pytest.raises(KitError, match=r"d\.zip is nested more than 3 archives deep"):
        bring({"x.zip": packed({"all.zip": packed({"train.zip": packed({"d.zip": third})})})}, force=True)
    assert store.origin == "archive"


def link(target: bytes) -> bytes:
    buffer, info = io.BytesIO(), zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(info, target)
    return buffer.getvalue()


HOSTILE = [
    ({"train.zip": packed({"a": b"1"}), "train/a": b"2"}, "twice"),
    ({"train.zip": packed({"a": b"1"}), "train/A": b"2"}, "twice"),
    ({"train.zip": packed({"a": b"1"}), "train.7z": packed({"a": b"2"})}, "twice"),
    ({"train.zip": packed({"a": b"1"}), "train": b"2"}, "name of its folder"),
    ({"labels.zip": packed({"labels": b"1"}), "labels/b": b"2"}, "name of its folder"),
    ({"train.zip": link(b"/etc")}, "link or a device"),
    ({"train.zip": packed({"../../a": b"1"})}, "leads out"),
    ({"train.zip": packed({"/etc/a": b"1"})}, "leads out"),
    ({"...zip": packed({"a": b"1"})}, r"go to '\.\./a'"),
    ({".kit.zip": packed({"origin.json": b"1"})}, r"go to '\.kit/origin"),
    ({"train.zip": packed({"zeros": bytes(101_000_000)})}, "zip bomb"),
    ({f"{n}.zip": packed({"zeros": bytes(40_000_000)}) for n in range(3)}, "zip bomb"),
    ({f"{n}.zip": packed({"a": b"1"}) for n in range(201)}, "more than 200"),
    ({"train.zip": b"<html>"}, "train.zip is a web page"),
    ({"train.zip": packed({})}, "no files"),
]


@pytest.mark.parametrize(("files", "why"), HOSTILE)
def test_hostile_inner_archives_change_nothing(store, bring, tmp_path, files, why):
    from_miniature(store, None, False)
    before = contents(store)
    with pytest.raises(KitError, match=why) as caught:
        bring(files, force=True)
    assert "\n" not in str(caught.value)
    assert contents(store) == before
    assert not (store.root / ".kit/nested").exists()
    assert store.is_miniature
    assert {path.name for path in tmp_path.iterdir()} == {"data", "leaves.zip"}
    assert bring({"train.zip": packed({"a": b"1"})}, force=True) == {"train/a": b"1"}


HOSTILE_7Z = [("../a", "leads out"), ("x/../../a", "leads out"), (".kit/a", "leads out"), ("C:/a", "leads out")]


def renamed(files: dict[str, bytes], old: str, new: str) -> bytes:
    """A 7z whose header, not compressed, has another name in it."""
    py7zr = pytest.importorskip("py7zr", reason="py7zr is not installed: .7z is not tested")
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as file:
        file.set_encoded_header_mode(False)
        for name, content in files.items():
            file.writestr(content, name)
    import struct
    import zlib

    data = buffer.getvalue()
    at, count = struct.unpack_from("<QQ", data, 12)
    header = data[32 + at : 32 + at + count].replace(old.encode("utf-16-le"), new.encode("utf-16-le"))
    start = struct.pack("<QQL", at, len(header), zlib.crc32(header))
    return data[:8] + struct.pack("<L", zlib.crc32(start)) + start + data[32 : 32 + at] + header


@pytest.mark.parametrize(("name", "why"), [*HOSTILE_7Z, ("a", "twice"), ("A", "twice"), ("/a", "leads out")])
@pytest.mark.parametrize("inside", [False, True])
def test_hostile_names_in_7z(store, bring, name, why, inside):
    content = renamed({"a": b"1", "#" * len(name): b"2"}, "#" * len(name), name)
    with pytest.raises(KitError, match=why):
        bring({"train.7z": content}) if inside else bring({}, content=content)
    assert contents(store) == {}


def test_a_link_in_7z(store, bring, tmp_path):
    py7zr = pytest.importorskip("py7zr", reason="py7zr is not installed: .7z is not tested")
    (tmp_path / "link").symlink_to("/etc/passwd")
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as file:
        file.write(tmp_path / "link", "link")
    with pytest.raises(KitError, match="link or a device"):
        bring({"train.7z": buffer.getvalue()})


def test_an_encrypted_7z(bring):
    py7zr = pytest.importorskip("py7zr", reason="py7zr is not installed: .7z is not tested")
    for hidden in (False, True):
        buffer = io.BytesIO()
        with py7zr.SevenZipFile(buffer, "w", password="x", header_encryption=hidden) as file:
            file.writestr(b"1", "a")
        with pytest.raises(KitError, match="is encrypted"):
            bring({}, content=buffer.getvalue())


def test_an_outer_7z(store, bring):
    files = {"train.csv": TABLE, "train/a": os.urandom(3000), "train/b": bytes(3000), "empty": b""}
    content = seven({**files, "x.zip": packed({"x": b"1"})})
    assert bring({}, content=content) == {**{n: c for n, c in files.items() if n != "train.csv"}, "x": b"1"}
    inode = (store.root / "train/a").stat().st_ino
    (store.root / "train/b").write_bytes(b"x" * 3000)
    assert bring({}, force=True, content=content)["train/b"] == files["train/b"]
    assert (store.root / "train/a").stat().st_ino == inode


def test_a_damaged_7z(store, bring):
    files = {"train.csv": TABLE, "train/a": os.urandom(3000), "train/b": os.urandom(3000)}
    content = seven(files)
    for at in range(0, len(content), 97):
        with pytest.raises(DamagedArchive):
            bring({}, content=content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :] if at else content[:-9])
        assert all(files[name] == there for name, there in contents(store).items())
        assert not list(store.root.glob(".kit/parts"))
    assert set(bring({}, content=content)) == {"train/a", "train/b"}


def test_7z_without_the_package(bring, monkeypatch):
    content = seven({"a": b"1"})
    monkeypatch.setitem(__import__("sys").modules, "py7zr", None)
    with pytest.raises(KitError, match=r"pip install 'competition-kit\[sevenzip\]'"):
        bring({"train.7z": content})


def test_damage_on_the_way_is_told_and_the_same_command_goes_on(store, bring):
    random = os.urandom(2000)
    good = packed({"train.csv": TABLE, "train.zip": packed({"a": random})}, zipfile.ZIP_STORED)
    at = good.index(random[:20])
    with pytest.raises(DamagedArchive, match=r"train\.zip is damaged"):
        bring({}, content=good[: at + 50] + bytes([good[at + 50] ^ 1]) + good[at + 51 :])
    assert contents(store) == {}
    assert bring({}, content=good) == {"train/a": random}


def test_damage_that_was_packed_is_told(store, bring):
    random = os.urandom(2000)
    inner = packed({"a": b"1", "b": random}, zipfile.ZIP_STORED)
    with pytest.raises(DamagedArchive, match=r"leaves\.zip: train\.zip: b is damaged"):
        bring({"train.zip": inner.replace(random, random[::-1])})
    assert data_state(store.root) == "absent"
    assert bring({"train.zip": inner}) == {"train/a": b"1", "train/b": random}


class Killed(BaseException):
    """What no handler of errors takes."""


def test_killed_at_every_rename_and_gone_on_with(store, bring, monkeypatch):
    """Also while a sample is replaced: its files are gone in the end, the person's own stays."""
    inner = {f"{number}": os.urandom(50) for number in range(6)}
    files = {"a.zip": packed(inner), "b.zip": packed({"c.zip": packed({"x": b"1"}), "d": b"2"}), "e": b"3"}
    expected = {**{f"a/{name}": content for name, content in inner.items()}, "b/c/x": b"1", "b/d": b"2", "e": b"3"}
    from_miniature(store, None, False)
    (store.root / "own").write_bytes(b"mine")
    replace, unlink = os.replace, Path.unlink

    def limited(call, counter):
        def wrapped(*args, **kwargs):
            counter[0] -= 1
            if counter[0] < 0:
                raise Killed
            return call(*args, **kwargs)

        return wrapped

    kills = 0
    for step in range(1, 60):
        counter = [step]
        monkeypatch.setattr(os, "replace", limited(replace, counter))
        monkeypatch.setattr(Path, "unlink", limited(unlink, counter))
        # A process that is killed removes nothing any more.
        monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: None)
        try:
            from_archives(store, [make(store, files)], True, Console())
        except Killed:
            kills += 1
            known = set(store.files())
            assert set(contents(store)) <= known | {"own"}, "a file that kit wrote is not in its list"
        finally:
            monkeypatch.undo()
    assert kills > 10
    there = bring(files, force=True) if store.origin is None else contents(store)
    assert {**there, "train.csv": TABLE} == {**expected, "own": b"mine", "train.csv": TABLE}


def make(store: Store, files: dict[str, bytes]) -> Path:
    path = store.root.parent.parent / "leaves.zip"
    path.write_bytes(packed({"train.csv": TABLE, **files}))
    return path


def test_space_is_needed_for_inner_archives_too(store, bring, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(0, 0, 50_000))
    with pytest.raises(KitError, match="are free"):
        bring({"train.zip": os.urandom(60_000)})
    assert not (store.root / ".kit" / "nested").exists()
    with pytest.raises(KitError, match="are free"):
        bring({"train.zip": packed({"a": bytes(60_000)})})
    assert contents(store) == {}


def test_single_files_and_then_the_rest(store, tmp_path):
    def add(files, force=False):
        paths = {name: tmp_path / f"{number}" for number, name in enumerate(files)}
        for name, path in paths.items():
            path.write_bytes(files[name])
        with lock(store):
            add_files(store, paths, force, "kaggle", "leaves")

    with pytest.raises(KitError, match="leads out"):
        add({"../a": b"1"})
    add({"train/a": b"1"})
    assert (store.note["digest"], data_state(store.root), store.files()) == ("", "incomplete", ["train/a"])
    add({"train/b": b"2"})
    (store.root / "own").write_bytes(b"mine")
    with pytest.raises(KitError, match="not kit's"):
        add({"own": b"3"})
    path = make(store, {"train/a": b"1", "train/b": b"2", "test/c": b"3"})
    with lock(store):
        arrival = unpack(store, path, "kaggle", "leaves", False, Console())
    assert (arrival.written, arrival.kept, store.origin) == (2, 2, "kaggle")
    add({"train/a": b"9", "new": b"4"})
    assert (store.origin, missing_files(store)) == ("kaggle", 0)
    assert store.files() == ["new", "test/c", "train.csv", "train/a", "train/b"]
    (store.root / "new").unlink()
    assert missing_files(store) == 1


def test_single_files_do_not_mix_with_a_sample(store, tmp_path):
    from_miniature(store, None, False)
    (tmp_path / "x").write_bytes(b"1")
    with pytest.raises(KitError, match=r"miniature.*--force"), lock(store):
        add_files(store, {"a": tmp_path / "x"}, False, "kaggle", "leaves")
    with lock(store):
        add_files(store, {"a": tmp_path / "x"}, True, "kaggle", "leaves")
    assert contents(store) == {"a": b"1"}
    assert data_state(store.root) == "incomplete"
