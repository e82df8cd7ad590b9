"""What a trained network says on a card is what it says on the CPU; the commands that only compute run on both."""

import numpy as np
import pytest
import torch

from helpers.device_runs import CPU, on
from helpers.explained_models import build
from helpers.training_runs import begin, go
from kit.explain.cam import raw_maps
from kit.explain.layers import find_layers
from kit.model.build import Model
from kit.model.device import Runtime
from kit.pixels.batches import Batch
from kit.run import Run
from kit.scoring.predictions import Predictions

pytestmark = pytest.mark.gpu

CLOSE = {torch.bfloat16: 1e-2, None: 1e-4}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def trained(store, shelf, monkeypatch):
    """A run of the default network, of one fold, trained once, wherever that is."""
    monkeypatch.setenv("KIT_RUNS", str(shelf))
    if not any(shelf.iterdir()):
        run = begin(store, "pretrained=false", "epochs=1", "size=64", only_fold=0)
        go(store, run)
    [run] = shelf.glob("*/run.json")
    return Run.open(run.parent)


def predicted(kit, run: Run, device: torch.device, amp: torch.dtype | None, *options: object) -> np.ndarray:
    with on(device, amp):
        kit("predict", run.id, *options)
    return Predictions.load(run.path / "test.npz").values


@pytest.mark.parametrize("tta", [1, 8])
def test_predictions_are_those_of_the_cpu(trained, kit, device, tta):
    """Float32 to 1e-4 and bf16 to 1e-2 of probability."""
    expected = predicted(kit, trained, CPU, None, "--tta", tta)
    assert expected.std() > 0
    for amp, atol in CLOSE.items():
        found = predicted(kit, trained, device, amp, "--tta", tta)
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=str(amp))


def test_scores_are_those_of_the_training(trained, kit):
    """`kit evaluate` predicts the validation images anew, on the device that it chooses."""
    assert abs(kit("evaluate", trained.id, "--json").json["difference"]) < 1e-2


@pytest.mark.parametrize("name", ["resnet18", "small_cnn"])
@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "cam"])
def test_maps_are_those_of_the_cpu(device, name, method):
    model, found = build(name, outputs=3), {}
    for module in (model.network, model.loss):
        module.eval().requires_grad_(False)
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 64, 64, generator=noise)
    for place in (CPU, device):
        there = Model(model.network.to(place), model.loss, model.normalize, Runtime(place, None), model.task)
        batch = Batch(images.to(place), torch.zeros(4), torch.zeros(4, 0, device=place), torch.arange(4))
        layers = [find_layers(there, 3, 0, 64)["body"]]
        found[place] = raw_maps(there, layers, method, batch, lambda shares: np.array([0, 1, 2, 1]))[2]
    for key, expected in found[CPU].items():
        scale = float(expected.max())
        torch.testing.assert_close(found[device][key].cpu() / scale, expected / scale, rtol=0, atol=1e-3)


def test_pictures_of_a_run_are_drawn(trained, kit):
    assert kit("gradcam", trained.id, "--worst", 2).code == 0


def test_a_rate_is_found(store, kit):
    options = ("--set", "pretrained=false", "--set", "size=32")
    document = kit("lr-find", "histo", "--model", "small_cnn", *options, "--json").json
    assert 1e-7 < document["suggestion"] < 10
    assert np.isfinite(document["losses"]).all()


def test_every_stage_is_measured(store, kit, device):
    found = kit(
        "bench", "histo", "--model", "small_cnn", "--size", 32, "--seconds", 0.1, "--set", "pixels=host", "--json"
    ).json
    assert found["device"] == device.type
    rates = found["stages"]
    assert rates["train"] > 0
    assert rates["epoch"] > 0
    assert (rates["copy"] is not None) is (device.type == "cuda")
