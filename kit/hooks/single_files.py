"""Plugins that are a single file, which the person names: `kit --plugin FILE.py`, and `KIT_PLUGIN_FILES=a.py:b.py`.

The first becomes the second, so that processes started from here (of torchrun, of Ray) load the same files. Nothing
else is ever loaded from a folder that one happens to be in: that would run whatever lies there.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from kit.errors import KitError
from kit.hooks.leash import Failed

VARIABLE = "KIT_PLUGIN_FILES"
OPTION = "--plugin"


def split_off(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the files of the options `--plugin` that a command line begins with, and the other words."""
    files, rest = [], list(words)
    while rest and (rest[0].startswith(f"{OPTION}=") or (rest[0] == OPTION and len(rest) > 1)):
        word = rest.pop(0)
        files.append(rest.pop(0) if word == OPTION else word.partition("=")[2])
    return files, rest


@contextlib.contextmanager
def also(files: Sequence[str]) -> Iterator[None]:
    """Within the block these plugin files are named too, for this process and those that it starts.

    Raises:
        KitError: there is no such file, or it can't be a plugin's.
    """
    before = os.environ.get(VARIABLE)
    for file in files:
        path = Path(file)
        if not path.is_file():
            raise KitError(f"the plugin file {path} is {_no_file(path)}")
        if os.pathsep in str(path.absolute()):
            raise KitError(f"the plugin file {path.absolute()} has {os.pathsep!r} in its path: move or rename it")
    try:
        if files or before:
            os.environ[VARIABLE] = os.pathsep.join(map(str, _distinct([*named(), *map(Path, files)])))
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def named() -> list[Path]:
    """Return the plugin files that the environment names, as absolute paths."""
    return _distinct([Path(text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text.strip()])


def _distinct(paths: Sequence[Path]) -> list[Path]:
    return list({os.path.realpath(path): Path(os.path.abspath(path)) for path in paths}.values())


def load(path: Path) -> ModuleType:
    """Import a plugin file, as the module that is called like it.

    Raises:
        Failed: it is not there, or its name can't be a plugin's.
    """
    name = _module_name(path)
    if not path.is_file():
        raise Failed(f"it is {_no_file(path)}; correct {VARIABLE}, or leave it out")
    there = sys.modules.get(name)
    if there is not None and _is_of(there, path):
        return there
    if wrong := _wrong_name(name, path, there):
        raise Failed(f"{path.name} {wrong}: rename it")
    spec = _spec(name, path)
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr, unused-ignore]
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, SyntaxError) and error.filename is None:
            raise Failed(f"it is no source of Python ({error}): give a text file") from None
        raise
    return module


def _no_file(path: Path) -> str:
    return "a folder: give the .py file in it, or install it" if path.is_dir() else "not there: check its path"


def _module_name(path: Path) -> str:
    return path.stem.replace("-", "_")


def _wrong_name(name: str, path: Path, there: ModuleType | None) -> str:
    """Return why a plugin file can't be called so; empty if it can."""
    if path.suffix != ".py" or not name.isidentifier():
        return "is no name of a module (letters, digits and _, then .py)"
    if any(_module_name(other) == name and other != path for other in named()):
        return "is called like another plugin file"
    if there is not None and isinstance(getattr(there.__spec__, "loader", None), _Source):
        return ""  # of an earlier call in this process
    found = there.__spec__ if there is not None else find_spec(name)
    if found is not None and not (found.origin and Path(found.origin).exists() and path.samefile(found.origin)):
        return f"is called like a module that can be imported ({found.origin or name})"
    return ""


def _is_of(module: ModuleType, path: Path) -> bool:
    return isinstance(getattr(module.__spec__, "loader", None), _Source) and module.__file__ == str(path)


def _spec(name: str, path: Path) -> ModuleSpec:
    spec = spec_from_file_location(name, path, loader=_Source(name, str(path)))
    if spec is None:
        raise ImportError(f"{path} is no Python file")
    return spec


class _Source(SourceFileLoader):
    """Reads the text itself, always: no `__pycache__` in folders of notes, and no stale one after a quick change."""

    def path_stats(self, path: str) -> dict[str, object]:
        """Say that nothing is known of the file, so that no compiled one is sought or kept."""
        raise OSError


class _Finder(MetaPathFinder):
    """Finds plugin files by their names for what imports by name: what another process pickled, `lazy`."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of a plugin file that the environment names; None if it is no name of one."""
        if path is None and VARIABLE in os.environ:
            return next((_spec(name, file) for file in named() if _module_name(file) == name and file.is_file()), None)
        return None


# In place as soon as kit is imported: a process that is spawned unpickles before it runs anything of kit.
sys.meta_path.append(_Finder())
