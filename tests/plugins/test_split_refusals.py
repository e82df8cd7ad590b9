"""Splits and merges refuse, in one line, without touching foreign files."""

import contextlib
import errno
import json
import os
import random
import resource
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.trees import CONSOLE, arguments, contents, make, refusal
from kit.cli.app import make_app
from kit.errors import DISK, KitError
from kit.hooks.manager import load_plugins
from kit.plugin import hookimpl
from kit_split_files.merge import merge_files
from kit_split_files.plan import Arguments, find_plan, locked, scan
from kit_split_files.split import PLACE, split_files


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


def test_other_arguments_over_splits(tmp_path):
    source, target = make(tmp_path / "source"), tmp_path / "target"
    split_files(arguments(source, "link", suffix=".tif"), target, CONSOLE)
    before = contents(target)
    others = (
        arguments(source, "copy", suffix=".tif"),
        arguments(source, "link"),
        arguments(source, "link", suffix=".tif", zip=True),
        Arguments(str(source), "link", per_dir=4, suffix=".tif"),
        arguments(make(tmp_path / "elsewhere"), "link", suffix=".tif"),
    )
    for other in others:
        message = refusal(lambda other=other: split_files(other, target, CONSOLE))
        assert f"kit split-files {source} {target} --link --splits 3 --suffix .tif resumes them" in message
        assert f"rm -r {target}" in message
    assert contents(target) == before


def test_a_tree_that_has_changed(tmp_path):
    source, target = make(tmp_path / "source"), tmp_path / "target"
    split_files(arguments(source), target, CONSOLE)
    make(source, {"new.tif": b""})
    assert "1 new files, 0 gone, such as new.tif" in refusal(lambda: split_files(arguments(source), target, CONSOLE))
    (source / "new.tif").rename(tmp_path / "new.tif")
    (source / "0003.tif").unlink()
    assert "0 new files, 1 gone" in refusal(lambda: split_files(arguments(source), target, CONSOLE))
    merge_files(target, source, CONSOLE)
    assert split_files(arguments(source), target, CONSOLE).placed == 0


@pytest.mark.parametrize("mode", ["copy", "link", "move"])
def test_changed_splits(tmp_path, mode):
    source, target = make(tmp_path / "source"), tmp_path / "target"
    split_files(arguments(source, mode), target, CONSOLE)
    make(target, {"02/stranger": b"mine"})
    assert "holds 4 files instead of 3 (such as stranger)" in refusal(
        lambda: split_files(arguments(source, mode), target, CONSOLE)
    )
    (target / "02/stranger").unlink()
    if mode == "move":
        make(source, {"0008.tif": b"other"})
    else:
        (target / "02/0008.tif").unlink()
        assert split_files(arguments(source, mode), target, CONSOLE).placed == 1
        (target / "02/0008.tif").unlink()
        make(target, {"02/0008.tif": b"other"})
    assert "02/0008.tif is not the file that kit put" in refusal(
        lambda: split_files(arguments(source, mode), target, CONSOLE)
    )
    assert (target / "02/0008.tif").read_bytes() == (b"8" if mode == "move" else b"other")


def test_what_is_not_kits_stays(tmp_path):
    source, target = make(tmp_path / "source"), tmp_path / "target"
    make(target, {"diary.txt": b"dear"})
    assert "holds other things (diary.txt)" in refusal(lambda: split_files(arguments(source), target, CONSOLE))
    (target / "diary.txt").unlink()
    split_files(arguments(source, "move", zip=True, lists=True), target, CONSOLE)
    mine = {"diary.txt": b"dear", "00/mine.txt": b"mine", "lists/mine.txt": b"mine"}
    make(target, mine)
    merge_files(target, source, CONSOLE)
    assert {name: data for name, data in contents(target).items() if data is not None} == mine


