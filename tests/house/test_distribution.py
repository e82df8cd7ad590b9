"""What is published: the wheel holds every file of the packages and nothing else, the sdist no more than it names."""

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, TARGETS = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]["build"]["targets"]
LOCK = ROOT / ".ci" / "requirements.lock"
# Not in the lock: pip takes what fits the processor or the GPU, and sympy is pinned by torch itself.
FREE = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*|sympy|mpmath|pip|setuptools|competition-kit")
SECRETS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|KGAT_[0-9a-f]{16}|\"key\": ?\"[0-9a-f]{32}\""
    rb"|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30}"
)
UNWANTED = {
    ".git",
    ".venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    "data",
    "runs",
    ".demo",
    "shared",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Both distributions, built offline and without isolation."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t", "wheel", "-t", "sdist"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> dict[str, bytes]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(built) -> dict[str, bytes]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        assert all(member.isfile() for member in members), "links and devices are no part of a distribution"
        assert not {member.uname for member in members} - {""}
        return {member.name: archive.extractfile(member).read() for member in members}


def files_below(folder: Path) -> set[str]:
    """The files of a package, as they lie in a folder of the repository; what Python caches is none."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts and path.suffix != ".pyc"}


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    expected = {
        f"{Path(package).name}/{name}"
        for package in TARGETS["wheel"]["packages"]
        for name in files_below(ROOT / package)
    }
    info = {name for name in wheel if name.split("/")[0].endswith(".dist-info")}
    assert set(wheel) - info == expected
    assert {"kit/py.typed", "kit_histopathology/competition.toml"} <= expected
    for package in TARGETS["wheel"]["packages"]:
        for name in files_below(ROOT / package):
            assert wheel[f"{Path(package).name}/{name}"] == (ROOT / package / name).read_bytes()
    assert {name.split("/", 1)[1] for name in info} == {
        "METADATA",
        "WHEEL",
        "RECORD",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_wheel_says_what_pyproject_says(wheel):
    (points,) = (content.decode() for name, content in wheel.items() if name.endswith("entry_points.txt"))
    (metadata,) = (content.decode() for name, content in wheel.items() if name.endswith("/METADATA"))
    sections: dict[str, dict[str, str]] = {}
    for line in filter(None, points.splitlines()):
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        else:
            key, value = line.split(" = ")
            section[key] = value
    assert sections == {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    head = metadata.split("\n\n")[0]
    assert f"Name: {PROJECT['name']}\n" in head
    assert f"Version: {PROJECT['version']}\n" in head
    required = {Requirement(text) for text in re.findall(r"^Requires-Dist: (.*)$", head, re.MULTILINE)}
    assert {str(one) for one in required if one.marker is None} == {
        str(Requirement(r)) for r in PROJECT["dependencies"]
    }
    assert set(re.findall(r"^Provides-Extra: (.*)$", head, re.MULTILINE)) == set(PROJECT["optional-dependencies"])


def test_the_sdist_holds_what_it_names_and_no_more(sdist):
    top = f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}"
    names = {name.split("/", 1)[1] for name in sdist}
    assert {name.split("/")[0] for name in sdist} == {top}
    named = {entry.strip("/") for entry in TARGETS["sdist"]["include"]}
    # hatchling adds what it needs to build.
    assert {name.split("/")[0] for name in names} <= named | {"PKG-INFO", "pyproject.toml", ".gitignore"}
    for package in TARGETS["wheel"]["packages"]:
        assert {f"{package}/{name}" for name in files_below(ROOT / package)} <= names
    assert {f"tests/{name}" for name in files_below(ROOT / "tests")} <= names


@pytest.mark.parametrize("which", ["wheel", "sdist"])
def test_nothing_unwanted_is_published(which, request):
    held = request.getfixturevalue(which)
    for name in held:
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert ".." not in path.parts
        # tests/data and kit/data are rooms of code.
        own = {"data"} if path.suffix == ".py" else set()
        assert not (UNWANTED - own) & set(path.parts[:-1]), name
        assert path.suffix not in (".pyc", ".npz", ".safetensors", ".zip", ".pem", ".lock", ".pixels"), name
        assert path.name not in ("kaggle.json", ".env", ".netrc"), name
    root = str(ROOT).encode()
    assert [name for name, content in held.items() if root in content] == []
    told = [name for name, content in held.items() if SECRETS.search(content) and "/tests/" not in name]
    assert told == []


def locked() -> dict[str, str]:
    lines = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert lines == sorted(lines, key=str.casefold)
    return dict(line.split("==") for line in lines)


def test_the_lock_names_exact_versions_of_everything_but_torch():
    versions = locked()
    assert [name for name in versions if FREE.fullmatch(name)] == []
    assert [version for version in versions.values() if not re.fullmatch(r"[0-9][0-9a-z.]*", version)] == []
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *(r for name in extras if name != "benchmarks" for r in extras[name])]:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if not FREE.fullmatch(name):
            assert requirement.specifier.contains(versions[name]), f"{text}, but {name} {versions[name]} is locked"


def test_the_lock_says_why_torch_is_free():
    head = LOCK.read_text(encoding="utf-8").split("\n\n")[0]
    assert "torch" in head
    assert all(line.startswith("#") for line in head.splitlines())


FINE = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI"}
OWN = {"name": "competition-kit", "skip_reason": "editable"}


@pytest.mark.parametrize(
    ("packages", "expected", "code"),
    [
        ([FINE, OWN], "1 packages looked up, 0 advisories", 0),
        ([FINE, BAD, SKIPPED], "b 1: CVE-1, mended in 2", 1),
        ([FINE, SKIPPED], "1 of 2 packages could not be looked up, e.g. c", 4),
        ([SKIPPED], "0 packages looked up", 4),
        (None, "the advisory service can't be reached, so nothing was checked (ConnectionError)", 4),
    ],
)
def test_the_audit_tells_what_it_found_from_what_it_could_not_look_up(tmp_path, packages, expected, code):
    """By what a stand-in for pip-audit says."""
    said = tmp_path / "said"
    said.write_text("" if packages is None else json.dumps({"dependencies": packages}))
    tool = tmp_path / "pip-audit"
    tool.write_text(f"#!/bin/sh\necho ConnectionError >&2\ncat '{said}'\nexit 1\n")
    tool.chmod(0o755)
    command = [sys.executable, str(ROOT / ".ci" / "audit.py"), str(tool), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert expected in done.stdout + done.stderr
