"""The command line starts fast: `kit --help`, with all plugins loaded, imports nothing heavy."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "torchvision",
    "albumentations",
    "cv2",
    "sklearn",
    "pandas",
    "numpy",
    "matplotlib",
    "timm",
    "kaggle",
    "kagglesdk",
    "requests",
    "rich",
    "pydantic",
    "PIL",
    "scipy",
    "safetensors",
}
LOADED = """
import json, sys
from kit.cli.app import main
try:
    main({arguments})
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
"""


def loaded_by(*arguments: str) -> set[str]:
    code = LOADED.format(arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_with_all_plugins_loads_nothing_heavy():
    loaded = loaded_by("--help")
    assert {"kit", "kit_histopathology", "kit_losses", "kit_timm", "kit_torchvision", "pluggy"} <= loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "module",
    [
        "kit.hooks.hookspecs",
        "kit.hooks.specs",
        "kit.hooks.manager",
        "kit.hooks.registry",
        "kit.plugin",
        "kit.testing",
        "kit.errors",
        "kit.files",
        "kit.paths",
        "kit.console",
    ],
)
def test_the_contract_is_light(module):
    code = f"import sys, {module}; print(*(name for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & HEAVY == set()


@pytest.mark.parametrize("arguments", [("train", "--help"), ("list", "--json"), ("plugins", "--json")])
def test_light_commands_load_nothing_heavy_either(arguments):
    # typer itself loads pydantic once it parses a command's options.
    assert loaded_by(*arguments) & (HEAVY - {"pydantic"}) == set()
