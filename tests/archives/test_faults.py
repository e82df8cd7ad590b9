"""Arrivals cut short by a kill, a full disk or a wrong archive: what was there stays, or the same command goes on."""

import bz2
import io
import lzma
import os
import resource
import shutil
import signal
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.arrivals import NEW, OLD, STORED, TABLE, bring, packed, seven, store_at
from helpers.leaf_store import contents
from kit.archives.expand import TooLarge
from kit.archives.part import Part
from kit.archives.sevenzip import _refuse_dictionaries
from kit.archives.unpack import from_archives, from_miniature
from kit.console import Console
from kit.data.checksums import Checksums, verify_data
from kit.data.store import data_state
from kit.errors import DISK, KitError


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path / "leaves")


def in_child(work: Callable[[], object]) -> int:
    """Run in a process of its own; return how it ended: the code of the `KitError`, 0 for none, or minus the signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except KitError as error:
            os._exit(error.code)
        except BaseException:
            os._exit(99)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


# Short writes

LARGE = os.urandom(9000)
SOURCES = {
    "stored": lambda: packed({"train.csv": TABLE, "train/a": LARGE}, STORED),
    "deflated": lambda: packed({"train.csv": TABLE, "train/a": LARGE}),
    "bzip2": lambda: packed({"train.csv": TABLE, "train/a": LARGE}, zipfile.ZIP_BZIP2),
    "lzma": lambda: packed({"train.csv": TABLE, "train/a": LARGE}, zipfile.ZIP_LZMA),
    "7z": lambda: seven({"train.csv": TABLE, "train/a": LARGE}),
    "zip in a zip": lambda: packed({"train.csv": TABLE, "train.zip": packed({"a": LARGE})}),
    "7z in a zip": lambda: packed({"train.csv": TABLE, "train.7z": seven({"a": LARGE})}),
    "a table": lambda: TABLE + b"c,1\n" * 3000,
}


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("source", [*SOURCES, "miniature"])
def test_a_limit_of_file_size_ends_with_code_5_and_changes_nothing(store, source, there):
    if there:
        bring(store, packed(OLD))
    before = contents(store)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        if source == "miniature":
            from_miniature(store, None, True)
        else:
            from_archives(store, [path], True, Console(silent=True))

    path = store.root.parent / ("train.csv" if source == "a table" else "new.zip")
    path.write_bytes(SOURCES[source]() if source != "miniature" else b"")
    assert in_child(limited) == DISK
    assert contents(store) == before
    assert data_state(store.root) == ("archive" if there else "absent")
    assert {each.name for each in store.own.glob("*")} == ({"lock", "files.txt", "origin.json"} if there else set())
    assert store.root.exists() == there


class Moody:
    """A file on a disk that takes only a part: it says so, or not."""

    def __init__(self, file, honest: bool) -> None:
        self.file, self.honest = file, honest

    def write(self, chunk):
        taken = self.file.write(chunk[: max(1, len(chunk) // 2)])
        return taken if self.honest else len(chunk)

    def close(self):
        self.file.close()


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("source", ["stored", "deflated", "7z", "zip in a zip", "a table"])
def test_a_disk_that_takes_a_part_of_a_write(store, monkeypatch, source, honest):
    begin = Part.__init__

    def moody(self, *args):
        begin(self, *args)
        self.file = Moody(self.file, honest)

    monkeypatch.setattr(Part, "__init__", moody)
    name = "train.csv" if source == "a table" else "leaves.zip"
    if honest:
        bring(store, SOURCES[source](), name=name)
        assert verify_data(store, Console()) == []
        return
    with pytest.raises(KitError, match=r"can't be written .* free some space") as caught:
        bring(store, SOURCES[source](), name=name)
    assert caught.value.code == DISK
    assert contents(store) == {}


# Kills

CHANGES = ("link", "rename", "replace", "mkdir", "unlink", "rmdir", "open")


def killed(work: Callable[[], object], moment: int) -> bool:
    """Run `work` in a process that dies at its n-th change of the disk; return False if it ended before that."""

    def dying() -> None:
        calls = 0

        def counted(change: Callable) -> Callable:
            def call(*args, **named):
                nonlocal calls
                writes = change is not opened or args[1] & (os.O_WRONLY | os.O_CREAT)
                calls += bool(writes)
                if calls == moment and writes:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*args, **named)

            return call

        opened = os.open
        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        work()

    ended = in_child(dying)
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


SCENARIOS = {
    "first": (lambda store: None, lambda store: bring(store, packed(NEW)), NEW),
    "replaced": (lambda store: bring(store, packed(OLD)), lambda store: bring(store, packed(NEW), force=True), NEW),
    "nested": (
        lambda store: bring(store, packed(OLD)),
        lambda store: bring(
            store, packed({**NEW, "in.zip": packed({"x": b"1", "y.7z.zip": packed({"z": b"2"})})}), force=True
        ),
        {**NEW, "in/x": b"1", "in/y.7z/z": b"2"},
    ),
    "added": (
        lambda store: bring(store, packed(OLD)),
        lambda store: bring(store, packed({"more/x": b"3"}), add=True),
        {**OLD, "more/x": b"3"},
    ),
    "miniature": (
        lambda store: bring(store, packed(OLD)),
        lambda store: from_miniature(store, 1, True),
        {"train.csv": TABLE, "train/a": b"x" * 5000, "train/b": b"y"},
    ),
    "restored": (
        lambda store: (bring(store, packed(OLD)), (store.root / "train/a").write_bytes(b"0ld a")),
        lambda store: bring(store, packed(OLD), force=True),
        OLD,
    ),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_every_change_of_the_disk(tmp_path, monkeypatch, scenario):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    prepare, work, expected = SCENARIOS[scenario]
    folds = scenario in ("added", "restored")
    for moment in range(1, 400, {"first": 1, "replaced": 1}.get(scenario, 3)):
        store = store_at(tmp_path / str(moment) / "leaves")
        store.root.mkdir(parents=True)
        prepare(store)
        (store.root / "own").write_bytes(b"the person's")
        if store.own.exists():
            (store.own / "folds").mkdir()
            (store.own / "folds/3.csv").write_text("computed")
        before = contents(store)
        alive = not killed(lambda store=store: work(store), moment)
        if store.is_whole:
            # The old or the new, never a mixture.
            assert (
                {name for name, _ in verify_data(store, Console())} <= {"train/a"} if scenario == "restored" else True
            )
            assert contents(store) in (before, {**expected, "own": b"the person's"})
        if moment % 3 == 0:
            killed(lambda store=store: work(store), max(1, moment // 2))
        work(store)
        assert contents(store) == {**expected, "own": b"the person's"}
        assert verify_data(store, Console()) == []
        left = {"lock", "files.txt", "origin.json"} | ({"truth.csv"} if scenario == "miniature" else set())
        assert {path.name for path in store.own.iterdir()} == left | ({"folds"} if folds else set())
        shutil.rmtree(tmp_path / str(moment))
        if alive:
            break
    assert moment > 20


@pytest.mark.parametrize("kind", ["wrong", "no images", "damaged", "cut", "page", "bomb", "absent"])
@pytest.mark.parametrize("there", ["nothing", "archive", "miniature"])
@pytest.mark.parametrize("force", [False, True])
def test_an_archive_that_does_not_fit_changes_nothing(store, kind, there, force):
    random = os.urandom(3000)
    good = packed({**NEW, "train/a": random}, STORED)
    content = {
        "wrong": packed({"cats/1.png": b"x"}),
        "no images": packed({"train.csv": b"id,label\n"}),
        "damaged": good.replace(random[100:110], b"0123456789"),
        "cut": good[:-40],
        "page": b"<html>",
        "bomb": packed({**NEW, "zeros": bytes(110_000_000)}) if kind == "bomb" else b"",
    }.get(kind)
    if there == "archive":
        bring(store, packed(OLD))
    elif there == "miniature":
        from_miniature(store, None, False)
    if there != "nothing":
        (store.own / "folds").mkdir()
        (store.own / "folds/3.csv").write_text("computed")

    def everything() -> dict[str, bytes]:
        files = (path for path in store.root.rglob("*") if path.is_file() and path.name != "lock")
        return {str(path): path.read_bytes() for path in files}

    before = everything()
    path = store.root.parent / ("absent.zip" if content is None else "bad.zip")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KitError) as caught:
        from_archives(store, [path], force, Console())
    assert "\n" not in str(caught.value)
    assert caught.value.code == 2
    assert everything() == before
    bring(store, packed(NEW), force=there != "nothing")
    assert contents(store) == NEW


def test_a_disk_without_hard_links(store, monkeypatch):
    bring(store, packed(OLD))

    def none(*args):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", none)
    bring(store, packed({"more/x": b"3"}), add=True)
    assert contents(store) == {**OLD, "more/x": b"3"}
    assert Checksums.of(store.root).get("more/x").size == 1


# What expands to more than it says, or takes more memory than it may


def packed_by(method: int, head: bytes, body: bytes, count: int, crc: int) -> bytes:
    """A zip of one member whose compressed bytes are given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("train.csv", head + body)
    data = bytearray(buffer.getvalue())
    at = data.index(b"PK\x01\x02")
    for begin, more in ((0, 0), (at, 2)):
        struct.pack_into("<H", data, begin + 8 + more, method)
        struct.pack_into("<I", data, begin + 14 + more, crc)
        struct.pack_into("<I", data, begin + 22 + more, count)
    return bytes(data)


