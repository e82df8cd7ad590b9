"""What is given in place of an archive is named as what it is, with what mends it, and leaves nothing behind."""

import gzip
import io
import os
import shutil
import struct
import subprocess
import zipfile

import pytest

from helpers.arrivals import TABLE, bring, packed, store_at
from helpers.leaf_store import contents
from kit.archives.unpack import from_archives
from kit.console import Console
from kit.errors import BAD_INPUT, KitError

ZIP = packed({"train.csv": TABLE, "train/a": os.urandom(9000), "train/b": b"2"}, zipfile.ZIP_STORED)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>"


def disks(content: bytes, number: int) -> bytes:
    """A zip whose end record says that it is the last of `number` + 1 files."""
    at = content.rindex(b"PK\5\6")
    return content[: at + 4] + struct.pack("<HH", number, number) + content[at + 8 :]


KINDS = [
    ("data.zip", b"", "data.zip is empty: fetch it again"),
    ("data.csv", b"", "data.csv is empty"),
    ("data.zip", PAGE, "is a web page.*sign in"),
    ("train.csv", PAGE, "is a web page"),
    ("data.tar.gz", b"\xef\xbb\xbf<html lang='en'>", "is a web page"),
    ("data.zip", LFS, "pointer of Git LFS.*git lfs pull"),
    ("train.csv", LFS, "pointer of Git LFS"),
    ("data.7z", LFS, "pointer of Git LFS"),
    ("data.zip", b'{"code":403,"message":"You must accept this competition\'s rules"}', "answer of a server.*accept"),
    ("data.zip", b"Rar!\x1a\x07\x01\x00" + bytes(90), "is a rar archive.*unrar"),
    ("data.rar", b"Rar!\x1a\x07\x00" + bytes(90), "is a rar archive"),
    ("data.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(90), "zstd.*unzstd"),
    ("data.tar.lz4", b"\x04\x22\x4d\x18" + bytes(90), "which kit does not unpack"),
    ("data.zip", b"%PDF-1.7\n" + bytes(90), "is a PDF"),
    ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(90), "is an image"),
    ("data.zip.crdownload", ZIP[:-500], "download that is not finished"),
    ("data.zip.part", ZIP[:-500], "download that is not finished"),
    ("data.zip", ZIP[:-500], "is cut short or damaged"),
    ("train.csv.gz", gzip.compress(TABLE), "one packed file.*gunzip"),
    ("data.zip.001", ZIP[:-500], r"one part of a split archive: join them with cat .*data\.zip\.\* > "),
    ("data.tar.gz.partaa", gzip.compress(ZIP)[:500], "one part of a split archive"),
    ("data.zip.aa", ZIP[:-500], "one part of a split archive"),
    ("data.z01", b"PK\x07\x08" + ZIP[:-500], r"a part of a split zip: .*zip -s 0 .*data\.zip --out .*data-joined\.zip"),
    ("data.zip", disks(ZIP, 3), r"a part of a split zip of 4 parts: .*zip -s 0"),
    ("data.7z.001", b"7z\xbc\xaf\x27\x1c" + bytes(90), "one part of a split archive"),
    ("data.zip", bytes(5000), "holds no files|not a zip"),
    ("data.zip", bytes(range(64, 128)), "not a zip, tar or 7z archive|answer"),
]


@pytest.mark.parametrize(
    ("name", "content", "why"), KINDS, ids=[f"{number}-{row[0]}" for number, row in enumerate(KINDS)]
)
def test_it_is_named_and_nothing_stays(tmp_path, name, content, why):
    store = store_at(tmp_path / "data" / "leaves")
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(KitError, match=why) as caught:
        from_archives(store, [path], False, Console(silent=True))
    assert caught.value.code == BAD_INPUT
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path)), "what was found comes first"
    assert [each.name for each in tmp_path.iterdir()] == [name], "neither a folder nor a lock stays"


def test_an_empty_file_beside_the_browsers_unfinished_one(tmp_path):
    (tmp_path / "data.zip").touch()
    (tmp_path / "data.zip.part").write_bytes(ZIP[:100])
    with pytest.raises(KitError, match=r"is empty: data\.zip\.part beside it shows that its download is not finished"):
        from_archives(store_at(tmp_path / "leaves"), [tmp_path / "data.zip"], False, Console(silent=True))


