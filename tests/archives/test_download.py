"""Data arrives whole or not at all, is never mixed, and nothing but kit's own files is ever removed."""

import fcntl
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.leaf_store import contents, read_index
from kit.archives.unpack import Arrival, from_archives, from_miniature
from kit.console import Console
from kit.data.store import Store, data_state
from kit.errors import KitError
from kit.plugin import Competition, DatasetSpec

ARCHIVE = {"train.csv": b"id,label\na,0\nb,1\n", "train/a": b"AAAA", "train/b": b"BBBB", "test/c": b"CCCC"}
SAMPLE = {"train.csv", "train/x", "train/y", ".kit/truth.csv"}


def write_miniature(root: Path, seed: int) -> None:
    for name, text in (
        ("train.csv", "id,label\nx,0\ny,1\n"),
        ("train/x", f"{seed}"),
        ("train/y", "y"),
        (".kit/truth.csv", "z"),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def store(tmp_path):
    facts = Competition("leaves", "Leaves", "leaves", "binary", "roc_auc", "leaves", "leaves")
    dataset = DatasetSpec("leaves", 3, index=read_index, read=lambda files: None, miniature=write_miniature)
    return Store(facts, dataset, tmp_path / "data" / "leaves")


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def archive(tmp_path):
    return make_zip(tmp_path / "leaves.zip", ARCHIVE)


def unpack(store: Store, path: Path, force: bool = False) -> Arrival | None:
    return from_archives(store, [path], force, Console())


def test_an_archive_arrives(store, archive):
    assert unpack(store, archive) == Arrival("leaves.zip", written=4, kept=0, removed=0, train=2, test=1)
    assert contents(store) == ARCHIVE
    assert store.origin == data_state(store.root) == "archive"
    assert store.files() == sorted(ARCHIVE)


def test_the_origin_is_recorded_after_all_files_are_there(store, archive, monkeypatch):
    seen, set_origin = [], Store.set_origin

    def recording(self, *arguments):
        seen.append((self.origin, contents(self)))
        set_origin(self, *arguments)

    monkeypatch.setattr(Store, "set_origin", recording)
    unpack(store, archive)
    assert seen == [(None, ARCHIVE)]


def test_a_second_call_does_nothing_and_a_lost_file_is_brought_back(store, archive):
    unpack(store, archive)
    assert unpack(store, archive) is None
    (store.root / "train/a").unlink()
    assert unpack(store, archive) == Arrival("leaves.zip", 1, 3, 0, 2, 1)
    (store.root / "train/a").write_bytes(b"AxAA")
    assert unpack(store, archive) is None, "sizes are looked at, contents only with --force"
    assert unpack(store, archive, force=True) == Arrival("leaves.zip", 1, 3, 0, 2, 1)
    (store.root / "train.csv").write_bytes(ARCHIVE["train.csv"].replace(b"0", b"1"))
    assert unpack(store, archive) == Arrival("leaves.zip", 1, 3, 0, 2, 1), "tables are compared whole"
    (store.own / "files.txt").write_bytes((store.own / "files.txt").read_bytes().replace(b"train/a", b"train/x"))
    assert unpack(store, archive) == Arrival("leaves.zip", 0, 4, 0, 2, 1), "the record is made anew"
    assert contents(store) == ARCHIVE


def test_a_sample_arrives_once_whatever_seed_is_meant(store):
    assert from_miniature(store, None, False) == Arrival("seed 0", 4, 0, 0, 2, 1)
    assert (store.root / ".kit/truth.csv").is_file()
    assert from_miniature(store, None, False) is None
    assert from_miniature(store, 0, False) is None
    with pytest.raises(KitError, match=r"seed 0.*--force"):
        from_miniature(store, 3, False)
    assert from_miniature(store, 3, True) == Arrival("seed 3", 4, 0, 0, 2, 1)
    assert (store.root / "train/x").read_text() == "3"
    assert from_miniature(store, None, False) is None
    assert store.is_miniature


@pytest.mark.parametrize("first", ["miniature", "archive"])
def test_other_data_is_refused_and_forced(store, archive, first):
    def bring(which, force):
        return from_miniature(store, None, force) if which == "miniature" else unpack(store, archive, force)

    second = "archive" if first == "miniature" else "miniature"
    bring(first, False)
    (store.root / ".kit/folds").mkdir()
    (store.root / ".kit/folds/5.csv").write_text("made from the earlier data")
    (store.root / "wsi.csv").write_text("the person's own")
    (store.root / "train/notes").write_text("the person's own")
    before = contents(store)
    with pytest.raises(KitError, match=f"other data \\({first}.*--force"):
        bring(second, False)
    assert contents(store) == before
    assert store.origin == first
    arrival = bring(second, True)
    assert arrival.removed == (2 if first == "miniature" else 3)
    assert store.origin == second
    expected = set(ARCHIVE) if second == "archive" else {name for name in SAMPLE if not name.startswith(".kit/")}
    assert set(contents(store)) == {*expected, "wsi.csv", "train/notes"}
    assert not (store.root / ".kit/folds").exists()
    assert (store.root / ".kit/truth.csv").exists() == (second == "miniature")


def test_another_archive_of_the_same_competition_is_other_data(store, archive, tmp_path):
    unpack(store, archive)
    more = make_zip(tmp_path / "more.zip", {**ARCHIVE, "train/a": b"CHANGED", "test/d": b"D"})
    with pytest.raises(KitError, match="--force"):
        unpack(store, more)
    assert unpack(store, more, force=True).written == 2


def test_files_that_kit_did_not_write_are_not_overwritten(store, archive):
    store.root.mkdir(parents=True)
    (store.root / "train.csv").write_text("my own work\n")
    for bring in (lambda force: unpack(store, archive, force), lambda force: from_miniature(store, None, force)):
        with pytest.raises(KitError, match=r"train\.csv exists and is not kit's"):
            bring(False)
    assert contents(store) == {"train.csv": b"my own work\n"}
    assert data_state(store.root) == "folder"
    unpack(store, archive, force=True)
    assert contents(store) == ARCHIVE


def test_what_was_unpacked_by_hand_is_taken_over(store, archive):
    with zipfile.ZipFile(archive) as file:
        file.extractall(store.root)
    assert unpack(store, archive) == Arrival("leaves.zip", 0, 4, 0, 2, 1)


def test_another_competitions_archive_is_one_line_and_no_origin(store, archive, tmp_path):
    wrong = make_zip(tmp_path / "cats.zip", {"cats/1.png": b"x"})
    with pytest.raises(
        KitError, match=r"^cats\.zip is not the data of leaves: .*train\.csv is not there.*--from"
    ) as caught:
        unpack(store, wrong)
    assert "\n" not in str(caught.value)
    assert store.origin is None
    assert data_state(store.root) == "absent"
    assert not store.root.exists()
    with pytest.raises(KitError, match="no data for leaves"):
        store.index()
    assert unpack(store, archive).removed == 0
    assert contents(store) == ARCHIVE


def test_data_without_training_images_is_refused(store, tmp_path):
    empty = make_zip(tmp_path / "empty.zip", {"train.csv": b"id,label\n"})
    with pytest.raises(KitError, match="no training images"):
        unpack(store, empty)
    assert store.origin is None


def test_a_forged_list_of_files_removes_nothing_outside(store, archive, tmp_path):
    from_miniature(store, None, False)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (store.root / "link").symlink_to(outside)
    names = ["../../outside/precious", "link/precious", str(outside / "precious"), *store.files()]
    (store.root / ".kit/files.txt").write_text("\n".join(names))
    unpack(store, archive, force=True)
    assert (outside / "precious").read_text() == "x"


def test_a_second_process_is_refused(store, archive):
    (store.root / ".kit").mkdir(parents=True)
    with (store.root / ".kit/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(KitError, match="another kit download"):
            unpack(store, archive)


def test_too_little_space_changes_nothing(store, archive, monkeypatch):
    from_miniature(store, None, False)
    before = contents(store)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(KitError, match="are free"):
        unpack(store, archive, force=True)
    assert contents(store) == before
    assert store.is_miniature


UNPACK = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from helpers.leaf_store import read_index
from kit.console import Console
from kit.archives.unpack import from_archives
from kit.data.store import Store
from kit.plugin import Competition, DatasetSpec
facts = Competition("leaves", "Leaves", "leaves", "binary", "roc_auc", "leaves", "leaves")
store = Store(facts, DatasetSpec("leaves", 3, read_index, lambda files: None), Path({root!r}))
done, replace = 0, os.replace
def wait_to_be_killed(source, target):
    global done
    done += str(source).endswith("part")
    if done == {stop}:
        print("here", flush=True)
        time.sleep(600)
    replace(source, target)
os.replace = wait_to_be_killed
from_archives(store, [Path({archive!r})], False, Console())
"""


def test_killed_again_and_again_and_started_again(store, tmp_path):
    files = {f"train/{number}": os.urandom(900) for number in range(60)}
    rows = "".join(f"{number},{number % 2}\n" for number in range(60))
    archive = make_zip(tmp_path / "big.zip", {**files, "train.csv": f"id,label\n{rows}".encode()})
    # The first is killed over its first file, each later one goes on where the last one stopped.
    for stop, there in ((1, 0), (21, 20), (31, 50)):
        script = UNPACK.format(
            tests=str(Path(__file__).parents[1]), root=str(store.root), archive=str(archive), stop=stop
        )
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"here\n"
        process.kill()
        process.communicate()
        assert len(list(store.root.glob(".kit/incoming-*/train/*"))) == there
        assert data_state(store.root) == "incomplete"
    stage = next(store.root.glob(".kit/incoming-*"))
    before = {name: (stage / name).stat().st_ino for name in list(files)[:50]}
    assert unpack(store, archive) == Arrival("big.zip", 11, 50, 0, 60, 1)
    assert {name: (store.root / name).stat().st_ino for name in before} == before, "whole files were written again"
    assert {name: (store.root / name).read_bytes() for name in files} == files
    assert sorted(path.name for path in store.root.glob(".kit/*")) == ["files.txt", "lock", "origin.json"]
    assert unpack(store, archive) is None


def test_killed_while_other_data_is_replaced(store, archive, monkeypatch):
    """The kill comes after the first removed file: the next call still knows what has to go."""
    from kit.archives import stage

    unpack(store, archive)
    remove = stage._remove

    def killed(root, name):
        remove(root, name)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        from_miniature(store, None, True)
    monkeypatch.undo()
    assert data_state(store.root) == "incomplete"
    from_miniature(store, None, False)
    assert set(contents(store)) == {"train.csv", "train/x", "train/y"}


def state(kit) -> str:
    """Of histopathology's data, as `kit list` says."""
    listed = kit("list", "--json").json["competitions"]
    return next(row["data"] for row in listed if row["name"] == "histopathology")


def test_command_line(kit, tmp_path, monkeypatch):
    kit("download", "histo", "--from", "a.zip", "--miniature", code=2)
    kit("download", "histo", "--from", "absent.zip", code=2)
    assert state(kit) == "absent"
    assert not (tmp_path / "data").exists()
    first = kit("download", "histo", "--miniature", "--json").json
    assert (first["train"], first["test"], first["changed"], first["origin"]) == (240, 60, True, "miniature")
    assert kit("download", "histo", "--miniature", "--json").json["changed"] is False
    assert "nothing to do" in kit("download", "histo", "--miniature").out
    assert state(kit) == "miniature"
    data = kit("info", "histo", "--json").json["data"]
    assert (data["state"], data["train_ids"], data["test_ids"]) == ("miniature", 240, 60)
    assert "240" in kit("info", "histo").out
    assert "--force" in kit("download", "histo", "--miniature", "--seed", "5", code=2).err
    assert json.loads(kit("download", "nothing", "--json", code=2).out)["code"] == 2


def test_the_real_archive(kit, archives, tmp_path):
    path = archives / "histopathologic-cancer-detection.zip"
    done = kit("download", "histo", "--from", path, "--json").json
    assert (done["written"], done["train"], done["test"], done["origin"]) == (3617, 3015, 600, "archive")
    assert kit("download", "histo", "--from", path, "--json").json["changed"] is False
    assert "--force" in kit("download", "histo", "--miniature", code=2).err
    done = kit("download", "histo", "--miniature", "--force", "--json").json
    assert done["removed"] == 3615
    wrong = kit(
        "download", "histo", "--force", "--from", archives / "human-protein-atlas-image-classification.zip", code=2
    )
    assert len(wrong.err.strip().splitlines()) == 1
    assert state(kit) == "miniature"
