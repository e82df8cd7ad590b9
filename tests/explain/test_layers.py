"""Layers that can be explained are found in every network, and a place of a map is where it lies in the image."""

import pytest
import torch
from torch import Tensor, nn

from helpers.explained_models import SWIN, VIT, build, model_of
from kit.errors import KitError
from kit.explain.cam import raw_maps
from kit.explain.layers import Layer, candidates, chosen_layers, default_layers, find_layers
from kit.hooks.registry import Registry
from kit.model.network import Network, Output
from kit.pixels.batches import Batch

PLAIN = [spec.name for spec in Registry().models if not spec.name.endswith("/*")]

# Convolutions; transformers with and without class token, with register tokens, of windows, of stages; mixers.
FAMILY = {
    "timm/test_vit": 160,
    "timm/test_convnext": 96,
    "timm/mobilenetv3_small_050": 96,
    "timm/test_efficientnet": 96,
    VIT: 224,
    "timm/deit_tiny_distilled_patch16_224": 224,
    "timm/vit_pwee_patch16_reg1_gap_256": 256,
    SWIN: 224,
    "timm/convnext_atto": 96,
    "timm/efficientnet_b0": 96,
    "timm/mobilenetv4_conv_small_050": 96,
    "timm/pvt_v2_b0": 96,
    "timm/maxvit_rmlp_pico_rw_256": 256,
    "timm/coat_tiny": 224,
    "timm/xcit_nano_12_p16_224": 224,
    "timm/mixer_s32_224": 224,
    "timm/hrnet_w18_small": 96,
    "timm/densenet121": 96,
}


def check_is_explained(name: str, size: int, channels: int = 4, metadata: int = 2) -> None:
    """Some layers are found, the default ones give maps of their size, and no two images have the same."""
    model = build(name, channels, metadata=metadata)
    found = find_layers(model, channels, metadata, size)
    default = default_layers(found)
    assert 1 <= len(default) <= 2
    assert all(layer.listed and layer.reaches and layer.height > 1 for layer in candidates(found))
    assert {layer.stride for layer in default} & {8, 16, 32}
    model.network.eval().requires_grad_(False)
    images, second = torch.randn(2, channels, size, size), torch.zeros(2, metadata)
    batch = Batch(images, torch.zeros(2), second, torch.arange(2))
    shares, classes, maps = raw_maps(model, candidates(found), "layercam", batch, lambda shares: shares.argmax(1))
    assert shares.shape == (2, 3)
    assert (classes == shares.argmax(1)).all()
    for layer in candidates(found):
        assert maps[layer.name].shape == (2, layer.height, layer.width)
        assert maps[layer.name].isfinite().all()
    for layer in default:
        assert (maps[layer.name].amax((1, 2)) > 0).all()
        assert not torch.equal(*maps[layer.name])


@pytest.mark.parametrize("name", PLAIN)
def test_layers_of_every_registered_network_are_found(name):
    check_is_explained(name, 96)


@pytest.mark.parametrize("name", FAMILY)
def test_layers_of_the_families_of_timm_are_found(name):
    check_is_explained(name, FAMILY[name])


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        (VIT, 224, "body.patch_embed"),
        (VIT, 224, "body.blocks.0.norm1"),
        (SWIN, 224, "body.network.patch_embed"),
        ("timm/mixer_s32_224", 224, "body.stem"),
        ("small_cnn", 96, "body.0"),
    ],
)
def test_a_place_of_a_map_is_where_it_lies_in_the_image(name, size, layer):
    """A patch of the image is changed; what the layer gives changes in that place of the map, row by row."""
    model = build(name)
    found = find_layers(model, 3, 0, size)
    place = found[layer]
    given: list[Tensor] = []
    model.network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: given.append(output))
    side, row, column = size // place.height, place.height // 3, place.width - 2
    images = torch.zeros(1, 3, size, size)
    changed = images.clone()
    changed[..., row * side : (row + 1) * side, column * side : (column + 1) * side] = 1
    with torch.no_grad():
        model.network.eval()(images)
        model.network(changed)
    before, after = (place.map(output) for output in given)
    assert before.shape == (1, place.channels, place.height, place.width)
    difference = (after - before).abs().sum(1)[0]
    assert divmod(int(difference.argmax()), place.width) == (row, column)


