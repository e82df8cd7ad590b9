"""Heads and their options: VGG's own, dropout, batch norm, two softmax units for one logit."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.explained_models import model_of
from helpers.training_runs import begin
from kit.config import validate
from kit.errors import KitError
from kit.explain.cam import at_size, cam_layer, raw_maps
from kit.explain.layers import find_layers
from kit.hooks.learning import ModelRequest, ModelSpec
from kit.hooks.registry import Registry
from kit.model.build import build_network, request_of
from kit.model.network import HeadName, HeadOptions, Network, TwoUnits
from kit.pixels.batches import Batch

REGISTRY = Registry()
HEADS = [spec.name for spec in REGISTRY.heads]


def network(head: str, outputs: int = 3, metadata: int = 0, **options: object) -> Network:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    return Network(body, 8, outputs, HeadName(REGISTRY.heads.get(head), HeadOptions(**options)), metadata)


def test_two_units_are_a_softmax_of_two():
    torch.manual_seed(0)
    head = TwoUnits(5).double()
    features, target = torch.randn(7, 5, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    units = nn.functional.linear(features, head.weight, head.bias)
    torch.testing.assert_close(head(features).sigmoid()[:, 0], units.softmax(1)[:, 1])
    # Cross-entropy over both units and its gradient are those of the one logit.
    one = nn.functional.binary_cross_entropy_with_logits(head(features)[:, 0], target.double())
    two = nn.functional.cross_entropy(units, target)
    torch.testing.assert_close(one, two)
    for ours, theirs in zip(
        torch.autograd.grad(one, head.parameters()), torch.autograd.grad(two, head.parameters()), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("head", HEADS)
def test_two_units_need_a_binary_task(head):
    built = network(head, outputs=1, two_units=True)
    assert built(torch.randn(2, 3, 16, 16)).logits.shape == (2, 1)
    assert sum(layer.out_features == 2 for layer in built.modules() if isinstance(layer, nn.Linear)) == 1
    with pytest.raises(KitError, match="two_units is for binary tasks, this one has 3 outputs"):
        network(head, two_units=True)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def by_hand(built: Network, images: Tensor, metadata: Tensor) -> np.ndarray:
    """The logits of a head with batch norm, in float64."""
    w = {name: tensor.double().numpy() for name, tensor in built.head.state_dict().items()}
    features, extra = built.body(images).double().detach(), metadata.double().numpy()

    def layer(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    def normal(x: np.ndarray, name: str) -> np.ndarray:
        scaled = (x - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    if "first.weight" not in w:
        return layer(normal(np.concatenate([features.mean((2, 3)).numpy(), extra], 1), "norm"), "classifier")
    pooled = nn.AdaptiveAvgPool2d(7)(features).flatten(1).numpy()
    hidden = relu(normal(layer(pooled, "first"), "after_first.0"))
    hidden = relu(normal(layer(hidden, "second"), "after_second.0"))
    return layer(np.concatenate([hidden, extra], 1), "classifier.1")


@pytest.mark.parametrize("head", ["linear", "vgg"])
def test_batch_norm_and_dropout_of_a_head_are_the_formula(head):
    built = network(head, metadata=2, batch_norm=True, dropout=0.3)
    for name, tensor in built.state_dict().items():
        if "norm" in name or "after" in name:
            tensor.copy_(torch.rand_like(tensor, dtype=torch.float32) + 0.5)
    assert [m.p for m in built.modules() if isinstance(m, nn.Dropout)] == [0.3] * (2 if head == "vgg" else 1)
    images, metadata = torch.randn(4, 3, 12, 12), torch.randn(4, 2)
    output = built.eval()(images, metadata)
    np.testing.assert_allclose(output.logits.detach().numpy(), by_hand(built, images, metadata), atol=1e-5)
    # What is dropped is dropped in front of the last layer: the embedding of a whole batch is the same twice.
    if head == "linear":
        built.train()
        torch.testing.assert_close(built(images, metadata).embedding, built(images, metadata).embedding)
        assert not torch.equal(built(images, metadata).logits, built(images, metadata).logits)


def test_options_of_the_head_of_fastai():
    def parts(**options: object) -> tuple[list[float], int]:
        modules = list(network("concat_pool", **options).head.modules())
        return [m.p for m in modules if isinstance(m, nn.Dropout)], sum(isinstance(m, nn.BatchNorm1d) for m in modules)

    assert parts() == ([0.25, 0.5], 2)
    assert parts(dropout=0.2) == ([0.1, 0.2], 2)
    assert parts(batch_norm=False) == ([0.25, 0.5], 0)


@pytest.mark.parametrize("head", ["linear", "concat_pool"])
def test_without_options_a_head_is_what_it_was(head):
    """Runs of earlier versions load."""
    names = {
        "linear": {"classifier.weight", "classifier.bias"},
        "concat_pool": {"hidden.2.weight", "classifier.1.weight"}
        | {f"hidden.{n}.{k}" for n in (0, 4) for k in ("weight", "bias", "running_mean", "running_var")}
        | {f"hidden.{n}.num_batches_tracked" for n in (0, 4)},
    }
    assert network(head).head.state_dict().keys() == names[head]


def test_the_hidden_layers_of_vgg16_are_pretrained(monkeypatch):
    from torchvision import models

    torch.manual_seed(1)
    original = models.vgg16(weights=None).eval()
    monkeypatch.setattr("kit_torchvision.networks.weights", lambda name: {"vgg16": original.state_dict()}[name])
    built = Registry().models.get("vgg16").build(ModelRequest("vgg16", 3, 2, "vgg", 1, pretrained=True)).eval()
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        pooled = original.avgpool(original.features(images)).flatten(1)
        expected = original.classifier[:5](pooled)
        torch.testing.assert_close(
            built(images, torch.ones(1, 1)).embedding, torch.cat([expected, torch.ones(1, 1)], 1)
        )


def test_options_reach_a_plugin_that_knows_nothing_of_them_and_are_refused_by_one_with_its_own_head():
    class Own(nn.Module):
        """A network without kit's heads."""

    config = validate({"competition": "c", "dataset": "d", "loss": "bce", "head_dropout": 0.5, "model": "x"})
    request = request_of(config, REGISTRY, 3, 2, 0, pretrained=False)

    def handed_on(request: ModelRequest) -> nn.Module:
        return Network(nn.Conv2d(3, 4, 1), 4, request.outputs, request.head, request.metadata)

    assert build_network(ModelSpec("x", handed_on), request).head.dropout.p == 0.5
    with pytest.raises(KitError, match="x has a head of its own: drop head_dropout"):
        build_network(ModelSpec("x", lambda request: Own()), request)
    plain = request_of(config.model_copy(update={"head_dropout": None}), REGISTRY, 3, 2, 0, pretrained=False)
    assert isinstance(build_network(ModelSpec("x", lambda request: Own()), plain), Own)


