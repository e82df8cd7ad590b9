"""Heads through their hook: the built-in ones against formulas, and what becomes of a stranger's."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.training_runs import begin
from kit.config import validate
from kit.errors import KitError
from kit.explain.cam import cam_layer
from kit.explain.layers import find_layers
from kit.hooks.hookspecs import hookimpl
from kit.hooks.learning import HeadSpec
from kit.hooks.manager import load_plugins
from kit.hooks.registry import Registry
from kit.model.build import _probe, build_network, request_of
from kit.model.device import Runtime
from kit.model.network import HeadName, HeadOptions, Network, Output

REGISTRY = Registry()


def head(name: str, features: int = 6, outputs: int = 3, metadata: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(0)
    built = HeadName(REGISTRY.heads.get(name), HeadOptions(**options)).build(features, outputs, metadata)
    for parameter in built.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.5)
    return built.eval()


def test_gem_is_the_generalised_mean_in_float64_for_any_exponent_and_scale():
    x = torch.rand(2, 6, 5, 4) * torch.tensor([1e-3, 0.1, 1, 10, 1e3, 6e4]).view(1, 6, 1, 1) - 1e-4
    built = head("gem", metadata=2)
    weights, extra = built.classifier, torch.randn(2, 2)
    for p in (1.0, 3.0, 6.5, 40.0):
        nn.init.constant_(built.p, p)
        wide = x.double().clamp(min=1e-6)
        largest = wide.amax((2, 3), keepdim=True)
        pooled = ((wide / largest) ** p).mean((2, 3)) ** (1 / p) * largest[:, :, 0, 0]
        output = built(x, extra)
        torch.testing.assert_close(output.embedding[:, :6].double(), pooled, rtol=1e-4, atol=1e-9)
        assert torch.equal(output.embedding[:, 6:], extra)
        torch.testing.assert_close(output.logits, weights(output.embedding))
    nn.init.constant_(built.p, 1.0)
    torch.testing.assert_close(built(x.clamp(min=1e-6), extra).embedding[:, :6], x.clamp(min=1e-6).mean((2, 3)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gem_learns_its_exponent_in_half_precision_on_large_features(dtype):
    built = head("gem").train()
    features = (torch.rand(2, 6, 7, 7) * 6e4).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = built(features, None)
        output.logits.float().logsumexp(1).sum().backward()
    assert output.embedding.isfinite().all()
    assert features.grad.isfinite().all()
    assert built.p.grad.isfinite().all()
    assert built.p.grad.abs().sum() > 0
    # Nothing above 0 in a channel has no gradient that is not a number.
    nothing = torch.zeros(1, 6, 2, 2, requires_grad=True)
    head("gem")(nothing, None).logits.sum().backward()
    assert nothing.grad.isfinite().all()


def test_attention_weighs_places_and_begins_as_the_average():
    x = torch.randn(2, 6, 3, 4)
    plain = HeadName(REGISTRY.heads.get("attention")).build(6, 3, 0)
    torch.testing.assert_close(plain(x, None).embedding, x.mean((2, 3)))
    built = head("attention")
    w = {name: tensor.double().numpy() for name, tensor in built.state_dict().items()}
    places = x.double().flatten(2).numpy().transpose(0, 2, 1)
    gate = 1 / (1 + np.exp(-(places @ w["gate.weight"].T + w["gate.bias"])))
    scores = (np.tanh(places @ w["tanh.weight"].T + w["tanh.bias"]) * gate) @ w["score.weight"].T
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    torch.testing.assert_close(
        built(x, None).embedding.double(), torch.tensor((shares * places).sum(1)), rtol=1e-5, atol=1e-6
    )
    # A map's places are tokens.
    tokens = x.flatten(2).transpose(1, 2)
    torch.testing.assert_close(built(tokens, None).logits, built(x, None).logits)
    with pytest.raises(KitError, match="attention needs a feature map"):
        built(torch.randn(2, 6), None)


def test_mlp_is_a_hidden_layer_norm_gelu_dropout_and_a_last_layer():
    built, x, extra = head("mlp", metadata=2), torch.randn(4, 6, 3, 3), torch.randn(4, 2)
    for name, tensor in built.state_dict().items():
        if "running" in name:
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    inner = nn.functional.linear(torch.cat([x.mean((2, 3)), extra], 1), *(built.hidden[0].weight, built.hidden[0].bias))
    norm = built.hidden[1]
    normal = (inner - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
    expected = normal * torch.special.ndtr(normal)
    output = built(x, extra)
    torch.testing.assert_close(output.embedding, expected)
    torch.testing.assert_close(output.logits, built.classifier(expected))
    torch.testing.assert_close(built(x.mean((2, 3)), extra).logits, output.logits)
    assert [m.p for m in head("mlp", dropout=0.1).modules() if isinstance(m, nn.Dropout)] == [0.1]
    assert not any(isinstance(m, nn.BatchNorm1d) for m in head("mlp", batch_norm=False).modules())


@pytest.mark.parametrize("name", [spec.name for spec in REGISTRY.heads if spec.name != "vgg"])
def test_every_head_learns_from_a_seed_and_saves_what_it_learned(name):
    torch.manual_seed(0)
    first = Network(nn.Conv2d(3, 8, 3), 8, 2, name, 1)
    torch.manual_seed(0)
    again = Network(nn.Conv2d(3, 8, 3), 8, 2, HeadName.of(name), 1)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    images, metadata = torch.randn(4, 3, 9, 9), torch.randn(4, 1)
    first(images, metadata).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in first.parameters())


def own(**parts: object) -> Registry:
    """A registry with a stranger's head, `median`."""

    class Median(nn.Module):
        def __init__(self, request) -> None:
            super().__init__()
            self.last = nn.Linear(request.features + request.metadata, request.outputs)

        def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
            pooled = features.flatten(2).median(2).values
            pooled = pooled if metadata is None else torch.cat([pooled, metadata], 1)
            return Output(self.last(pooled), pooled)

        def weights(self) -> Tensor:
            return self.last.weight

    plugins = load_plugins()
    spec = HeadSpec(**{"name": "median", "build": Median, **parts})
    plugins.add(SimpleNamespace(kit_heads=hookimpl(lambda: [spec])), "own", "kit-own", "1")
    return Registry(plugins)