def test_where_a_class_token_alone_is_read_the_last_block_is_no_candidate():
    found = find_layers(build(VIT), 3, 0, 224)
    assert [layer.name for layer in default_layers(found)] == ["body.blocks.10"]
    assert found["body.blocks.10"] == Layer("body.blocks.10", "tokens", 192, 14, 14, 16, True, True)
    assert not found["body.blocks.11"].reaches
    with pytest.raises(KitError, match=r"does not depend on the places of layer 'body\.blocks\.11': kit gradcam --lay"):
        chosen_layers(found, ["body.blocks.11"])


def test_layers_of_a_network_of_windows_lie_channels_last():
    found = find_layers(build(SWIN), 3, 0, 224)
    first, second = default_layers(found)
    assert first.stride == 32
    assert second == Layer("body.network.layers.2", "channels last", 384, 14, 14, 16, True, True)


def test_the_layers_of_a_resnet_are_its_blocks():
    found = find_layers(build("resnet18"), 3, 0, 96)
    blocks = [f"body.{stage}.{block}" for stage in (4, 5, 6, 7) for block in (0, 1)]
    assert [layer.name for layer in candidates(found)] == [*(f"body.{number}" for number in range(4)), *blocks]
    assert default_layers(found) == [found["body.7.1"], found["body.6.1"]]
    assert [(layer.stride, layer.channels, layer.height) for layer in default_layers(found)] == [
        (32, 512, 3),
        (16, 256, 6),
    ]
    # Layers inside a block are not listed and may be named.
    assert chosen_layers(found, ["body.6.0.bn1", "body.7.1", "body.6.0.bn1"]) == [
        found["body.6.0.bn1"],
        found["body.7.1"],
    ]
    # The activation of a block is called twice: it has no one output.
    assert "body.6.0.relu" not in found


def test_an_unknown_layer_is_said_with_those_that_are_near():
    found = find_layers(build("small_cnn"), 3, 0, 96)
    with pytest.raises(KitError, match=r"no layer 'body.32' .* did you mean body\.\d+.*kit gradcam --layers list"):
        chosen_layers(found, ["body.32"])
    with pytest.raises(KitError, match=r"no layer 'head\.classifier'"):
        chosen_layers(found, ["head.classifier"])


def test_a_network_without_any_map_is_refused():
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8))
    with pytest.raises(KitError, match="no layer of this network gives a map"):
        default_layers(find_layers(model_of(Network(body, 8, 2, "linear", 0)), 3, 0, 8))


def test_what_hands_on_its_input_is_no_layer():
    body = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Identity(), nn.Dropout(), nn.ReLU(inplace=True), nn.Dropout2d())
    found = find_layers(model_of(Network(body, 5, 2, "linear", 0)), 3, 0, 8)
    assert [layer.name for layer in candidates(found)] == ["body.0", "body.3"]


def test_a_map_with_as_many_channels_as_places_a_side_lies_as_the_one_before():
    """8 channels of 8x8: channels first and channels last look the same."""

    class Turned(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.permute(0, 2, 3, 1)

    body = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Conv2d(5, 8, 1))
    found = find_layers(model_of(Network(body, 8, 2, "linear", 0)), 3, 0, 8)
    assert [layer.form for layer in candidates(found)] == ["channels first"] * 2
    turned = nn.Sequential(
        Turned(), nn.Linear(3, 5), nn.Linear(5, 8), nn.Flatten(1, 2), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    )
    found = find_layers(model_of(Network(turned, 64, 2, "linear", 0)), 3, 0, 8)
    assert [found[name].form for name in ("body.0", "body.1", "body.2")] == ["channels last"] * 3


def test_a_network_of_any_make_is_left_as_it_was():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map, self.classifier = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 2)

        def forward(self, images: Tensor, metadata: Tensor | None = None) -> Output:
            embedding = self.map(images).mean((2, 3))
            return Output(self.classifier(embedding), embedding)

    network = Own().train()
    found = find_layers(model_of(network), 3, 0, 32)
    assert candidates(found) == [Layer("map", "channels first", 6, 8, 8, 4, True, True)]
    assert network.training
    assert all(not module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
