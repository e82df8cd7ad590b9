"""The public surface as text: every name that a plugin may import, with signatures, fields and defaults.

    make surface WHAT="HeadSpec.build takes a HeadRequest"

writes it to tests/contract/surface.txt, and WHAT into CHANGELOG.md with the digest of the new text.
"""

import ast
import hashlib
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from helpers import ROOT

SNAPSHOT = ROOT / "tests" / "contract" / "surface.txt"
CHANGELOG = ROOT / "CHANGELOG.md"
MODULES = (
    "kit.plugin",
    *(f"kit.plugin.{path.stem}" for path in sorted((ROOT / "kit/plugin").glob("*.py")) if path.stem != "__init__"),
    "kit.errors",
    "kit.testing",
    "kit.hooks.hookspecs",
)
# What plugins get without importing it: by a request, as the task of an index.
BEHIND = ("kit.task.Task", "kit.config.TrainConfig", "kit.hooks.specs.TASK_NAMES")


def surface() -> str:
    """One line per name, those of a class's fields and methods indented below it."""
    lines: list[str] = []
    for module in MODULES:
        lines += ["", f"# {module}"]
        found = importlib.import_module(module)
        for name in sorted(getattr(found, "__all__", None) or _own(found)):
            lines += _lines(name, getattr(found, name))
    lines += ["", "# behind them"]
    for path in BEHIND:
        module, _, name = path.rpartition(".")
        lines += _lines(name, getattr(importlib.import_module(module), name))
    return "\n".join(lines).strip() + "\n"


def digest(text: str) -> str:
    """What CHANGELOG.md names a surface by."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _own(module: Any) -> list[str]:
    """The public names that a module defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", module.__name__) == module.__name__
        and not inspect.ismodule(value)
        and (callable(value) or isinstance(value, int))
    ]


def _lines(name: str, value: Any) -> Iterator[str]:
    node = _node(value) if inspect.isclass(value) or inspect.isfunction(value) else None
    if isinstance(node, ast.FunctionDef):
        yield f"{name}{_signature(node)}"
    elif isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        yield f"class {name}({bases})" if bases else f"class {name}"
        for each in reversed(value.__mro__):
            own = _node(each)
            yield from _members(own) if isinstance(own, ast.ClassDef) else ()
    elif isinstance(value, (int, str, tuple)):
        yield f"{name} = {value!r}"
    else:
        yield f"{name}: {type(value).__name__}"


def _members(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and not each.target.id.startswith("_"):
            if isinstance(each.value, ast.Call):  # a field of the configuration: how it is described is no part of it
                each.value.keywords = [key for key in each.value.keywords if key.arg != "description"]
            default = f" = {ast.unparse(each.value)}" if each.value is not None else ""
            yield f"    {each.target.id}: {ast.unparse(each.annotation)}{default}"
        elif isinstance(each, ast.FunctionDef) and (not each.name.startswith("_") or each.name == "__init__"):
            marks = "".join(f"@{ast.unparse(mark)} " for mark in each.decorator_list)
            yield f"    {marks}{each.name}{_signature(each)}"


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"({ast.unparse(node.args)}){returns}"


def _node(value: Any) -> ast.AST | None:
    """The syntax of a class or function; None for one that is not kit's."""
    module = sys.modules[value.__module__]
    if not value.__module__.startswith("kit.") or module.__file__ is None:
        return None
    body = reversed(_tree(Path(module.__file__)).body)  # the last of several is the function that overloads describe
    return next((each for each in body if getattr(each, "name", None) == value.__name__), None)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def update(what: str) -> str:
    """Write the snapshot, and what changed into the changelog's first section; return what is told."""
    text = surface()
    entry = f"- Public surface `{digest(text)}`: {' '.join(what.split())}"
    line = textwrap.fill(entry, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    log = CHANGELOG.read_text(encoding="utf-8")
    if f"`{digest(text)}`" in log and SNAPSHOT.is_file() and SNAPSHOT.read_text(encoding="utf-8") == text:
        return "the public surface is the one on record"
    if not what.strip():
        raise SystemExit('the public surface has changed: make surface WHAT="what changed, for authors of plugins"')
    section = re.search(r"^### Changed\n", log, re.MULTILINE)
    if section is None:
        raise SystemExit("CHANGELOG.md has no section ### Changed")
    SNAPSHOT.write_text(text, encoding="utf-8")
    CHANGELOG.write_text(f"{log[: section.end()]}{line}\n{log[section.end() :]}", encoding="utf-8")
    return f"{SNAPSHOT.relative_to(ROOT)} and CHANGELOG.md: {line}"


if __name__ == "__main__":
    print(update(" ".join(sys.argv[1:])))
