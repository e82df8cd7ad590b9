"""Links, pipes and damaged notes in a data folder, and odd files as archives: one line, nothing outside is touched."""

import json
import os
import random
import signal
import socket
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.arrivals import NEW, OLD, bring, packed, seven, store_at
from helpers.leaf_store import contents
from kit.archives.archive import Archive
from kit.archives.nested import Plan, open_archive
from kit.archives.unpack import from_miniature
from kit.console import Console
from kit.data.checksums import verify_data
from kit.data.store import data_state
from kit.errors import BAD_INPUT, KitError
from kit.files import read_json, write_json


@pytest.fixture(autouse=True)
def no_hanging():
    """What waits for ever fails after a while."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path / "leaves")


@pytest.fixture
def victim(tmp_path):
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("a", "files.txt", "lock", "origin.json", "train.csv"):
        (folder / name).write_text("precious")
    return folder


def listed(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(work: Callable[[], object]) -> KitError | None:
    """Return the error of what may be refused, in one line and with a code of its own."""
    try:
        work()
    except KitError as error:
        found = error
    else:
        return None
    assert "\n" not in str(found)
    assert len(str(found)) < 1000
    assert found.code in (2, 5)
    return found


TRAPS = [
    *(".kit", ".kit/lock", ".kit/parts", ".kit/nested", ".kit/draft", ".kit/incoming-1", ".kit/files.txt"),
    *(".kit/origin.json", ".kit/unfinished.json", ".kit/download", ".kit/x/y"),
    *("train", "train.csv", "train/a"),
]


@pytest.mark.parametrize("kind", ["link to a folder", "link to a file", "link to nothing", "pipe", "socket"])
@pytest.mark.parametrize("trap", TRAPS)
def test_nothing_is_written_through_what_lies_in_wait(store, victim, tmp_path, monkeypatch, trap, kind):
    path = store.root / trap
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(path.parent)
        socket.socket(socket.AF_UNIX).bind(path.name)
    else:
        path.symlink_to({"link to a folder": victim, "link to a file": victim / "a"}.get(kind, victim / "none"))
    before = listed(victim)
    names = {each.name for each in victim.iterdir()}
    for work in (lambda force: bring(store, packed(NEW), force), lambda force: from_miniature(store, None, force)):
        for force in (False, True):
            error = refusal(lambda work=work, force=force: work(force))
            assert error or force, "what is not kit's was replaced without --force"
            assert error or not trap.startswith(".kit")
            assert listed(victim) == before
            assert {each.name for each in victim.iterdir()} == names
    if trap.startswith(".kit"):
        assert [path.name for path in store.root.iterdir()] == [".kit"]
    elif store.is_whole:
        assert verify_data(store, Console()) == []


def test_the_folder_itself_may_be_a_link(store, tmp_path):
    (tmp_path / "large").mkdir()
    store.root.symlink_to(tmp_path / "large")
    bring(store, packed(OLD))
    bring(store, packed(NEW), force=True)
    assert contents(store) == NEW
    assert (tmp_path / "large/train/a").read_bytes() == NEW["train/a"]


@pytest.mark.parametrize("what", ["root is a file", ".kit is a file", "root is a dangling link"])
def test_no_folder(store, tmp_path, what):
    if what == "root is a file":
        store.root.write_text("mine")
    elif what == ".kit is a file":
        store.root.mkdir()
        store.own.write_text("mine")
    else:
        store.root.symlink_to(tmp_path / "none")
    with pytest.raises(KitError, match="is not a folder: move it away"):
        bring(store, packed(NEW), force=True)


NOTE = {"origin": "archive", "source": "leaves.zip", "digest": "d", "at": "2026-01-01"}
NOTES = [
    ("{}", "origin: field required"),
    ("[]", "holds a list"),
    ("", "no JSON"),
    ("{", "no JSON"),
    ("\xff", "not text"),
    ("[" * 100_000, "nested too deeply"),
    ("NaN", "holds NaN|holds a"),
    (json.dumps({**NOTE, "origin": "moon"}), "origin: input should be"),
    (json.dumps({**NOTE, "source": 1}), "source: input should be a valid string"),
    (json.dumps({**NOTE, "digest": None}), "digest: input should be a valid string"),
    (json.dumps({**NOTE, "more": 1}), "more: "),
    (json.dumps({**NOTE, "sha256": "0" * 64}), "checksum differs"),
]


@pytest.mark.parametrize("name", ["origin.json", "unfinished.json"])
@pytest.mark.parametrize(("text", "why"), NOTES, ids=range(len(NOTES)))
def test_a_note_damaged_or_written_by_hand(store, name, text, why):
    bring(store, packed(OLD))
    (store.own / "folds").mkdir()
    (store.own / "origin.json").rename(store.own / name)
    (store.own / name).write_bytes(text.encode("latin-1"))
    assert data_state(store.root) == "damaged"
    with pytest.raises(KitError, match=rf"{name} can't be read \(.*{why}.*kit download leaves --force"):
        _ = store.note
    with pytest.raises(KitError, match=f"{name} can't be read"):
        bring(store, packed(OLD))
    bring(store, packed(OLD), force=True)
    assert (contents(store), data_state(store.root)) == (OLD, "archive")
    assert verify_data(store, Console()) == []
    assert (store.own / "folds").exists(), "the same data: what was computed from it is still right"


def test_a_flip_in_a_sealed_note_is_noticed_and_an_earlier_note_is_read(store):
    bring(store, packed(OLD))
    path = store.own / "origin.json"
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(KitError, match="can't be read"):
            _ = store.note
    path.write_text(json.dumps(NOTE))
    assert (store.origin, store.note["digest"]) == ("archive", "d")
    write_json(path, NOTE)
    assert read_json(path)["source"] == "leaves.zip"


# Odd files as archives


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device", "absent", "below a file", "long", "loop"])
@pytest.mark.parametrize("suffix", [".zip", ".csv", ".7z"])
def test_what_is_no_file_is_no_archive(kit, tmp_path, monkeypatch, kind, suffix):
    path = tmp_path / f"x{suffix}"
    monkeypatch.chdir(tmp_path)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "below a file":
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / path.name
    elif kind == "long":
        path = tmp_path / ("x" * 5000 + suffix)
    elif kind == "loop":
        path.symlink_to(path)
    error = kit("download", "histo", "--from", path, code=BAD_INPUT).err
    assert error.startswith("error: no archive at ")
    assert error.count("\n") == 1
    assert len(error) < 1000
    assert not (tmp_path / "data").exists()


def test_long_names_and_deep_folders(tmp_path, store):
    for name in ("x/" * 60 + "a", "/".join(["ab"] * 21_000), "y" * 65_000, "é" * 600):
        with pytest.raises(KitError, match="its name is longer than 1,000 bytes or 50 folders") as caught:
            bring(store, packed({"train.csv": b"", name: b"1"}))
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("lies", [False, True])
def test_many_members_are_refused_before_they_are_read(tmp_path, monkeypatch, lies):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(3000):
            file.writestr(f"{number}", b"")
    if lies:
        data = bytearray(path.read_bytes())
        struct.pack_into("<HH", data, data.rindex(b"PK\x05\x06") + 8, 1, 1)
        path.write_bytes(data)
    monkeypatch.setattr("kit.archives.archive.MOST_MEMBERS", 2999)
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "_RealGetContents", None)
        with pytest.raises(KitError, match="holds more than 2,999 files"):
            Archive(path)
    monkeypatch.setattr("kit.archives.archive.MOST_MEMBERS", 3000)
    monkeypatch.setattr("kit.archives.nested.MOST_MEMBERS", 3000)
    with Archive(path) as archive:
        assert len(archive.members) == 3000
    with pytest.raises(KitError, match="holds more than"):
        Plan([Archive(path), Archive(path)], tmp_path / "root", Console())


FUZZED = {
    "stored": lambda: packed(NEW, zipfile.ZIP_STORED),
    "deflated": lambda: packed(NEW),
    "lzma": lambda: packed(NEW, zipfile.ZIP_LZMA),
    "bzip2": lambda: packed(NEW, zipfile.ZIP_BZIP2),
    "nested": lambda: packed({"train.csv": NEW["train.csv"], "train.zip": packed({"a": b"1", "b": b"2"})}),
    "7z": lambda: seven(NEW),
}


@pytest.mark.parametrize("kind", FUZZED)
def test_nothing_but_a_kit_error_leaves_the_reader(tmp_path, kind):
    """And nothing is written that the archive does not vouch for."""
    chance, whole, refused = random.Random(kind), FUZZED[kind](), 0
    for number in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.1:
            del data[chance.randrange(len(data)) :]
        path, root = tmp_path / "x", tmp_path / str(number)
        path.write_bytes(data)
        (root / ".kit").mkdir(parents=True)

        announced: dict[str, int] = {}

        def unpack(path: Path = path, root: Path = root, announced: dict[str, int] = announced) -> None:
            with open_archive(path) as archive, Plan([archive], root, Console(silent=True)) as plan:
                plan.write()
                announced.update({file.name: file.member.crc for file in plan.files})

        refused += refusal(unpack) is not None
        if announced:
            assert {name: zipfile.crc32(content) for name, content in listed(root).items()} == announced
    assert refused > 20
    assert {path.name for path in tmp_path.iterdir()} == {"x", *map(str, range(150))}


def test_a_wrong_archive_leaves_no_link_of_dest(kit, tmp_path):
    (tmp_path / "wrong.zip").write_bytes(packed({"cats/1.png": b"x"}))
    kit("download", "histo", "--from", tmp_path / "wrong.zip", "--dest", tmp_path / "large", code=2)
    assert not list((tmp_path / "data").iterdir())
    (tmp_path / "file").write_text("mine")
    assert "is not a folder" in kit("download", "histo", "--miniature", "--dest", tmp_path / "file", code=2).err


def test_a_changed_table_is_one_line_and_force_restores_it(kit, tmp_path):
    root = Path(kit("download", "histo", "--miniature", "--json").json["folder"])
    table = root / "train_labels.csv"
    whole = table.read_bytes()
    at = whole.rindex(b"0")
    table.write_bytes(whole[:at] + b"1" + whole[at + 1 :])
    for words in (("folds", "histo"), ("explore", "histo"), ("train", "histo")):
        error = kit(*words, code=2).err
        assert "train_labels.csv is not what was downloaded (its checksum differs): kit download" in error
        assert error.count("\n") == 1
    kit("download", "histo", "--miniature", "--force")
    assert table.read_bytes() == whole
    kit("folds", "histo")
