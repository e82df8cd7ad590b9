"""CBAM against its formula, and against the ResNet50 that it extends."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from kit.hooks.registry import Registry
from kit.hooks.specs import ModelRequest
from kit_cbam.network import ChannelGate, SpatialGate


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


@pytest.fixture
def cbam(plain, monkeypatch):
    monkeypatch.setattr("kit_cbam.network.weights", lambda name: {"resnet50": plain.state_dict()}[name])
    request = ModelRequest("resnet50_cbam", 3, 2, "linear", 0, pretrained=True)
    return Registry().models.get("resnet50_cbam").build(request).eval()


def test_every_block_has_its_gates(cbam):
    channels = [gate.squeeze.in_features for gate in cbam.modules() if isinstance(gate, ChannelGate)]
    assert channels == [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert sum(isinstance(gate, SpatialGate) for gate in cbam.modules()) == 16
    # The published figure of ResNet50 + CBAM is 28.09 million (Woo et al. 2018, table 4).
    body = sum(weight.numel() for weight in cbam.body.parameters())
    assert round((body + 2048 * 1000 + 1000) / 1e6, 2) == 28.09


def test_the_gates_learn_from_the_first_step_on(cbam):
    cbam.train()(torch.randn(4, 3, 64, 64)).logits.square().sum().backward()
    for gate in cbam.modules():
        if isinstance(gate, (ChannelGate, SpatialGate)):
            first = gate.excite if isinstance(gate, ChannelGate) else gate.bn
            assert first.weight.grad.any()
            assert first.bias.grad.any()


@torch.no_grad()
def test_pretrained_it_starts_close_to_resnet50_and_without_gates_it_is_resnet50(cbam, plain):
    images = torch.randn(2, 3, 64, 64)
    original = nn.Sequential(*list(plain.children())[:-2])(images)
    gated = cbam.body(images)
    assert not torch.equal(gated, original)
    assert nn.functional.cosine_similarity(gated.flatten(), original.flatten(), 0) > 0.99
    for module in cbam.modules():
        if hasattr(module, "gates"):
            module.gates = nn.Identity()
    assert torch.equal(cbam.body(images), original)
    assert sum(t.numel() for t in cbam.body.state_dict().values()) == sum(
        t.numel() for name, t in plain.state_dict().items() if not name.startswith("fc.")
    )
