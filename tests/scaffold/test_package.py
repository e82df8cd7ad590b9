"""A plugin package is written whole or not at all, and called by names that Python, pip and the command line take."""

import errno
import os
import tomllib
from pathlib import Path

import pytest

from kit.errors import DISK, KitError
from kit.scaffold.package import package_names, write_package

FILES = {"pyproject.toml": "a", "kit_leaves/__init__.py": "b", "tests/test_leaves.py": "c"}


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("made", [False, True])
def test_all_files_are_written(tmp_path, made):
    folder = tmp_path / "deep" / "kit-leaves"
    if made:
        folder.mkdir(parents=True)
        node = folder.stat().st_ino
    assert write_package(folder, FILES) == folder
    assert tree(folder) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["kit-leaves"]
    if made:
        assert folder.stat().st_ino == node, "the shell's folder must stay the same one"


@pytest.mark.parametrize("what", ["file", "full", "link"])
def test_nothing_is_replaced(tmp_path, what):
    folder = tmp_path / "kit-leaves"
    if what == "link":
        folder.symlink_to(tmp_path / "nowhere")
    elif what == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "mine").write_text("mine")
    with pytest.raises(KitError, match="is there already"):
        write_package(folder, FILES)
    left = ["kit-leaves", "kit-leaves/mine"] if what == "full" else ["kit-leaves"]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == left


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KitError, match="can't be written") as caught:
        write_package(tmp_path / "kit-leaves", {**FILES, "pyproject.toml/below": "d"})
    assert caught.value.code == DISK
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["leaves", "leaf-net", "a1_b2", "x"])
def test_names_fit_everywhere(name):
    names = package_names(name)
    assert names.module.isidentifier()
    project = tomllib.loads(names.pyproject('Quotes " and \\ and ä'))["project"]
    assert project["name"] == names.distribution
    assert project["description"] == 'Quotes " and \\ and ä'
    assert project["entry-points"]["kit"] == {name: names.module}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is no name"),
        ("Leaf Net", "such as leaf-net"),
        ("9lives", "such as lives"),
        ("../leaves", "such as leaves"),
        ("-x", "such as x"),
        ("a--b", "such as a-b"),
        ("blätter", "is no name"),
        ("x" * 61, "at most 60"),
        ("timm", "kit_timm is a plugin that kit has built in"),
        ("small-networks", "kit_small_networks is a plugin"),
    ],
)
def test_wrong_names_are_refused(name, says):
    with pytest.raises(KitError, match=says):
        package_names(name)


def test_a_read_only_disk_is_told_with_another_folder(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(KitError, match="read-only disk: give another folder for the package") as caught:
        write_package(tmp_path / "kit-leaf", {"a.py": ""})
    assert caught.value.code == DISK