def test_merge_refuses_to_overwrite_and_to_lose(tmp_path):
    source, target = make(tmp_path / "source"), tmp_path / "target"
    split_files(arguments(source), target, CONSOLE)
    make(source, {"0005.tif": b"other"})
    assert "0005.tif exists and differs" in refusal(lambda: merge_files(target, source, CONSOLE))
    (target / "01/0005.tif").write_bytes(b"")
    assert "01/0005.tif has 0 bytes, not 1" in refusal(lambda: merge_files(target, tmp_path / "again", CONSOLE))
    (target / "01/0005.tif").unlink()
    assert "01 lacks 1 of 3 files, such as 0005.tif" in refusal(
        lambda: merge_files(target, tmp_path / "again", CONSOLE)
    )
    assert not (tmp_path / "again").exists()
    assert "the folder of the splits" in refusal(lambda: merge_files(target, target / "tree", CONSOLE))
    assert "holds no splits" in refusal(lambda: merge_files(source, None, CONSOLE))
    (target / "manifest.jsonl").rename(target / "unfinished.jsonl")
    assert "are unfinished" in refusal(lambda: merge_files(target, tmp_path / "again", CONSOLE))


def test_merge_on_another_machine_asks_where_to(tmp_path):
    source, target = make(tmp_path / "there" / "source"), tmp_path / "target"
    split_files(arguments(source), target, CONSOLE)
    shutil.rmtree(tmp_path / "there")
    target.rename(tmp_path / "carried")
    assert f"kit merge-files {tmp_path / 'carried'} TARGET" in refusal(
        lambda: merge_files(tmp_path / "carried", None, CONSOLE)
    )
    assert merge_files(tmp_path / "carried", tmp_path / "here", CONSOLE).restored == 10


def test_a_damaged_or_hostile_manifest(tmp_path):
    source, target = make(tmp_path / "source"), tmp_path / "target"
    split_files(arguments(source), target, CONSOLE)
    path = target / "manifest.jsonl"
    text, chance = path.read_text(), random.Random(0)
    changes = [("0003.tif", "../3.tif"), ("0003.tif", "/etc/x"), ('"02"', '".."'), ('"mode"', '"mood"')]
    changes += [('"count": 10', '"count": 9'), (text, ""), (text, "[]"), (text[-40:], "")]
    for old, new in changes:
        path.write_text(text.replace(old, new))
        assert "is damaged" in refusal(lambda: merge_files(target, tmp_path / "again", CONSOLE))
    for _ in range(100):
        at = chance.randrange(len(text))
        path.write_text(text[:at] + chance.choice('{}[]",:x0') + text[at + 1 :])
        with contextlib.suppress(KitError):
            find_plan(target)


HEAD = {
    "format": 1,
    "count": 1,
    "parts": 1,
    "arguments": {"source": "/elsewhere/tree", "mode": "copy", "parts": 1},
    "empty_folders": [],
}
LINE = {"part": "00", "count": 1, "files": ["a.tif"], "sizes": [1]}
MANIFESTS = [
    ([HEAD], "contradicts itself"),
    ([HEAD, LINE, LINE], "contradicts itself"),
    ([{**HEAD, "count": 2, "parts": 2}, LINE, LINE], "contradicts itself"),
    ([{**HEAD, "format": 2}, LINE], "format"),
    ([{**HEAD, "more": 1}, LINE], "more: "),
    ([{**HEAD, "count": "one"}, LINE], "count: "),
    ([{**HEAD, "empty_folders": "x"}, LINE], "empty_folders: "),
    ([{**HEAD, "empty_folders": ["../x"]}, LINE], "not the path of a file below"),
    ([{**HEAD, "empty_folders": ["/x"]}, LINE], "not the path of a file below"),
    ([{**HEAD, "arguments": {"source": "relative", "mode": "copy"}}, LINE], "contradicts itself"),
    ([{**HEAD, "arguments": {"source": "/x", "mode": "steal"}}, LINE], "arguments.mode: "),
    ([{**HEAD, "arguments": {"source": 1, "mode": "copy"}}, LINE], "arguments.source: "),
    ([{**HEAD, "arguments": {"source": "/x", "mode": "copy", "run": "x"}}, LINE], "arguments.run: "),
    ([HEAD, {**LINE, "part": "../00"}], "contradicts itself"),
    ([HEAD, {**LINE, "part": 0}], "part: "),
    ([HEAD, {**LINE, "sizes": [1, 2]}], "contradicts itself"),
    ([HEAD, {**LINE, "sizes": ["x"]}], "sizes.0: "),
    *(
        ([HEAD, {**LINE, "files": [name]}], "not the path of a file below")
        for name in ("../a", "/etc/passwd", "a/../../b", "", "a//b", "./a", "a/", "nul\0", "line\nbreak", "x" * 256)
    ),
    ([HEAD, {**LINE, "files": [None]}], "files.0: "),
    ([[]], "its first line: "),
    (["text"], "its first line: "),
]


