"""Tars, plain and packed, arrive byte for byte as zips do; every bad kind is refused before a file is written."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable

import pytest

from helpers.arrivals import TABLE, bring, packed, store_at
from helpers.leaf_store import contents
from kit.archives.archive import Archive
from kit.archives.kinds import DamagedArchive
from kit.archives.nested import open_archive
from kit.errors import KitError

FILES = {"train.csv": TABLE, "train/a": os.urandom(3000), "train/b": b"", "train/" + "n" * 150: b"1", "train/ä": b"2"}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tgz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


def tarred(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT, **fields: object) -> bytes:
    """A tar of these files; `fields` are set on the last one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as file:
        for number, (name, content) in enumerate(files.items(), 1):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            for field, value in fields.items() if number == len(files) else ():
                setattr(info, field, value)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path / "leaves")


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_every_form_arrives_byte_for_byte(store, ending, form):
    content = PACK[ending](tarred(FILES, form))
    bring(store, content, name=f"leaves.{ending}")
    assert contents(store) == FILES
    assert store.note["source"] == f"leaves.{ending}"
    inode = (store.root / "train/a").stat().st_ino
    (store.root / "train.csv").write_bytes(TABLE.replace(b"a", b"x"))
    bring(store, content, name=f"leaves.{ending}")
    assert contents(store) == FILES
    assert (store.root / "train/a").stat().st_ino == inode


@pytest.mark.parametrize("name", ["leaves.zip", "data", "leaves.csv"])
def test_a_tar_is_told_by_its_bytes_and_not_by_its_name(store, name):
    bring(store, gzip.compress(tarred(FILES)), name=name)
    assert contents(store) == FILES


def test_what_tools_write_is_taken(store):
    """`tar -C folder .` on a Mac: the folder itself, `./` before all names, sidecars; packed in several streams."""
    files = {"./": b"", "./._train.csv": b"\0\5\26\7", "./train.csv": TABLE, "./train/": b"", "./train/._a": b"\0\5"}
    files |= {"./train/a": b"1", "./.DS_Store": b"x", "__MACOSX/train/._a": b"x", "./train/b": b"2"}
    whole = tarred(files)
    bring(store, lzma.compress(whole[:700]) + bytes(8) + lzma.compress(whole[700:]))
    assert contents(store) == {"train.csv": TABLE, "train/a": b"1", "train/b": b"2"}


def test_a_tar_in_a_zip_and_a_zip_in_a_tar(store):
    inner = packed({"b": b"2"})
    bring(store, packed({"train.csv": TABLE, "train.tar.gz": gzip.compress(tarred({"a": b"1", "deep.zip": inner}))}))
    assert contents(store) == {"train.csv": TABLE, "train/a": b"1", "train/deep/b": b"2"}


HOSTILE = {
    "up": (tarred({"train.csv": TABLE, "../out": b"x"}), "leads out"),
    "up with backslashes": (tarred({"train\\..\\..\\out": b"x"}), "leads out"),
    "absolute": (tarred({"/etc/out": b"x"}), "leads out"),
    "kit's own": (tarred({"./.kit/origin.json": b"x"}), "leads out"),
    "link": (tarred({"a": b""}, type=tarfile.SYMTYPE, linkname="/etc"), "link or a device"),
    "hard link": (tarred({"b": b"1", "a": b""}, type=tarfile.LNKTYPE, linkname="/etc/passwd"), "link or a device"),
    "device": (tarred({"a": b""}, type=tarfile.CHRTYPE), "link or a device"),
    "pipe": (tarred({"a": b""}, type=tarfile.FIFOTYPE), "link or a device"),
    "unknown kind": (tarred({"a": b""}, type=b"Z"), "link or a device"),
    "sparse": (tarred({"a": b""}, type=tarfile.GNUTYPE_SPARSE), "stored with holes"),
    "sparse of POSIX": (tarred({"a": b""}, pax_headers={"GNU.sparse.major": "1"}), "stored with holes"),
    "twice": (tarred({"a": b"1", "A": b"2"}), "twice"),
    "file and folder": (tarred({"a": b"1", "a/b": b"2"}), "name of its folder"),
    "large header": (tarred({"a": b"1"}, pax_headers={"comment": "x" * 2_000_000}), "its header has"),
    "bomb": (gzip.compress(tarred({"a": bytes(110_000_000)}), 9), "zip bomb"),
    "nothing": (gzip.compress(tarred({})), "holds no files"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_tars_change_nothing(store, tmp_path, kind):
    content, why = HOSTILE[kind]
    with pytest.raises(KitError, match=why) as caught:
        bring(store, content, name="leaves.tar")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["leaves.tar"]


def rewritten(header: bytes, at: int, field: bytes) -> bytes:
    """A tar's first header with another field, and the checksum that fits."""
    block = bytearray(header[:512])
    block[at : at + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + header[512:]


WHOLE = tarred(FILES)
BROKEN = {
    "a size below nothing": rewritten(WHOLE, 124, b"\xff" * 12),
    "a size that is none": rewritten(WHOLE, 124, b"zzzzzzzzzzz\0"),
    "a size beyond the end": rewritten(WHOLE, 124, b"77777777777\0"),
    "an extended size below nothing": tarred({"a": b"1"}, pax_headers={"size": "-5"}),
    "an extended header that is none": rewritten(tarred({"x": b"no header"}), 156, b"x"),
    "no end": WHOLE[: len(WHOLE) // 10240 * 10240 - 10240] or WHOLE[:1024],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_headers_are_damage(store, kind):
    with pytest.raises(DamagedArchive):
        bring(store, BROKEN[kind], name="leaves.tar")


@pytest.mark.parametrize("ending", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_packed_tar_that_is_cut_or_changed_anywhere_is_damaged(tmp_path, ending):
    content, path = PACK[ending](WHOLE), tmp_path / f"leaves.{ending}"
    for at in range(10, len(content) - 1, 131):
        for broken in (content[:at], content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]):
            path.write_bytes(broken)
            with pytest.raises(KitError, match="cut short or damaged"):
                open_archive(path)


def test_a_change_between_listing_and_writing_is_noticed(store, tmp_path, monkeypatch):
    """What was measured is what must be written."""
    path, write = tmp_path / "leaves.tar", Archive.write

    def changing(self, *arguments):
        path.write_bytes(WHOLE.replace(b"id,label", b"di,label"))
        return tar_write(self, *arguments)

    from kit.archives.tar import Tar

    tar_write = Tar.write
    monkeypatch.setattr(Tar, "write", changing)
    with pytest.raises(DamagedArchive, match=r"train\.csv"):
        bring(store, WHOLE, name="leaves.tar")
    assert Archive.write is write
    assert contents(store) == {}


def test_a_large_dictionary_takes_no_memory(store, monkeypatch):
    monkeypatch.setattr("kit.archives.tar.LARGEST_DICTIONARY", 1 << 20)  # as 1.5 GiB with the real limit
    with pytest.raises(KitError, match="cut short or damaged"):
        bring(store, lzma.compress(WHOLE, preset=6), name="leaves.tar.xz")