@pytest.mark.parametrize(
    "options", [{"two_units": True}, {"batch_norm": True}, {"two_units": True, "batch_norm": True}]
)
@pytest.mark.parametrize("number", [0, 1])
def test_class_activation_maps_know_the_options(options, number):
    """The last map by the classifier's weights is, up to a factor, Grad-CAM of it: the mean gradient is that weight."""
    model = model_of(network("linear", outputs=1, **options), "binary")
    for name, tensor in model.network.state_dict().items():
        if ".norm." in name:
            tensor.copy_(torch.rand_like(tensor, dtype=torch.float32) + 0.5)
    model.network.eval().requires_grad_(False)
    batch = Batch(torch.randn(2, 3, 16, 16), torch.zeros(2), torch.zeros(2, 0), torch.arange(2))
    found = find_layers(model, 3, 0, 16)
    maps = {
        method: at_size(
            raw_maps(model, [layer], method, batch, lambda shares: np.array([number] * 2))[2][layer.name], 16
        )
        for method, layer in (("cam", cam_layer(model, found, None)), ("gradcam", found["body"]))
    }
    assert maps["cam"].max() > 0
    torch.testing.assert_close(maps["cam"], maps["gradcam"], rtol=1e-4, atol=1e-5)


TWO = ("--folds", 2, "--epochs", 1, "--size", 32, "--model", "small_cnn", "--no-pretrained", "--batch-size", 16)


def test_a_run_with_two_units_goes_all_the_way(kit, store):
    runs = [
        kit("train", "histo", *TWO, "--seed", seed, "--set", f"two_units={units}", "--json").json["run"]
        for seed, units in ((0, "true"), (1, "false"))
    ]
    assert kit("evaluate", runs[0], "--json").json["difference"] < 1e-6
    for run in runs:
        kit("predict", run)
    assert kit("submit", runs[0], "--dry-run").code == 0
    for method in ("gradcam", "cam"):
        kit("gradcam", runs[0], "--method", method, "--worst", 2)
    kit("blend", *runs)


def test_a_start_with_another_head_is_refused(store):
    from helpers.training_runs import go

    run = begin(store, "two_units=true", "epochs=1")
    go(store, run)
    with pytest.raises(KitError, match=r"has two_units = True: .* must be the same"):
        begin(store, f"init={run.id}", "epochs=1")
