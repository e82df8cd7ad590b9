"""Gather the wheels that a bare machine with a GPU lacks, on a machine with a network, for `make gpu` there.

The machine is known to have Python 3.12 and the packages in `THERE`; what else kit needs, and what that needs in turn,
goes to `benchmarks/gpu/wheels/`, which git ignores: carry the folder along. kit's training needs nothing of `LEFT_OUT`.

    python benchmarks/gpu/wheels.py
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "wheels"
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
THERE = {
    *("torch", "torchvision", "timm", "pandas", "numpy", "scipy", "scikit-learn", "matplotlib", "pillow"),
    *("opencv-python-headless", "typer", "rich", "pluggy", "safetensors", "requests", "six", "urllib3"),
    *("typing-extensions", "pyyaml", "pytest", "pytest-xdist", "lightning", "pytorch-lightning", "tensorboard"),
}
# Only kit's own requests to Kaggle need it, and a large tree of packages comes with it.
LEFT_OUT = {"kaggle"}
MOST_BYTES = 30_000_000


def missing(requirements: list[str]) -> list[Requirement]:
    """Those of some requirements that the bare machine lacks; extras are nobody's need."""
    environment = {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": PYTHON,
        "python_full_version": f"{PYTHON}.0",
        "extra": "",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_system": "Linux",
    }
    found = [Requirement(text) for text in requirements]
    needed = [one for one in found if one.marker is None or one.marker.evaluate(environment)]
    return [one for one in needed if canonicalize_name(one.name) not in THERE | LEFT_OUT]


def needs(wheel: Path) -> list[Requirement]:
    """What a wheel needs that the bare machine lacks."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return missing(Parser().parsestr(file.read(name).decode()).get_all("Requires-Dist") or [])


def download(requirement: Requirement, folder: Path) -> Path:
    """Fetch one wheel for the bare machine, and nothing that it needs."""
    before = set(folder.glob("*.whl"))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp", "-d", str(folder)]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    if subprocess.run([*command, f"{requirement.name}{requirement.specifier}"]).returncode:
        raise SystemExit(f"{requirement} can't be fetched: try again where there is a network; nothing is changed")
    (new,) = set(folder.glob("*.whl")) - before
    return new


def gather(folder: Path) -> dict[str, Path]:
    """Fetch all that is missing, with what it needs in turn; raise if two needs do not agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted, wheels = missing(project["dependencies"]), {}
    while wanted:
        requirement = wanted.pop(0)
        name = canonicalize_name(requirement.name)
        if name not in wheels:
            wheels[name] = download(requirement, folder)
            # An exact version that another wheel asks for goes before whatever fits.
            wanted = sorted(wanted + needs(wheels[name]), key=lambda one: "==" not in str(one.specifier))
        version = parse_wheel_filename(wheels[name].name)[1]
        if not requirement.specifier.contains(version, prereleases=True):
            raise SystemExit(f"{requirement} is needed, {wheels[name].name} was fetched for another need")
    return wheels


def main() -> None:
    argparse.ArgumentParser(description="Gather the wheels that a bare machine with a GPU lacks.").parse_args()
    FOLDER.mkdir(exist_ok=True)
    # Those of an earlier call go when all new ones are there.
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        fetched = gather(Path(folder)).values()
        for old in FOLDER.glob("*.whl"):
            old.unlink()
        wheels = sorted(wheel.replace(FOLDER / wheel.name) for wheel in fetched)
    size = sum(wheel.stat().st_size for wheel in wheels)
    for wheel in wheels:
        print(f"{wheel.stat().st_size / 1e6:6.2f} MB  {wheel.name}")
    print(f"{size / 1e6:6.2f} MB  in {FOLDER}")
    if size > MOST_BYTES:
        raise SystemExit(f"that is more than {MOST_BYTES / 1e6:.0f} MB: look for what is in THERE by now")


if __name__ == "__main__":
    main()
