"""The help texts: on a terminal of 80 columns each can be read to its end."""

import os
import re
import subprocess
import sys

import pytest

from kit.cli.app import make_app
from kit.hooks.manager import load_plugins

WIDTH = 80


@pytest.fixture(scope="module")
def commands() -> dict[str, str]:
    """The first line of each command's docstring by its name: commands of kit and of its built-in plugins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_PLUGINS", "")
        registered = make_app(load_plugins()).registered_commands
    return {command.name: command.callback.__doc__.strip().splitlines()[0] for command in registered}


def test_the_list_of_commands_shows_each_help_to_its_end(commands):
    environment = {**os.environ, "COLUMNS": str(WIDTH), "KIT_PLUGINS": ""}
    listing = subprocess.run(
        [sys.executable, "-m", "kit", "--help"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    lines = listing.partition("Commands:\n")[2].splitlines()
    assert not [line for line in lines if len(line) > WIDTH or line.endswith(("...", "…"))]
    shown = dict(line.split(maxsplit=1) for line in lines)
    assert shown == commands
    assert {"train", "split-files", "merge-files"} <= set(shown)


def test_each_command_has_an_example_and_the_common_options(kit, commands, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    for name, first in commands.items():
        page = kit(name, "--help").out
        assert first in page, name
        assert f"\n      kit {name}" in page.partition("Example:")[2], name
        assert re.search(r"^  --json ", page, re.MULTILINE), name
        assert re.search(r"^  -h, --help ", page, re.MULTILINE), name


def test_plugins_are_loaded_once_a_call(kit, monkeypatch):
    """The command finds what `main` has loaded; a second loading would import every third-party package again."""
    from kit.hooks import manager

    calls = []
    real = manager.entry_points
    monkeypatch.setattr(manager, "entry_points", lambda **which: calls.append(which) or real(**which))
    kit("list")
    kit("info", "histo")
    kit("plugins")
    assert len(calls) == 3