@pytest.mark.parametrize(("lines", "why"), MANIFESTS, ids=range(len(MANIFESTS)))
def test_a_strangers_manifest_is_one_line_and_nothing_is_written(tmp_path, kit, lines, why):
    target = make(tmp_path / "target", {"00/a.tif": b"a"})
    (target / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = contents(tmp_path)
    for words in ((), (tmp_path / "named",)):
        error = kit("merge-files", target, *words, code=2).err
        assert f"manifest.jsonl is damaged ({why}" in error or (why in error and "is damaged" in error)
        assert error.count("\n") == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["[" * 100_000, "", "\xff", "{", "NaN"])
def test_a_manifest_that_is_no_json(tmp_path, text):
    target = make(tmp_path / "target", {"00/a.tif": b"a"})
    (target / "manifest.jsonl").write_bytes(text.encode("latin-1"))
    assert "manifest.jsonl is damaged" in refusal(lambda: merge_files(target, tmp_path / "named", CONSOLE))


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_nothing_is_restored_where_only_the_manifest_says(tmp_path, kit, mode):
    source, target, victim = make(tmp_path / "source"), tmp_path / "target", tmp_path / "victim"
    split_files(arguments(source, mode), target, CONSOLE)
    path = target / "manifest.jsonl"
    path.write_text(path.read_text().replace(str(source), str(victim / "deep")))
    for folder in (False, True):
        if folder:
            victim.mkdir()
        before = contents(tmp_path)
        assert str(victim / "deep") in kit("merge-files", target, code=2).err
        assert contents(tmp_path) == before
    assert merge_files(target, tmp_path / "named", CONSOLE).restored == 10


def lay(way: str, target: Path, root: Path, victim: Path) -> None:
    """Put a link in the way of a merge."""
    if way == "folder of the tree":
        root.mkdir()
        (root / "train").symlink_to(victim)
    elif way == "file of the tree":
        (root / "train").mkdir(parents=True)
        (root / "train/a").symlink_to(victim / "new")
    elif way == "split":
        shutil.move(target / "00", victim / "00")
        (target / "00").symlink_to(victim / "00")
    elif way == "lists":
        (target / "lists").symlink_to(victim)
    elif way == "manifest":
        shutil.move(target / "manifest.jsonl", victim / "m")
        (target / "manifest.jsonl").symlink_to(victim / "m")
    elif way == "pipe":
        (target / "manifest.jsonl").unlink()
        os.mkfifo(target / "manifest.jsonl")
    elif way == "tree is a file":
        root.write_text("mine")
    elif way == "file for a folder":
        make(root, {"train": b"mine"})


@pytest.mark.parametrize("mode", ["copy", "move"])
@pytest.mark.parametrize(
    "way",
    [
        *("folder of the tree", "file of the tree", "split", "lists", "manifest", "pipe"),
        *("tree is a file", "file for a folder"),
    ],
)
def test_links_in_the_way_of_a_merge(tmp_path, way, mode):
    source, target, victim = (
        make(tmp_path / "source", {"train/a": b"1", "b": b"2"}),
        tmp_path / "t",
        tmp_path / "victim",
    )
    make(victim, {"all.txt": b"precious", "00.txt": b"precious"})
    split_files(arguments(source, mode, parts=1), target, CONSOLE)
    lay(way, target, tmp_path / "root", victim)
    names = set(tmp_path.rglob("*"))
    refusal(lambda: merge_files(target, tmp_path / "root", CONSOLE))
    assert set(tmp_path.rglob("*")) == names


def test_a_link_in_wait_for_a_copy_is_replaced(tmp_path):
    source, target, victim = make(tmp_path / "source"), tmp_path / "target", tmp_path / "victim"
    victim.write_bytes(b"precious")
    split_files(arguments(source), target, CONSOLE)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.merge-files.tmp").symlink_to(victim)
    assert merge_files(target, tmp_path / "root", CONSOLE).restored == 10
    assert victim.read_bytes() == b"precious"


