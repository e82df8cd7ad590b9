"""Real distributions in a temporary environment: what a stranger's `pip install` would do, offline."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import ROOT

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "{version}"
[project.entry-points.kit]
{entry} = "{module}"
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees everything of this one and holds further distributions."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Environment":
        venv.create(folder, with_pip=False, symlinks=True)
        environment = cls(folder)
        # addsitedir, unlike a plain path, also reads the .pth files there (that of an editable kit).
        here = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        (next(folder.glob("lib/python*/site-packages")) / "everything.pth").write_text(here)
        return environment

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def install(self, *projects: Path) -> None:
        """Build each project and install the wheel; no network, no dependencies."""
        options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q"]
        command = [sys.executable, "-m", "pip", "--python", self.python, "install", *options, *map(str, projects)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *command: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run this environment's Python; `KIT_PLUGINS` is not set unless given."""
        given = {key: value for key, value in os.environ.items() if key != "KIT_PLUGINS"} | variables
        done = subprocess.run(
            [self.python, *command], capture_output=True, text=True, env=given, cwd=self.folder, check=False
        )
        assert done.returncode == code, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def kit(self, *arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `kit` there."""
        return self.run("-m", "kit", *arguments, code=code, **variables)

    def kit_json(self, *arguments: str, **variables: str) -> Any:
        """Run `kit ... --json` there; its document."""
        return json.loads(self.kit(*arguments, "--json", **variables).stdout)


def built(project: Path, folder: Path) -> Path:
    """The wheel of a project, built offline into a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def put_on_path(wheel: Path, folder: Path, monkeypatch: Any) -> Path:
    """Unpack a wheel into a folder on this process's path, where its entry points are found; return the folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    monkeypatch.syspath_prepend(str(folder))
    (points,) = folder.glob("*.dist-info/entry_points.txt")
    monkeypatch.setenv("KIT_PLUGINS", points.read_text().split("[kit]\n")[1].partition(" = ")[0])
    return folder


def write_project(folder: Path, name: str, code: str, entry: str | None = None, version: str = "1.0") -> Path:
    """A project of one module, called like the distribution, behind one entry point."""
    module = name.replace("-", "_")
    folder.mkdir()
    text = PYPROJECT.format(name=name, version=version, entry=entry or name, module=module)
    (folder / "pyproject.toml").write_text(text)
    (folder / f"{module}.py").write_text(code)
    return folder


def write_documented_project(folder: Path) -> Path:
    """The files that docs/plugins.md shows: each fenced block that begins with a comment with a file's name."""
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    folder.mkdir()
    for block in re.findall(r"^```(?:toml|python)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        name = re.match(r"# (\S+\.(?:toml|py))\n", block)
        assert name, f"a block in docs/plugins.md does not say which file it is:\n{block}"
        if "/" not in name[1]:  # another package's
            (folder / name[1]).write_text(block)
    return folder
