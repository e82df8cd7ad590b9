"""Folds on the disk: whole or not there, at any moment, and never used when they were damaged."""

import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kit.console import Console
from kit.data import folds as folds_module
from kit.data.folds import Folds, made_folds, make_folds, save_folds, saved_folds
from kit.data.index import Index
from kit.data.store import Store
from kit.errors import DISK, KitError
from kit.files import write_json
from kit.hooks.specs import Competition, DatasetSpec

QUIET = Console(silent=True)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Store, Index]:
    ids = [f"i{number:02d}" for number in range(24)]
    frame = pd.DataFrame({"id": ids, "files": [(id_,) for id_ in ids], "target": [0, 1] * 12})
    groups = [f'a "slide", {number // 2}' if number < 20 else None for number in range(24)]
    train = frame.assign(group=pd.Series(groups, dtype=object))
    index = Index(tmp_path, "binary", ("no", "yes"), train, frame[:3], grouped_by='slide, "x"')
    dataset = DatasetSpec("grey", 1, lambda root: index, lambda files: np.zeros((8, 8, 1), np.uint8))
    return Store(Competition("made", "Made", "made", "binary", "roc_auc", "grey", "made"), dataset, tmp_path), index


def path_of(store: Store) -> Path:
    return store.own / "folds" / "3.csv"


def same(a: Folds | None, b: Folds) -> bool:
    return a is not None and a.facts == b.facts and a.csv() == b.csv()


def test_one_file_holds_the_table_and_its_facts(made):
    store, index = made
    folds = make_folds(index, 3, seed=7)
    path = save_folds(store, folds, QUIET)
    assert same(saved_folds(store, 3), folds)
    assert {file.name for file in path.parent.iterdir()} == {"3.csv", "3.lock"}
    read = pd.read_csv(path)
    assert read["id"].tolist() == folds.table["id"].tolist()
    assert read["fold"].tolist() == folds.table["fold"].tolist()
    first = path.read_bytes()
    save_folds(store, make_folds(index, 3, seed=8), QUIET)
    save_folds(store, folds, QUIET)
    assert path.read_bytes() == first


def test_every_byte_counts(made):
    store, index = made
    path = save_folds(store, make_folds(index, 3, 0), QUIET)
    content = path.read_bytes()
    for place in range(len(content)):
        for bits in (1,):
            damaged = bytearray(content)
            damaged[place] ^= bits
            path.write_bytes(damaged)
            with pytest.raises(KitError, match=r"damaged or changed by hand .*kit folds made --folds 3"):
                saved_folds(store, 3)
    path.write_bytes(content[:-1])
    with pytest.raises(KitError, match="its checksum differs"):
        saved_folds(store, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "id,fold\n",
        "id,fold\na,0\nb,1\nc,2\n",
        "id,fold\na,x\n",
        "id,fold\na,0\na,1\nb,2\n",
        "fold\n1\n",
        "id,fold\na," + "9" * 5000 + "\n",
        'id,fold,"{}"\na,0\n',
        'id,fold,"{""seed"": 0}"\na,0\n',
        "\0\0\0",
        "[]",
        "id,fold\na,-1\nb,2\n",
    ],
)
@pytest.mark.parametrize("facts", [None, {"seed": 0, "grouped_by": "", "digest": "d"}, {"seed": "x"}, {}])
def test_folds_by_hand_are_refused_in_one_line(made, text, facts):
    store, _ = made
    path_of(store).parent.mkdir(parents=True)
    path_of(store).write_text(text)
    if facts is not None:
        write_json(path_of(store).with_suffix(".json"), facts)
    with pytest.raises(KitError, match="kit folds made --folds 3 makes it again") as refused:
        saved_folds(store, 3)
    assert len(str(refused.value)) < 1000
    assert refused.value.code == 2


def test_what_is_no_file_is_refused(made, tmp_path):
    store, _ = made
    path_of(store).parent.mkdir(parents=True)
    path_of(store).symlink_to("/etc/passwd")
    with pytest.raises(KitError, match="kit folds made --folds 3"):
        saved_folds(store, 3)
    save_folds(store, make_folds(made[1], 3, 0), QUIET)
    assert not path_of(store).is_symlink()
    assert "root" in Path("/etc/passwd").read_text()