def test_a_limit_of_file_size_is_code_5_and_no_file_counts(tmp_path):
    source, target = make(tmp_path / "source", {"a": os.urandom(9000), "b": b"small"}), tmp_path / "target"

    def limited(work) -> int:
        child = os.fork()
        if child == 0:
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
                work()
                os._exit(0)
            except OSError:
                os._exit(DISK)
            except BaseException:
                os._exit(99)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert limited(lambda: split_files(arguments(source, parts=1), target, CONSOLE)) == DISK
    assert not (target / "manifest.jsonl").exists()
    split_files(arguments(source, parts=1), target, CONSOLE)
    assert limited(lambda: merge_files(target, tmp_path / "root", CONSOLE)) == DISK
    assert {name for name, data in contents(tmp_path / "root").items()} <= {"b"}
    merge_files(target, tmp_path / "root", CONSOLE)
    assert contents(tmp_path / "root") == contents(source)


def test_links_and_odd_names(tmp_path):
    source, target = make(tmp_path / "source"), tmp_path / "target"
    (source / "link").symlink_to(tmp_path)
    assert "link is a link or a device" in refusal(
        lambda: split_files(arguments(source, suffix=".tif"), target, CONSOLE)
    )
    (source / "link").unlink()
    (source / "link").symlink_to(source / "0001.tif")
    assert "link is a link or a device" in refusal(lambda: split_files(arguments(source), target, CONSOLE))
    assert scan(source, ".tif", sizes=False)[0].keys() == {f"{number:04d}.tif" for number in range(10)}
    (source / "link").unlink()
    for odd in (b"two\nlines", b"latin \xe4"):
        path = Path(os.fsdecode(bytes(source) + b"/" + odd))
        path.write_bytes(b"")
        for suffix in (None, path.name[-1:]):
            assert "rename that file" in refusal(
                partial(split_files, arguments(source, parts=1, suffix=suffix), target, CONSOLE)
            )
        path.unlink()
    assert not target.exists()


def test_other_file_systems(tmp_path, monkeypatch):
    source, target = make(tmp_path / "source"), tmp_path / "target"

    def impossible(*names):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    for mode, mend in (("link", f"rm -r {target}"), ("move", f"kit merge-files {target} {source}")):
        monkeypatch.setitem(PLACE, mode, impossible)
        assert f"{mend}, then use --copy" in refusal(
            lambda mode=mode: split_files(arguments(source, mode), target, CONSOLE)
        )
        shutil.rmtree(target)
    memory = Path("/dev/shm")
    if memory.is_dir() and os.stat(memory).st_dev != os.stat(tmp_path).st_dev:
        message = refusal(lambda: split_files(arguments(source, "link"), memory / tmp_path.name, CONSOLE))
        assert "works within one file system" in message
        assert not (memory / tmp_path.name).exists()


def test_a_full_disk_is_reported_and_the_same_call_resumes(tmp_path, kit, monkeypatch):
    source, target = make(tmp_path / "source"), tmp_path / "target"

    def full(*names):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setitem(PLACE, "copy", full)
        assert "free some space there" in kit("split-files", source, target, "--splits", 2, code=DISK).err
    assert kit("split-files", source, target, "--splits", 2, "--json").json["placed"] == 10


def test_two_at_once(tmp_path):
    source, target = make(tmp_path / "source"), tmp_path / "target"
    split_files(arguments(source), target, CONSOLE)
    with locked(target):
        assert "another kit is working in" in refusal(lambda: split_files(arguments(source), target, CONSOLE))
        assert "another kit is working in" in refusal(lambda: merge_files(target, source, CONSOLE))


def test_no_stranger_takes_a_name_of_the_plugin():
    @hookimpl
    def kit_commands(app):
        app.command("split-files")(print)

    plugins = load_plugins()
    plugins.add(SimpleNamespace(kit_commands=kit_commands), "thief", "a-stranger", "1.0")
    make_app(plugins)
    errors = {plugin.name: plugin.error for plugin in plugins.records}
    assert "the command 'split-files' is already provided by competition-kit" in errors["thief"]
    assert errors["split-files"] is None
