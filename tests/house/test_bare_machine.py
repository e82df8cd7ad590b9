"""A bare GPU machine: kit runs from a checkout with what training needs, without albumentations or Kaggle's client."""

import os
import subprocess
import sys

import pytest

from helpers import ROOT
from helpers.bare_site import bare_site, required
from helpers.no_network import OFFLINE
from kit.errors import KitError
from kit.pixels.augment import load_pipeline

# What such a machine has, and the few that are carried there.
HAS = ("torch", "numpy", "pandas", "scikit-learn", "opencv-python-headless", "typer", "rich", "pluggy", "safetensors")
CARRIED = ("pillow", "pydantic", "typing-extensions")
LACKS = {"albumentations", "kaggle", "kagglesdk", "requests", "ray", "matplotlib", "timm", "torchvision"}
NETWORK = ("--model", "small_cnn", "--no-pretrained", "--size", "32", "--batch-size", "16")
SMALL = ("--model", "small_cnn", "--set", "size=32", "--set", "batch_size=16")
COMMANDS = (
    ("train", "histo", "--folds", "2", "--epochs", "1", *NETWORK),
    ("predict", "--tta", "2"),
    ("submit", "--dry-run"),
    ("evaluate", "--fold", "0"),
    ("gradcam", "--best", "2"),
    ("lr-find", "histo", *SMALL, "--set", "folds=2"),
    ("bench", "--model", "small_cnn", "--size", "32", "--batch-size", "16", "--seconds", "0.02"),
)
CODE = f"""
from kit.cli.app import main
for words in {COMMANDS!r}:
    try:
        main(list(words))
    except SystemExit as end:
        assert not end.code, (words, end.code)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return bare_site(tmp_path_factory.mktemp("bare") / "site", *HAS, *CARRIED)


@pytest.fixture
def alone(site, tmp_path):
    """Run Python with that site alone, kit as a checkout."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        checkout = [str(ROOT), str(ROOT / "plugins"), str(ROOT / "competitions")]
        paths = os.pathsep.join([*checkout, str(site), str(OFFLINE)])
        command = [sys.executable, "-S", "-c", f"import sitecustomize\n{arguments[0]}", *arguments[1:]]
        environment = {**os.environ, "PYTHONPATH": paths}
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_commands_that_run_a_network_need_little(kit, alone):
    assert required(*HAS, *CARRIED) & LACKS == set()
    kit("download", "histo", "--miniature")
    done = alone(CODE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checked, ready to send" in done.stdout
    assert "out-of-fold roc_auc" in done.stdout
    assert done.stderr.count("no picture is drawn, as matplotlib is not installed here: pip install matplotlib") == 2


def test_kit_starts_from_a_checkout(alone):
    run = "runpy.run_module('kit', run_name='__main__')"
    done = alone(f"import runpy, sys\nsys.argv = ['kit', 'list', '--json']\n{run}")
    assert done.returncode == 0, done.stderr
    assert '"histopathology"' in done.stdout


def test_what_is_missing_is_named_where_it_is_needed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(KitError) as caught:
        load_pipeline(tmp_path / "mine.json")
    needed = "mine.json needs albumentations, which is not installed: pip install 'albumentations>=2.0.8,<3'"
    assert str(caught.value).endswith(f"{needed}, or drop --augment")