def test_a_pair_of_files_as_kit_wrote_them_before_is_read_and_replaced(made):
    store, index = made
    folds = make_folds(index, 3, 0)
    path_of(store).parent.mkdir(parents=True)
    path_of(store).write_bytes(folds.csv())
    path_of(store).with_suffix(".json").write_text(json.dumps(folds.facts, indent=2) + "\n")
    assert same(saved_folds(store, 3), folds)
    table = path_of(store).read_text()
    path_of(store).write_text(table.replace(",0", ",1", 1))
    with pytest.raises(KitError, match="its digest differs"):
        saved_folds(store, 3)
    path_of(store).write_text(table)
    other = make_folds(index, 3, 1)
    save_folds(store, other, QUIET)
    assert same(saved_folds(store, 3), other)
    assert not path_of(store).with_suffix(".json").exists()


@pytest.mark.parametrize("before", ["nothing", "one file", "a pair"])
@pytest.mark.parametrize("call", ["mkdir", "open", "chmod", "fsync", "replace", "unlink"])
def test_a_kill_at_any_change_leaves_whole_folds(made, before, call):
    """Killed before and after each call that changes the disk; the folds are the former ones or the new ones."""
    store, index = made
    old, new = make_folds(index, 3, 0), make_folds(index, 3, 5)
    for number in range(12):
        shutil.rmtree(store.own, ignore_errors=True)
        if before == "one file":
            save_folds(store, old, QUIET)
        if before == "a pair":
            path_of(store).parent.mkdir(parents=True)
            path_of(store).write_bytes(old.csv())
            write_json(path_of(store).with_suffix(".json"), old.facts)
        child = os.fork()
        if child == 0:
            _die_at(call, number)
            save_folds(store, new, QUIET)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = saved_folds(store, 3)
        assert (found is None and before == "nothing") or same(found, old) or same(found, new)
        save_folds(store, new, QUIET)
        assert same(saved_folds(store, 3), new)
        if ended == 0:
            return
    pytest.fail(f"{call} was called more than 12 times")


def _die_at(call: str, number: int) -> None:
    real, calls = getattr(os, call), [0]

    def dying(*arguments: object, **options: object) -> object:
        if calls[0] == 2 * number:
            os._exit(1)
        result = real(*arguments, **options)
        calls[0] += 1
        if calls[0] == 2 * number + 1:
            os._exit(1)
        return result

    setattr(os, call, dying)


def test_two_that_start_at_once_have_the_same_folds(made, monkeypatch):
    store, index = made
    slow, count = folds_module.new_folds, multiprocessing.get_context("fork").Value("i", 0)

    def counted(*arguments: object) -> Folds:
        with count.get_lock():
            count.value += 1
        time.sleep(0.3)
        return slow(*arguments)

    monkeypatch.setattr(folds_module, "new_folds", counted)
    children = []
    for _ in range(3):
        children.append(os.fork())
        if children[-1] == 0:
            made_folds(store, index, 3, QUIET)
            os._exit(0)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert count.value == 1
    assert same(saved_folds(store, 3), make_folds(index, 3, 0))


def test_a_folder_that_cant_be_written_is_named_before_anything_is_computed(kit, store, monkeypatch):
    kit("folds", "histo", "--folds", 2)
    (store.own / "folds" / "3.csv").write_text("")  # as one that is there, though not whole
    write = os.open

    def refuse(path: object, flags: int, *more: object, **options: object) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(store.root)):
            raise OSError(30, "Read-only file system", str(path))
        return write(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("kit.data.folds.new_folds", lambda *_: pytest.fail("computed in vain"))
    done = kit("folds", "histo", "--folds", 3, code=DISK)
    assert "folds can't be written (Read-only file system): make it writable, or set KIT_CACHE to a " in done.err
    assert len(done.err.splitlines()) == 1
    assert "explore can't be written (Read-only file system): make it" in kit("explore", "histo", code=DISK).err
    assert saved_folds(store, 2) is not None
