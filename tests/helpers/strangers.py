"""Plugins as strangers write them: the one of docs/plugins.md, changed, and others, loaded from files of their own."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import ROOT
from kit.hooks.manager import Plugin, Plugins, load_plugins
from kit.hooks.registry import Registry

MODULE = "kit_leaves"


def shown(module: str) -> str:
    """A module that docs/plugins.md shows."""
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    found = re.search(rf"^```python\n(# {module}\.py\n.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def leaves(*changes: tuple[str, str]) -> str:
    """The module of docs/plugins.md, with some texts replaced by others."""
    code = shown(MODULE)
    for old, new in changes:
        assert old in code, old
        code = code.replace(old, new)
    return code


def loaded(folder: Path, code: str, name: str = "leaves", module: str = MODULE) -> Plugins:
    """All plugins with one more, whose module is written into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}.py"
    path.write_text(code, encoding="utf-8")

    def find() -> object:
        spec = importlib.util.spec_from_file_location(module, path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made
        spec.loader.exec_module(made)
        return made

    plugins = load_plugins()
    plugins.load(find, Plugin(name, "0.1.0", f"kit-{name}"))
    return plugins


def registry_of(folder: Path, code: str) -> Registry:
    return Registry(loaded(folder, code))


def use(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str, name: str = "leaves", module: str = MODULE) -> None:
    """Let the command line of this process have the plugin."""
    make: Callable[[], Plugins] = lambda: loaded(folder, code, name, module)  # noqa: E731
    monkeypatch.setattr("kit.cli.app.load_plugins", make)


def line_of(code: str, text: str) -> int:
    """The number of the first line that has a text."""
    return 1 + code[: code.index(text)].count("\n")
