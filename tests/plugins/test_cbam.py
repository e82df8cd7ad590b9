"""CBAM and BAM against their formulas, and against the ResNet50 that they extend."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from kit.hooks.learning import ModelRequest
from kit.hooks.registry import Registry
from kit_cbam.network import BottleneckAttention, ChannelGate, SpatialGate


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def random_tensors(module: nn.Module) -> dict[str, np.ndarray]:
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            # A running variance is above 0.
            tensor.copy_(torch.rand_like(tensor) + 0.5 if name.endswith("var") else torch.randn_like(tensor) / 3)
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def test_the_channel_gate_is_the_formula():
    torch.manual_seed(0)
    gate = ChannelGate(64).double()
    w = random_tensors(gate)
    assert w["squeeze.weight"].shape == (4, 64)
    x = torch.randn(3, 64, 5, 7, dtype=torch.float64)

    def mlp(pooled: np.ndarray) -> np.ndarray:
        hidden = np.maximum(pooled @ w["squeeze.weight"].T + w["squeeze.bias"], 0)
        return hidden @ w["excite.weight"].T + w["excite.bias"]

    flat = x.numpy().reshape(3, 64, 35)
    factor = sigmoid(mlp(flat.mean(2)) + mlp(flat.max(2)))
    np.testing.assert_allclose(gate(x).detach().numpy(), x.numpy() * factor[:, :, None, None], rtol=1e-12)


def test_the_spatial_gate_is_the_formula():
    torch.manual_seed(0)
    gate = SpatialGate().double().eval()
    w = random_tensors(gate)
    x = torch.randn(2, 8, 6, 5, dtype=torch.float64)
    seen = np.stack([x.numpy().max(1), x.numpy().mean(1)], 1)
    padded = np.pad(seen, ((0, 0), (0, 0), (3, 3), (3, 3)))
    response = np.zeros((2, 6, 5))
    for row in range(6):
        for column in range(5):
            window = padded[:, :, row : row + 7, column : column + 7]
            response[:, row, column] = (window * w["conv.weight"][0]).sum((1, 2, 3))
    normal = (response - w["bn.running_mean"]) / np.sqrt(w["bn.running_var"] + 1e-5) * w["bn.weight"] + w["bn.bias"]
    np.testing.assert_allclose(gate(x).detach().numpy(), x.numpy() * sigmoid(normal)[:, None], rtol=1e-12)


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dilation: int) -> np.ndarray:
    """A convolution that keeps the size, place by place: BxCxhxw -> BxDxhxw."""
    reach = dilation * (weight.shape[2] // 2)
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    result = np.zeros((len(x), len(weight), height, width)) + bias[:, None, None]
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            top, left = row * dilation, column * dilation
            seen = padded[:, :, top : top + height, left : left + width]
            result += np.einsum("bchw,dc->bdhw", seen, weight[:, :, row, column])
    return result


def test_the_gate_of_bam_is_the_formula():
    """Park et al. 2018, equations 2 to 4: F (1 + sigmoid(BN(MLP(AvgPool F)) + BN(f3 f2 f1 f0 F)))."""
    torch.manual_seed(0)
    gate = BottleneckAttention(32).double().eval()
    w = random_tensors(gate)
    assert w["mlp.0.weight"].shape == (2, 32)
    x = torch.randn(2, 32, 11, 9, dtype=torch.float64)

    def normal(values: np.ndarray, name: str) -> np.ndarray:
        scaled = (values - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    pooled = x.numpy().mean((2, 3))
    hidden = np.maximum(pooled @ w["mlp.0.weight"].T + w["mlp.0.bias"], 0)
    channel = normal(hidden @ w["mlp.2.weight"].T + w["mlp.2.bias"], "channel_norm")
    spatial = x.numpy()
    for number, dilation in ((0, 1), (2, 4), (4, 4)):
        layer = (w[f"convolutions.{number}.{part}"] for part in ("weight", "bias"))
        spatial = np.maximum(convolved(spatial, *layer, dilation), 0)
    spatial = normal(convolved(spatial, w["convolutions.6.weight"], w["convolutions.6.bias"], 1), "spatial_norm")
    expected = x.numpy() * (1 + sigmoid(channel[:, :, None, None] + spatial))
    np.testing.assert_allclose(gate(x).detach().numpy(), expected, rtol=1e-11)


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    network = models.resnet50(weights=None)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Random statistics, so that a tensor that was not taken over would be seen.
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
            nn.init.uniform_(module.weight, 0.3, 0.7)
    return network.eval()


GATES = (ChannelGate, SpatialGate, BottleneckAttention)


@pytest.fixture
def gated(plain, monkeypatch):
    """Build a network by its name, from the weights of `plain`."""
    monkeypatch.setattr("kit_cbam.network.weights", lambda name: {"resnet50": plain.state_dict()}[name])

    def build(name: str) -> nn.Module:
        torch.manual_seed(0)
        return Registry().models.get(name).build(ModelRequest(name, 3, 2, "linear", 0, pretrained=True)).eval()

    return build


# The published millions of weights of ResNet50 with these gates (Woo et al. 2018, table 4; Park et al. 2018, table 4).
@pytest.mark.parametrize(("name", "millions"), [("resnet50_cbam", 28.09), ("resnet50_bam", 25.92)])
def test_as_many_weights_as_published(gated, name, millions):
    body = sum(weight.numel() for weight in gated(name).body.parameters())
    assert round((body + 2048 * 1000 + 1000) / 1e6, 2) == millions


def test_the_gates_lie_where_the_papers_have_them(gated):
    network = gated("resnet50_cbam")
    channels = [gate.squeeze.in_features for gate in network.modules() if isinstance(gate, ChannelGate)]
    assert channels == [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert sum(isinstance(gate, SpatialGate) for gate in network.modules()) == 16
    network = gated("resnet50_bam")
    places = {name: gate.mlp[0].in_features for name, gate in network.named_modules() if type(gate) in GATES}
    assert list(places.values()) == [256, 512, 1024]
    # The last layer of each stage but the last, whose map the next stage halves.
    assert [type(stage[-1]) for stage in network.body[4:]] == [BottleneckAttention] * 3 + [models.resnet.Bottleneck]


@pytest.mark.parametrize("name", ["resnet50_cbam", "resnet50_bam", "resnet50_cbam_paper", "resnet50_bam_paper"])
def test_the_gates_learn_from_the_first_step_on(gated, name):
    network = gated(name)
    network.train()(torch.randn(4, 3, 64, 64)).logits.square().sum().backward()
    for gate in network.modules():
        if isinstance(gate, GATES):
            firsts = {ChannelGate: ("excite",), SpatialGate: ("bn",)}.get(type(gate), ("channel_norm", "spatial_norm"))
            for first in (gate.get_submodule(each) for each in firsts):
                assert first.weight.grad.any()
                assert first.bias.grad.any()


@pytest.mark.parametrize(("name", "factor"), [("resnet50_cbam_paper", 0.5), ("resnet50_bam_paper", 1.5)])
def test_the_start_of_the_papers_is_half_open(gated, name, factor):
    network, seen = gated(name), []

    def keep(gate, inputs, output):
        seen.append(float((output / inputs[0])[inputs[0] != 0].median()))

    for gate in network.modules():
        if isinstance(gate, GATES):
            gate.register_forward_hook(keep)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 64, 64))
    assert len(seen) == (32 if "cbam" in name else 3)
    assert seen == pytest.approx([factor] * len(seen), abs=0.15)


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet50_cbam", "resnet50_bam"])
def test_pretrained_it_starts_close_to_resnet50_and_without_gates_it_is_resnet50(gated, plain, name):
    network = gated(name)
    images = torch.randn(2, 3, 64, 64)
    original = nn.Sequential(*list(plain.children())[:-2])(images)
    opened = network.body(images)
    assert not torch.equal(opened, original)
    assert nn.functional.cosine_similarity(opened.flatten(), original.flatten(), 0) > 0.99
    for module in list(network.modules()):
        if isinstance(module, BottleneckAttention):
            module.forward = lambda x: x
        elif hasattr(module, "gates"):
            module.gates = nn.Identity()
    assert torch.equal(network.body(images), original)
    kept = {key: value for key, value in network.body.state_dict().items() if ".gates." not in key}
    count = sum(t.numel() for t in plain.state_dict().values()) - 2048 * 1000 - 1000
    gates = sum(t.numel() for m in network.modules() if type(m) in GATES for t in m.state_dict().values())
    assert sum(t.numel() for t in kept.values()) - gates == count
