"""What kit put into a data folder is recognised byte for byte, and the record of it can't be changed unnoticed."""

import contextlib
import copy
import hashlib
import os
import random
import zlib

import pytest

from kit.console import Console
from kit.data.checksums import Checksums, Record, accept_data, measure, recorded, verify_data, write_records
from kit.data.store import Store
from kit.errors import KitError
from kit.plugin import Competition, DatasetSpec

FILES = {
    "train.csv": b"id,label\na,0\n",
    "train/a.tif": b"AAAA",
    "train/b.PNG": b"BBBB",
    "train/plain": b"no ending",
    "train!.csv": b"before the slash",
    "ä/日.jpeg": b"J",
    "empty.json": b"",
    "v1.2/notes.txt": b"text",
}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "leaves"
    (folder / ".kit").mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    write_records(folder, [Record(name, len(content), zlib.crc32(content)) for name, content in FILES.items()])
    return folder


@pytest.fixture
def store(root):
    facts = Competition("leaves", "Leaves", "leaves", "binary", "roc_auc", "leaves", "leaves")
    return Store(facts, DatasetSpec("leaves", 3, lambda root: None, lambda files: None), root)


def test_every_file_is_found_and_none_that_is_not_on_record(root):
    sums = Checksums.of(root)
    assert [record.name for record in sums] == sorted(FILES)
    for name, content in FILES.items():
        assert sums.get(name) == Record(name, len(content), zlib.crc32(content))
        assert sums.fits(name, content)
        sums.check_file(name)
    for name in ("", "a", "train", "train/a.ti", "train/a.tiff", "zzz", "\udcff"):
        assert sums.get(name) is None
        assert sums.fits(name, b"the person's own")
    sums.check_tables()


def test_many_names_of_any_length(root):
    chance = random.Random(0)
    names = {"".join(chance.choices("ab/.é", k=chance.randrange(1, 40))) for _ in range(3000)}
    names = sorted(name for name in names if not name.startswith("/") and ".." not in name.split("/"))
    write_records(root, [Record(name, at, at) if at % 3 else Record(name, None, None) for at, name in enumerate(names)])
    sums = Checksums.of(root)
    assert [record.name for record in sums] == names
    assert all(sums.get(name) == Record(name, *((at, at) if at % 3 else (None, None))) for at, name in enumerate(names))
    assert not any(sums.get(name + "x") for name in names)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["flip", "cut", "more", "gone", "folder", "pipe"])
def test_a_changed_file_is_named(root, store, name, change):
    path, content = root / name, FILES[name]
    if change == "flip" and not content:
        return
    changed = {"flip": content[:-1] + bytes([content[-1] ^ 1]) if content else b"", "cut": content[:-1]}.get(change)
    changed = content + b"x" if changed is None or changed == content else changed
    path.unlink()
    if change == "folder":
        path.mkdir()
    elif change == "pipe":
        os.mkfifo(path)
    elif change != "gone":
        path.write_bytes(changed)
        assert not Checksums.of(root).fits(name, changed)
    with pytest.raises(KitError, match="is not what was downloaded"):
        Checksums.of(root).check_file(name)
    assert [wrong for wrong, _ in verify_data(store, Console())] == [name]
    is_table = name.endswith((".csv", ".json", ".txt"))
    if is_table:
        with pytest.raises(KitError, match="is not what was downloaded"):
            Checksums.of(root).check_tables()
    else:
        Checksums.of(root).check_tables()
    accept_data(store, [name])
    assert verify_data(store, Console()) == []
    assert (name in store.files()) == (change not in ("gone", "folder", "pipe"))


def test_a_flip_anywhere_in_the_record_is_noticed(root):
    path = root / ".kit/files.txt"
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x04]) + whole[at + 1 :])
        with pytest.raises(KitError, match=r"files\.txt was damaged .* kit download leaves --force"):
            list(Checksums.of(root))
    for cut in (0, 5, 80, len(whole) - 1):
        path.write_bytes(whole[:cut])
        if cut:
            with pytest.raises(KitError, match=r"files\.txt was damaged"):
                Checksums.of(root)


@pytest.mark.parametrize(
    "line", [b"a\t1\n", b"a\t1\tx\n", b"a\t-1\t00000000\n", b"../a\n", b"/etc/passwd\n", b"\xff\n", b"\n", b"a"]
)
def test_a_well_sealed_record_of_another_form_is_refused(root, line):
    path = root / ".kit/files.txt"
    path.write_bytes(b"\tsha256\t" + hashlib.sha256(line).hexdigest().encode() + b"\n" + line)
    with pytest.raises(KitError, match=r"files\.txt was damaged"):
        list(Checksums.of(root))
    with contextlib.suppress(KitError):
        assert Checksums.of(root).get("a") is None
    assert {record.name for record in recorded(root)} <= {"a"}


def test_a_list_of_an_earlier_kit_is_read_and_can_be_completed(root, store):
    (root / ".kit/files.txt").write_text("".join(f"{name}\n" for name in sorted(FILES, reverse=True)))
    assert set(store.files()) == set(FILES)
    (root / "train/a.tif").write_bytes(b"changed")
    Checksums.of(root).check_file("train/a.tif")
    assert verify_data(store, Console()) == []
    accept_data(store, store.files())
    assert Checksums.of(root).get("train/a.tif") == Record("train/a.tif", 7, zlib.crc32(b"changed"))
    (root / "train/a.tif").write_bytes(b"AAAA")
    assert [name for name, _ in verify_data(store, Console())] == ["train/a.tif"]


def test_no_record_is_no_fault_and_a_link_or_a_pipe_is(root):
    path = root / ".kit/files.txt"
    kept = path.read_bytes()
    path.unlink()
    assert list(Checksums.of(root)) == []
    assert Checksums.of(root).fits("train/a.tif", b"anything")
    os.mkfifo(path)
    with pytest.raises(KitError, match="link or a device"):
        Checksums.of(root)
    path.unlink()
    (root / "elsewhere").write_bytes(kept)
    path.symlink_to(root / "elsewhere")
    with pytest.raises(KitError, match="link or a device"):
        Checksums.of(root)


def test_a_new_record_is_seen_and_a_worker_opens_its_own(root):
    first = Checksums.of(root)
    assert Checksums.of(root) is first
    assert copy.copy(first) is first, "as pickle does it"
    write_records(root, [])
    assert list(Checksums.of(root)) == []
    assert measure(root) is None