def tried(registry: Registry, **values: object) -> Network:
    base = {"competition": "c", "dataset": "d", "loss": "bce", "model": "small_cnn", "head": "median"}
    request = request_of(validate({**base, **values}), registry, 3, 2, 1, pretrained=False)
    network = build_network(registry.models.get("small_cnn"), request)
    assert _probe(network, 32, request, Runtime.plain()).embedding.shape == (2, 161)
    return network


def test_a_strangers_head_goes_on_any_network_and_has_maps_if_it_says_how_it_weighs():
    from helpers.explained_models import model_of

    network = tried(own())
    assert type(network.head).__name__ == "Median"
    model = model_of(network.eval(), "multilabel")
    assert cam_layer(model, find_layers(model, 3, 1, 32), None).name == "body"


class Wrong(nn.Module):
    """A head that gives back one column too many, or something else."""

    def __init__(self, request, give) -> None:
        super().__init__()
        self.give, self.last = give, nn.Linear(request.features, request.outputs + 1)

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        return self.give(self, features)


def wrong(give) -> Registry:
    return own(build=lambda request: Wrong(request, give))


@pytest.mark.parametrize(
    ("registry", "said"),
    [
        (
            lambda: wrong(lambda head, x: Output(head.last(x.mean((2, 3))), x.mean((2, 3)))),
            r"head median \(plugin own of kit-own\) returns logits \(2, 3\) for 2 images, not \(2, 2\)",
        ),
        (lambda: wrong(lambda head, x: x), r"head median \(plugin own of kit-own\) returns .*, not an Output"),
        (
            lambda: wrong(lambda head, x: head.last(x)),
            r"head median \(plugin own of kit-own\) failed on features \(2, 160, 2, 2\) at .*test_head_plugins.py:\d+",
        ),
        (lambda: wrong(lambda head, x: head.lost(x)), r"head median .* failed on features .*AttributeError"),
        (lambda: own(build=lambda request: 3), r"build of head median \(plugin own of kit-own\) returned 3, not a"),
        (lambda: own(build=lambda request: 1 / 0), r"build of head median .* failed at .*ZeroDivisionError"),
    ],
)
def test_a_head_that_goes_wrong_is_named_with_its_plugin(registry, said):
    with pytest.raises(KitError, match=said):
        tried(registry())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"head": "linaer"}, "no head is called 'linaer': did you mean linear"),
        ({"head_dropout": 0.5}, "head median takes no head_dropout: drop head_dropout, or choose another head"),
        ({"head_batch_norm": False}, "head median takes no head_batch_norm"),
        ({"two_units": True}, "head median takes no two_units"),
    ],
)
def test_what_a_head_can_not_do_is_refused(values, said):
    with pytest.raises(KitError, match=said):
        tried(own(), **values)


def test_a_head_that_heeds_an_option_gets_it():
    seen = []

    def build(request):
        seen.append(request)
        return HeadName.of("linear").build(request.features, request.outputs, request.metadata)

    tried(own(build=build, options=("dropout",)), head_dropout=0.25)
    assert (seen[0].name, seen[0].features, seen[0].dropout, seen[0].two_units) == ("median", 160, 0.25, False)


@pytest.mark.parametrize("parts", [{"options": ("colour",)}, {"average": 1}, {"options": "dropout"}])
def test_a_spec_of_a_head_is_checked(parts):
    broken = {plugin.distribution: plugin.error for plugin in own(**parts).problems()[0]}
    assert next(iter(parts)) in broken["kit-own"]


def test_networks_that_pool_by_themselves_hand_on_their_own_features():
    """A class token, for heads that only average; tokens for those that need places."""
    spec = REGISTRY.models.get("timm/test_vit")
    for name, tokens in (("mlp", False), ("attention", True)):
        config = validate({"competition": "c", "dataset": "d", "loss": "bce", "model": "timm/test_vit", "head": name})
        network = build_network(spec, request_of(config, REGISTRY, 3, 2, 0, pretrained=False)).eval()
        features = network.body(torch.zeros(1, 3, 160, 160))
        assert features.ndim == (3 if tokens else 2)
        assert network(torch.zeros(1, 3, 160, 160)).logits.shape == (1, 2)


def test_an_unknown_head_is_found_before_a_run_exists(store):
    with pytest.raises(KitError, match="no head is called 'gme': did you mean gem"):
        begin(store, "head=gme")
