"""Splits are equal, survive a kill at any moment, and merge to the tree they came from, byte for byte."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from helpers.kills import killed as killed_at
from helpers.trees import CONSOLE, TREE, arguments, contents, make, refusal
from kit.errors import BAD_INPUT
from kit_split_files.merge import merge_files
from kit_split_files.plan import find_plan
from kit_split_files.split import PLACE, list_prefix, split_files


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


# What is on disk


@pytest.mark.parametrize("mode", ["copy", "link", "move"])
def test_split_and_merge(tmp_path, mode):
    source, target, again = make(tmp_path / "source", TREE), tmp_path / "target", tmp_path / "again"
    (source / "nothing" / "here").mkdir(parents=True)
    before = contents(source)
    done = split_files(arguments(source, mode), target, CONSOLE)
    assert done.placed == done.plan.count == len(TREE)
    assert sorted(path.name for path in target.iterdir()) == ["00", "01", "02", "manifest.jsonl"]
    splits = [{k: v for k, v in contents(target / name).items() if v is not None} for name in ("00", "01", "02")]
    assert [len(split) for split in splits] == [3, 2, 2]
    assert {name: data for split in splits for name, data in split.items()} == TREE
    inodes = {path.stat().st_ino for path in source.rglob("*") if path.is_file()}
    shared = {path.stat().st_ino for path in target.rglob("*.t*") if path.is_file()}
    assert (inodes == shared) == (mode == "link")
    assert len(inodes) == (0 if mode == "move" else len(TREE))
    if mode == "move":
        assert merge_files(target, source, CONSOLE).restored == len(TREE)
        assert contents(source) == before
        assert not target.exists()
    else:
        assert merge_files(target, again, CONSOLE).restored == len(TREE)
        assert contents(source) == contents(again) == before
        assert merge_files(target, source, CONSOLE).restored == merge_files(target, again, CONSOLE).restored == 0
        (source / "a.tif").unlink()
        assert merge_files(target, source, CONSOLE).restored == 1
        assert contents(source) == before


def test_names_are_padded_everywhere(tmp_path):
    source, target = make(tmp_path / "source", 101), tmp_path / "target"
    split_files(arguments(source, "link", parts=101, zip=True, lists=True), target, CONSOLE)
    names = [f"{number:03d}" for number in range(101)]
    folders = [target, target / "lists"]
    assert sorted(path.name for path in target.iterdir() if path.is_dir()) == [*names, "lists"]
    for folder, end in zip(folders, (".zip", ".txt"), strict=True):
        assert sorted(path.stem for path in folder.glob(f"*{end}") if path.stem != "all") == names


def test_manifest(tmp_path):
    source, target = make(tmp_path / "source"), tmp_path / "target"
    split_files(arguments(source, "copy"), target, CONSOLE)
    head, *splits = map(json.loads, (target / "manifest.jsonl").read_text().splitlines())
    assert (head["count"], head["parts"]) == (10, 3)
    assert head["arguments"]["source"] == str(source)
    assert head["arguments"]["mode"] == "copy"
    assert splits[2] == {"part": "02", "count": 3, "files": ["0007.tif", "0008.tif", "0009.tif"], "sizes": [1, 1, 1]}


def test_lists_and_the_prefix_of_another_machine(tmp_path):
    source, target, other = make(tmp_path / "source"), tmp_path / "target", tmp_path / "other"
    split_files(arguments(source, "link", lists=True), target, CONSOLE)
    split_files(arguments(source, "link", lists=True, prefix_map=f"{tmp_path}=/content/drive/"), other, CONSOLE)
    assert sorted(path.name for path in (target / "lists").iterdir()) == ["00.txt", "01.txt", "02.txt", "all.txt"]
    lines = (target / "lists" / "all.txt").read_text().splitlines()
    assert [Path(line).read_bytes() for line in lines] == [str(number).encode() for number in range(10)]
    assert (target / "lists" / "01.txt").read_text().splitlines() == lines[4:7]
    mapped = (other / "lists" / "all.txt").read_text().splitlines()
    assert mapped == [line.replace(str(target), "/content/drive/other") for line in lines]


def test_prefix_maps(tmp_path, monkeypatch):
    def prefix(value: str | None, lists: bool = True) -> str:
        return list_prefix(arguments(tmp_path, lists=lists, prefix_map=value), Path("/disk/data/splits"))

    monkeypatch.chdir(tmp_path)
    assert prefix(None) == "/disk/data/splits"
    assert prefix("/disk=/content") == prefix("/disk/=/content/") == "/content/data/splits"
    assert prefix("/disk/data/splits=splits") == "splits"
    assert prefix("/=gs://bucket") == "gs://bucket/disk/data/splits"
    assert prefix("/disk/data=D:/a=b") == "D:/a=b/splits"
    assert "no path begins with /disk/da:" in refusal(lambda: prefix("/disk/da=/x"))
    for wrong in ("/disk", "=/content", "/disk="):
        assert "is not OLD=NEW" in refusal(lambda wrong=wrong: prefix(wrong))
    assert "add --lists" in refusal(lambda: prefix("/disk=/content", lists=False))


def test_zips_and_their_checksums(tmp_path):
    source, target, other = make(tmp_path / "source", TREE), tmp_path / "target", tmp_path / "other"
    split_files(arguments(source, zip=True), target, CONSOLE)
    unpacked = tmp_path / "unpacked"
    for name in ("00", "01", "02"):
        with zipfile.ZipFile(target / f"{name}.zip") as archive:
            assert archive.testzip() is None
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
            archive.extractall(unpacked)
    assert contents(unpacked) == {
        name: data for name, data in contents(target).items() if name.startswith("0") and not name.endswith(".zip")
    }
    for line in (target / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((target / name).read_bytes()).hexdigest() == digest
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=target, check=True, capture_output=True)
    os.utime(source / "a.tif", (0, 0))
    (source / "b.tif").chmod(0o600)
    split_files(arguments(source, "move", zip=True), other, CONSOLE)
    assert (target / "SHA256SUMS").read_bytes() == (other / "SHA256SUMS").read_bytes(), (
        "equal files, different archives"
    )
    (other / "01.zip").unlink()
    split_files(arguments(source, "move", zip=True), other, CONSOLE)
    assert (target / "01.zip").read_bytes() == (other / "01.zip").read_bytes()
    merge_files(other, source, CONSOLE)
    assert not other.exists()


def test_suffix(tmp_path):
    source, target = make(tmp_path / "source", TREE), tmp_path / "target"
    split_files(arguments(source, "move", suffix=".tif"), target, CONSOLE)
    assert [name for name, data in contents(source).items() if data is not None] == ["notes.txt"]
    merge_files(target, source, CONSOLE)
    assert {name: data for name, data in contents(source).items() if data is not None} == TREE


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_litter_is_left_where_it_is(tmp_path, mode):
    source = make(tmp_path / "source", TREE)
    for name in ("._a.tif", ".DS_Store", "__MACOSX"):
        (source / name).touch()
    assert split_files(arguments(source, mode), tmp_path / "target", CONSOLE).placed == len(TREE)
    assert sorted(path.name for path in source.iterdir() if path.is_file())[:2] == [".DS_Store", "._a.tif"]
    assert merge_files(tmp_path / "target", tmp_path / "again", CONSOLE).restored == len(TREE)


def test_a_tree_is_walked_once(tmp_path, monkeypatch):
    source, target = make(tmp_path / "source", 500), tmp_path / "target"
    walked, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: walked.append(Path(path)) or scandir(path))
    split_files(arguments(source, "link"), target, CONSOLE)
    assert walked == [source, *(target / name for name in ("00", "01", "02"))]


# Killed at any moment


def killed(work: Callable[[], object], moment: int, root: Path) -> bool:
    """As `helpers.kills.killed`, with the calls that were looked up before it watched."""

    def watched() -> None:
        PLACE.update(copy=shutil.copyfile, link=os.link, move=os.rename)
        work()

    return killed_at(watched, moment, root)


def finished(root: Path) -> dict[str, bytes | None]:
    """Return what is in a folder, without the path that differs from test to test."""
    return {
        name: data if data is None else data.replace(bytes(root.parent), b"") for name, data in contents(root).items()
    }


# Every eighth moment in `make test`, each in `make test-slow`.
STRIDES = [8, pytest.param(1, marks=pytest.mark.slow)]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("mode", ["copy", "link", "move"])
def test_killed_at_every_step_a_split_ends_in_the_same_state(tmp_path, mode, stride):
    def work(folder: Path) -> None:
        split_files(arguments(folder / "source", mode, suffix=".tif", lists=True, zip=True), folder / "target", CONSOLE)

    def fresh(name: str) -> Path:
        make(tmp_path / name / "source", TREE)
        return tmp_path / name

    whole = fresh("whole")
    work(whole)
    expected = finished(whole / "target"), contents(whole / "source")
    # Archives hold no paths of this machine, so their checksums are the same everywhere.
    for moment in range(1, 1000, stride):
        folder = fresh(str(moment))
        if not killed(partial(work, folder), moment, folder):
            break
        killed(partial(work, folder), max(1, moment // 2), folder)
        work(folder)
        assert (finished(folder / "target"), contents(folder / "source")) == expected
        again = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        work(folder)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == again, "a repeated call wrote something"
    assert moment > 30


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("mode", ["copy", "move"])
def test_killed_at_every_step_a_merge_ends_in_the_same_state(tmp_path, mode, stride):
    for moment in range(1, 1000, stride):
        folder = tmp_path / str(moment)
        source, target = make(folder / "source", TREE), folder / "target"
        split_files(arguments(source, mode, lists=True, zip=True), target, CONSOLE)
        root = source if mode == "move" else folder / "restored"
        ended = not killed(partial(merge_files, target, root, CONSOLE), moment, folder)
        if find_plan(target) is not None:
            merge_files(target, root, CONSOLE)
        assert {name: data for name, data in contents(root).items() if data is not None} == TREE
        if mode == "move":
            # Killed in the very last step, it leaves an empty folder.
            assert not target.exists() or list(target.iterdir()) == []
        if ended:
            break
    assert moment > 15


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_move_is_undone_by_merge(tmp_path, stride):
    """At whatever moment: before the plan is written nothing has moved, after the last file nothing is unfinished."""
    undone = 0
    for moment in range(1, 1000, stride):
        source, target = make(tmp_path / str(moment) / "source"), tmp_path / str(moment) / "target"
        if not killed(partial(split_files, arguments(source, "move"), target, CONSOLE), moment, source.parent):
            break
        found = find_plan(target) if target.exists() else None
        if found is None:
            assert len(contents(source)) == 10
            continue
        if not found[1]:
            undone += 1
            assert "moves them back to" in refusal(partial(merge_files, target, tmp_path / "other", CONSOLE))
        merge_files(target, source, CONSOLE)
        assert len(contents(source)) == 10
        assert not target.exists()
    assert undone >= 3


def test_a_real_kill_of_the_real_command(tmp_path):
    source = make(tmp_path / "source", 400)
    whole = tmp_path / "whole" / "target"
    split_files(arguments(source, parts=9, zip=True, lists=True), whole, CONSOLE)
    for sign in ("unfinished.jsonl", "05", "03.zip"):
        target = tmp_path / sign.replace("/", "-") / "target"
        words = ["split-files", source, target, "--splits", 9, "--zip", "--lists"]
        code = f"from kit.cli.app import main; main({[str(word) for word in words]})"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not (target / sign).exists():
                time.sleep(0.001)
            process.kill()
        split_files(arguments(source, parts=9, zip=True, lists=True), target, CONSOLE)
        assert finished(target) == finished(whole)


# The command line


def test_the_plugin_brings_the_commands(kit):
    plugins = {plugin["name"]: plugin for plugin in kit("plugins", "--json").json["plugins"]}
    assert plugins["split-files"]["hooks"] == ["kit_commands"]
    listed = kit("--help").out
    for name in ("split-files", "merge-files"):
        assert f"\n  {name} " in listed
        for flag in ("--help", "-h"):
            shown = kit(name, flag).out
            assert f"  Example:\n      kit {name} " in shown
            assert "--json" in shown


def test_the_commands(tmp_path, kit, monkeypatch):
    make(tmp_path / "train", TREE)
    monkeypatch.chdir(tmp_path)
    done = kit(
        "split-files", "train", "splits", "--per-dir", 3, "--suffix", "tif", "--link", "--zip", "--lists", "--json"
    )
    assert done.json["files"] == done.json["placed"] == 6
    assert done.json["counts"] == [3, 3]
    assert done.json["splits"] == ["00", "01"]
    assert Path(done.json["checksums"]).is_file()
    done = kit(
        "split-files", tmp_path / "train", "splits", "--per-dir", 3, "--suffix", ".tif", "--link", "--zip", "--lists"
    )
    assert "0 files linked, 6 were there already" in done.out
    assert "6 files in 2 directories, 3 in each" in done.out
    assert kit("merge-files", "splits", "again", "--json").json["restored"] == 6
    assert contents(tmp_path / "again").items() <= contents(tmp_path / "train").items()
    assert "the same bytes" in kit("merge-files", "splits", "train").out
    before = contents(tmp_path)
    error = kit("merge-files", "splits", code=BAD_INPUT).err
    assert f"kit merge-files splits {tmp_path / 'train'} restores it there" in error
    assert contents(tmp_path) == before, "without a target nothing is written"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train", "splits"), "give one of --per-dir N and --splits K"),
        (("train", "splits", "--per-dir", 2, "--splits", 3), "give one of --per-dir N and --splits K"),
        (("train", "splits", "--splits", 0), "greater than or equal to 1"),
        (("train", "splits", "--splits", 11), "10 files can't fill 11 splits: give --splits 10 or fewer"),
        (("train", "splits", "--splits", 3, "--copy", "--move"), "exclude each other"),
        (("train", "splits", "--splits", 3, "--suffix", ".png"), "give --suffix one of .tif (10)"),
        (("train", "train/splits", "--splits", 3), "lies in"),
        (("train", "train", "--splits", 3), "lies in"),
        (("train", "train/../train/x/y", "--splits", 3), "lies in"),
        (("train", ".", "--splits", 3), "holds other things"),
        (("train", "file", "--splits", 3), "file is not a folder"),
        (("absent", "splits", "--splits", 3), "absent is not a folder"),
        (("file", "splits", "--splits", 3), "file is not a folder"),
        (("empty", "splits", "--splits", 3), "holds no files"),
        (("train", "splits", "--splits", 3, "--prefix-map", "/=/x"), "add --lists"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, kit, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "train")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    before = contents(tmp_path)
    error = kit("split-files", *words, code=BAD_INPUT).err
    assert expected in error
    assert error.count("\n") == 1
    assert contents(tmp_path) == before
