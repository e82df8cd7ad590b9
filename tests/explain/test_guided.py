"""Guided backpropagation and guided Grad-CAM: beside captum's, beside a case worked by hand; where there is none."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.explained_models import build, model_of
from kit.errors import KitError
from kit.explain.cam import at_size
from kit.explain.explain import METHODS, PIXELS, _layers, _maps
from kit.explain.guided import BACKPROP, GRADCAM, guided_gradient, strength
from kit.explain.layers import find_layers
from kit.model.build import Model
from kit.model.network import Output
from kit.pixels.batches import Batch

SIZE, IMAGES, CLASSES = 64, 3, [0, 2, 1]


def batch_of(size: int = SIZE) -> Batch:
    images = torch.randn(IMAGES, 3, size, size, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.zeros(IMAGES), torch.zeros(IMAGES, 0), torch.arange(IMAGES))


def frozen(model: Model) -> Model:
    for module in (model.network, model.loss):
        module.eval().requires_grad_(False)
    return model


class _Logits(nn.Module):
    """A network as captum takes it: its ReLUs as they are, but none in place, which captum can't hook."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, torch.zeros(len(images), 0)).logits


def by_captum(method: str, model: Model, layer: str, images: Tensor) -> Tensor:
    from captum.attr import GuidedBackprop, GuidedGradCam

    network = _Logits(model.network).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it sets hooks
        if method == BACKPROP:
            return GuidedBackprop(network).attribute(images.clone(), CLASSES).detach()
        model.network.requires_grad_(True)
        guided = GuidedGradCam(network, network.network.get_submodule(layer))
        return guided.attribute(images.clone(), CLASSES, interpolate_mode="bilinear").detach()


@pytest.mark.parametrize("method", [BACKPROP, GRADCAM])
@pytest.mark.parametrize(("network", "layer"), [("small_cnn", "body.17"), ("resnet18", "body.6")])
def test_both_are_captums(network: str, layer: str, method: str) -> None:
    model, batch = frozen(build(network)), batch_of()
    found = find_layers(model, 3, 0, SIZE)
    layers = _layers(model, found, method, None if method == BACKPROP else [layer])
    maps = _maps(model, layers, method, batch, lambda _: np.array(CLASSES), SIZE)[2]
    wanted = strength(by_captum(method, frozen(build(network)), layer, batch.images))
    assert wanted.max() > 0
    (ours,) = maps.values()
    np.testing.assert_allclose(ours, at_size(wanted, SIZE), atol=1e-5)


class _Tiny(nn.Module):
    def __init__(self, functional: bool) -> None:
        super().__init__()
        self.functional = functional
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor, metadata: Tensor | None) -> Output:
        """Two units, 2x - 1 and 1 - x, and the logit 3 r1 - r2 of their ReLUs, for every pixel."""
        flat = images.flatten(1)
        first, second = 2 * flat - 1, 1 - flat
        first, second = (torch.relu(first), second.relu()) if self.functional else (self.relu(first), self.relu(second))
        return Output((3 * first - second).sum(1, keepdim=True), flat)


@pytest.mark.parametrize("functional", [False, True])
def test_the_rule_worked_by_hand(functional: bool) -> None:
    """At x = 2 only the first unit is on: 3 * 2. At 0 the second is, whose gradient -1 is below 0 and stops. At .75
    both are: 6 of the first, and nothing of the second, where the plain gradient is 6 + 1.
    """
    images = torch.tensor([[[[2.0, 0.0], [0.75, 0.75]]]])
    batch = Batch(images, torch.zeros(1), torch.zeros(1, 0), torch.arange(1))
    model = model_of(_Tiny(functional), "binary")
    _, classes, found = guided_gradient(model, batch, lambda shares: np.array([1]))
    assert found.tolist() == [[[[6.0, 0.0], [6.0, 6.0]]]]
    assert classes.tolist() == [1]
    assert images.grad is None


RELUS = ("small_cnn", "coord_cnn", "resnet18", "efficientnet_lite0")


@pytest.mark.parametrize("name", RELUS)
def test_networks_of_relus_have_a_guided_map(name: str) -> None:
    model, batch = frozen(build(name)), batch_of()
    shares, _, found = guided_gradient(model, batch, lambda shares: shares.argmax(1))
    expected = model.probabilities(model.network(batch.images, batch.metadata)).numpy()
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    assert found.shape == batch.images.shape
    assert found.isfinite().all()
    assert found.abs().max() > 0


@pytest.mark.parametrize(
    ("activation", "why"),
    [(nn.SiLU, "has silu"), (nn.GELU, "has gelu"), (nn.LeakyReLU, "has leaky_relu"), (None, "has none")],
)
def test_other_networks_say_why_not(activation: type[nn.Module] | None, why: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), activation() if activation else nn.Identity())

        def forward(self, images: Tensor, metadata: Tensor | None) -> Output:
            flat = self.layers(images).mean((2, 3))
            return Output(flat[:, :3], flat)

    with pytest.raises(KitError, match=f"needs a network of ReLUs alone, and this one {why}"):
        guided_gradient(frozen(model_of(Net())), batch_of(8), lambda shares: shares.argmax(1))


def test_guided_backprop_has_no_layers() -> None:
    model = frozen(build("small_cnn"))
    with pytest.raises(KitError, match="drop --layers, or give --method guided-gradcam"):
        _layers(model, find_layers(model, 3, 0, SIZE), BACKPROP, ["body.17"])
    assert {BACKPROP, GRADCAM} < set(METHODS)
    assert list(_maps(model, [], BACKPROP, batch_of(), lambda _: np.array(CLASSES), SIZE)[2]) == [PIXELS]