def lzma_body(content: bytes, dictionary: int) -> tuple[bytes, bytes]:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}]
    body = lzma.compress(content, lzma.FORMAT_RAW, filters=filters)
    return b"\x09\x04\x05\x00" + bytes([0x5D]) + struct.pack("<I", dictionary), body


@pytest.mark.parametrize(
    ("dictionary", "why"), [(0xFFFFFFFF, "dictionary of 4,294,967,295 bytes"), (1 << 30, "dictionary"), (1 << 16, None)]
)
def test_lzma_with_a_large_dictionary(store, dictionary, why):
    head, body = lzma_body(TABLE, dictionary)
    content = packed_by(zipfile.ZIP_LZMA, head, body, len(TABLE), zipfile.crc32(TABLE))
    if why is None:
        bring(store, content)
        assert contents(store) == {"train.csv": TABLE}
        return
    with pytest.raises(KitError, match=why):
        bring(store, content)


def test_a_7z_with_a_large_dictionary(store):
    for coder in (
        {"method": b"\x21", "properties": bytes([40])},
        {"method": b"\x21", "properties": bytes([39])},
        {"method": b"\x03\x01\x01", "properties": b"\x5d\xff\xff\xff\xff"},
        {"method": b"\x03\x04\x01", "properties": b"\x06\xff\xff\xff\xff"},
    ):
        with pytest.raises(TooLarge):
            _refuse_dictionaries([SimpleNamespace(coders=[coder])])
    _refuse_dictionaries([SimpleNamespace(coders=[{"method": b"\x21", "properties": bytes([28])}, {"method": b"\0"}])])


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_expands_to_far_more_than_it_says_takes_no_memory(store, method):
    """A megabyte of bzip2 or lzma can hold gigabytes: they are neither kept in memory nor written."""
    zeros = bytes(250_000_000)
    head, body = (b"", bz2.compress(zeros)) if method == zipfile.ZIP_BZIP2 else lzma_body(zeros, 1 << 16)
    del zeros

    def limited() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, used + 100_000_000))
        bring(store, packed_by(method, head, body, 1000, 0))

    assert in_child(limited) == 2
    assert contents(store) == {}