def test_a_password(tmp_path):
    data = bytearray(packed({"train.csv": TABLE}))
    for at in (data.find(b"PK\3\4") + 6, data.find(b"PK\1\2") + 8):
        data[at] |= 1
    with pytest.raises(KitError, match=r"train\.csv is encrypted, and kit knows no password: unpack it with yours"):
        bring(store_at(tmp_path / "leaves"), bytes(data))
    assert [each.name for each in tmp_path.iterdir()] == ["leaves.zip"]


@pytest.mark.skipif(shutil.which("zip") is None, reason="zip is not installed")
def test_the_command_that_is_named_joins_a_split_zip(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train.csv").write_bytes(TABLE)
    for name in ("a", "b"):
        (tmp_path / "train" / name).write_bytes(os.urandom(200_000))
    subprocess.run(["zip", "-q", "-r", "-s", "100k", "s.zip", "train.csv", "train"], cwd=tmp_path, check=True)
    store = store_at(tmp_path / "data" / "leaves")
    for name in ("s.zip", "s.z01"):
        with pytest.raises(KitError) as caught:
            from_archives(store, [tmp_path / name], False, Console(silent=True))
        command = str(caught.value).partition("join them with ")[2].partition(", then")[0]
    subprocess.run(command.replace("zip -s", "zip -q -s", 1), shell=True, check=True)
    from_archives(store, [tmp_path / "s-joined.zip"], False, Console(silent=True))
    assert contents(store).keys() == {"train.csv", "train/a", "train/b"}


def windows(files: dict[str, bytes], system: int) -> bytes:
    """A zip as some tools on Windows write it: `\\` between the names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.create_system = system
            file.writestr(info, content)
    return buffer.getvalue()


ARRIVED = {"train.csv": TABLE, "train/a": b"1", "train/b": b"2"}
TOP = {f"leaves/{name}": content for name, content in ARRIVED.items()}
SIDECARS = {"train/._a": b"x", "__MACOSX/._train.csv": b"x", ".DS_Store": b"x", "train/Thumbs.db": b"x"}
SIDECARS |= {"train/Icon\r": b"", "@eaDir/a.png/SYNO.jpg": b"x", "train/desktop.ini": b"x"}
MAC = {**TOP, **{f"__MACOSX/{name.replace('leaves/', 'leaves/._')}": b"x" for name in TOP}}
SHAPES = {
    "backslashes": windows({"train.csv": TABLE, "train\\": b"", "train\\a": b"1", "train\\b": b"2"}, 0),
    "backslashes of Python": windows({"train.csv": TABLE, "train\\a": b"1", "train\\b": b"2"}, 3),
    "a top folder": packed(TOP),
    "a top folder with backslashes": windows({name.replace("/", "\\"): content for name, content in TOP.items()}, 0),
    "a top folder with backslashes and sidecars": windows({name.replace("/", "\\"): MAC[name] for name in MAC}, 0),
    "two top folders": packed({f"download/the {name}": content for name, content in TOP.items()}),
    "a note beside it": packed({**TOP, "README.md": b"x"}),
    "sidecars": packed({**ARRIVED, **SIDECARS}),
    "a top folder and sidecars": packed({**TOP, "__MACOSX/leaves/._train.csv": b"x", "leaves/.DS_Store": b"x"}),
    "an inner archive": packed({"leaves/train.csv": TABLE, "leaves/train.zip": packed({"a": b"1", "b": b"2"})}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_data_in_other_shapes_arrives_as_it_is_meant(tmp_path, shape):
    store = store_at(tmp_path / "leaves")
    bring(store, SHAPES[shape])
    assert contents(store) == ARRIVED
    assert store.files() == sorted(ARRIVED)
    changed = (store.root / "train/a").stat().st_mtime_ns
    bring(store, SHAPES[shape])
    assert (store.root / "train/a").stat().st_mtime_ns == changed
    assert not list(store.own.glob("incoming-*"))


def test_another_archive_in_a_top_folder_says_what_is_missing_there(tmp_path):
    with pytest.raises(KitError, match=r"^leaves\.zip is not the data of leaves: .*train\.csv"):
        bring(store_at(tmp_path / "leaves"), packed({"cats/1.png": b"x", "cats/2.png": b"x"}))
    assert [each.name for each in tmp_path.iterdir()] == ["leaves.zip"]


def test_the_persons_own_file_in_the_way_of_what_a_top_folder_holds(tmp_path):
    store = store_at(tmp_path / "leaves")
    store.root.mkdir()
    (store.root / "train.csv").write_text("mine")
    with pytest.raises(KitError, match=r"train\.csv exists and is not kit's"):
        bring(store, SHAPES["a top folder"])
    assert contents(store) == {"train.csv": b"mine"}
    assert not store.own.exists()
