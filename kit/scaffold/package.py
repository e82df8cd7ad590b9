"""A plugin package on disk: what it is called, its pyproject.toml, and how its files are written, all or none."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import KitError
from kit.files import cant_write, clear_temporaries
from kit.hooks.manager import BUILT_IN_MODULES

RIGHT = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
LONGEST = 60  # characters: the names of files and distributions are made of it
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "0.1.0"
description = {description}
readme = "README.md"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = ["competition-kit"]

[project.entry-points.kit]
{name} = "{module}"
"""


@dataclass(frozen=True)
class PackageNames:
    """What a package is called that provides one thing.

    Args:
        name: of the thing, as it is typed in commands: `leaf-net`.
    """

    name: str

    @property
    def distribution(self) -> str:
        """What pip calls it: `kit-leaf-net`."""
        return "kit-" + self.name.replace("_", "-")

    @property
    def module(self) -> str:
        """What Python imports: `kit_leaf_net`."""
        return "kit_" + self.word

    @property
    def word(self) -> str:
        """The name as a part of Python's names: `leaf_net`."""
        return self.name.replace("-", "_")

    def pyproject(self, description: str) -> str:
        """Return the package's pyproject.toml; `description` is one line."""
        # A text in TOML's double quotes is written as in JSON.
        quoted = json.dumps(description, ensure_ascii=False)
        return PYPROJECT.format(distribution=self.distribution, description=quoted, name=self.name, module=self.module)


def package_names(name: str) -> PackageNames:
    """Return what the package of a thing is called.

    Raises:
        KitError: the name can't be one of a package, or is that of a built-in plugin.
    """
    if not RIGHT.fullmatch(name) or len(name) > LONGEST:
        made = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:LONGEST].strip("-")
        better = f", such as {made}" if made and RIGHT.fullmatch(made) else ""
        raise KitError(
            f"{name!a} is no name for a plugin: give at most {LONGEST} small letters, digits, - and _, "
            f"beginning with a letter{better}"
        )
    names = PackageNames(name)
    if names.module in BUILT_IN_MODULES:
        raise KitError(f"{names.module} is a plugin that kit has built in: give another name than {name}")
    return names


def free_folder(folder: Path) -> Path:
    """Return a folder for a new package; raise `KitError` if it holds anything, or something else is in its place."""
    empty = folder.is_dir() and not any(folder.iterdir())
    if os.path.lexists(folder) and not empty:
        raise KitError(f"{folder} is there already, and nothing in it is replaced: give another folder, or remove it")
    return folder


def write_package(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a package's files into a folder, all of them or none; return the folder.

    Args:
        folder: must not exist, or be empty.
        files: text by name, relative to the folder, with `/`.

    Raises:
        KitError: the folder holds something, or (code 5) can't be written.
    """
    free_folder(folder)
    place = folder.absolute()
    staged = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        clear_temporaries(place.parent, place.name)
        staged.mkdir()
        for name, text in files.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).write_text(text, encoding="utf-8")
        if place.is_dir():
            # The person may be in the folder, which thus must stay the same.
            for each in staged.iterdir():
                each.rename(place / each.name)
        else:
            staged.rename(place)
    except OSError as error:
        raise cant_write(folder, error, "give another folder for the package") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder
