"""Too little memory for a pass without gradients: fewer images at once, the same results, said once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.little_memory import SAID, limited
from helpers.training_runs import QUICK, made_once
from kit.model.network import Network
from kit.runs import all_runs
from kit.scoring.predictions import Predictions

LINE = f"warning: {SAID} for {{}} images at once: going on with {{}}, which changes no result\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Data and a run of two folds, made once."""
    return made_once(tmp_path_factory.mktemp("made"), "epochs=1", "model=small_cnn", "pretrained=false")


@pytest.fixture
def path(made, tmp_path) -> Path:
    """The folder of a copy of the run, for one test."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return all_runs()[-1].path


@pytest.mark.parametrize(
    ("most", "goes_on", "scales"), [(20, 16, []), (7, 4, []), (2, 2, []), (20, 16, ["--scales", "1,1.5"])]
)
def test_predictions_are_the_same(kit, path, monkeypatch, most, goes_on, scales):
    """Views count as images: with eight of them, not even those of one image need fit."""
    kit("predict", "--tta", 8, *scales, "--out", path / "plain.npz")
    monkeypatch.setattr(Network, "forward", limited(most))
    said = kit("predict", "--tta", 8, *scales, "--out", path / "divided.npz").err
    assert said.count("too little memory") == 1
    assert said.count(LINE.format(32, goes_on)) == 1
    plain, divided = (Predictions.load(path / f"{name}.npz") for name in ("plain", "divided"))
    assert plain.ids.tolist() == divided.ids.tolist()
    np.testing.assert_allclose(divided.values, plain.values, rtol=1e-5, atol=1e-6)


def test_evaluating_is_the_same(kit, path, monkeypatch):
    monkeypatch.setattr(Network, "forward", limited(5))
    done = kit("evaluate", "--json")
    assert done.json["difference"] < 1e-6
    assert done.err.count("too little memory") == 1


@pytest.mark.parametrize("method", ["gradcam", "guided-gradcam"])
def test_explanations_are_the_same(kit, path, monkeypatch, method):
    line = ["gradcam", "--worst", 6, "--method", method, "--json"]
    plain = json.loads(kit(*line).out)
    pictures = {file.name: file.read_bytes() for file in (path / "gradcam").rglob("*.png")}
    shutil.rmtree(path / "gradcam")
    monkeypatch.setattr(Network, "forward", limited(2))
    divided = kit(*line)
    assert divided.err.count("too little memory") == 1
    assert divided.json.keys() == plain.keys()
    assert {file.name: file.read_bytes() for file in (path / "gradcam").rglob("*.png")} == pictures


@pytest.mark.parametrize(
    "line",
    [["predict"], ["evaluate"], ["gradcam"], ["lr-find", "histo"], ["bench", "histo", "--seconds", "0.01"]],
    ids=lambda line: line[0],
)
def test_too_little_for_one_image_is_one_line(kit, path, monkeypatch, line):
    settings = [word for setting in (*QUICK, "model=small_cnn", "pretrained=false") for word in ("--set", setting)]
    monkeypatch.setattr(Network, "forward", limited(0))
    err = kit(*line, *(settings if line[-1] != line[0] else []), code=5).err
    (error,) = [text for text in err.splitlines() if text.startswith("error: ")]
    assert error.startswith(f"error: {SAID}")
    assert "CUDA_VISIBLE_DEVICES=" in error
    assert ("--batch-size" if line[0] == "bench" else "size") in error
    assert "Traceback" not in err
