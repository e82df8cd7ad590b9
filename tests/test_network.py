"""Networks: stems for any number of channels, bodies equal to their originals, weights that mean something."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import nn

from kit.errors import KitError
from kit.model.network import Network, widen_stem
from kit.plugin.registry import Registry
from kit.plugin.specs import ModelRequest


def request(name: str, channels: int = 3, outputs: int = 2, extras: int = 0, pretrained: bool = False) -> ModelRequest:
    return ModelRequest(name, channels, outputs, "linear", extras, pretrained)


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_a_widened_stem_answers_grey_input_as_before(channels):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=True), nn.ReLU()))
    grey = torch.rand(2, 1, 16, 16)
    before = body(grey.expand(-1, 3, -1, -1))
    widen_stem(body, channels)
    torch.testing.assert_close(body(grey.expand(-1, channels, -1, -1)), before)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v3_small"])
def test_a_torchvision_body_is_the_original_up_to_its_pooling(name):
    from kit_torchvision.networks import _body
    from torchvision import models

    torch.manual_seed(0)
    original = models.get_model(name, weights=None).eval()
    body, features = _body(original)
    images = torch.randn(2, 3, 64, 64)
    pooled = body(images).mean((2, 3))
    assert pooled.shape == (2, features)
    classifier = original.fc if hasattr(original, "fc") else original.classifier
    torch.testing.assert_close(classifier(pooled), original(images))


@pytest.mark.parametrize(
    ("name", "channels", "outputs", "extras"),
    [("small_cnn", 3, 1, 0), ("small_cnn", 6, 5, 4), ("resnet18", 4, 28, 0), ("efficientnet_lite0", 6, 7, 3),
     ("timm/vit_tiny_patch16_224", 3, 2, 0), ("timm/resnet10t", 4, 2, 0)],
)  # fmt: skip
def test_registered_networks_give_logits_and_an_embedding(name, channels, outputs, extras):
    network = Registry().models.get(name).build(request(name, channels, outputs, extras)).eval()
    size = 224 if "vit" in name else 64
    output = network(torch.randn(2, channels, size, size), torch.randn(2, extras))
    assert output.logits.shape == (2, outputs)
    assert output.embedding.ndim == 2
    output.logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_second_input_reaches_the_logits():
    network = Network(nn.Conv2d(3, 4, 1), 4, 2, "linear", extras=3)
    images = torch.randn(2, 3, 8, 8)
    assert not torch.equal(network(images, torch.zeros(2, 3)).logits, network(images, torch.ones(2, 3)).logits)


def test_the_offline_weights_know_a_daisy_and_a_palace():
    import timm
    from kit_timm.networks import _by_position, _lite0_file

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    network.load_state_dict(_by_position(torch.load(_lite0_file(), weights_only=True), network))
    built = Registry().models.get("efficientnet_lite0").build(request("efficientnet_lite0", pretrained=True)).eval()
    # ImageNet: 985 daisy; 663 monastery, 698 palace, 832 stupa.
    for picture, right in (("flower.jpg", {985}), ("china.jpg", {663, 698, 832})):
        image = load_sample_image(picture)[:, 100:-100]
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
        pixels = nn.functional.interpolate(pixels, (224, 224), mode="area") / 127.5 - 1
        with torch.no_grad():
            assert right & set(network(pixels)[0].topk(5).indices.tolist())
            torch.testing.assert_close(built(pixels).embedding, network.global_pool(network.forward_features(pixels)))


def test_weights_that_cannot_be_had_are_one_line_with_the_file_and_the_way_on(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    import urllib.error

    def no_network(*arguments, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(
        KitError, match=r"resnet18-f37072fd\.pth into .*checkpoints, or go on with --no-pretrained"
    ) as e:
        Registry().models.get("resnet18").build(request("resnet18", pretrained=True))
    assert e.value.code == 4
    with pytest.raises(KitError, match="--no-pretrained"):
        Registry().models.get("small_cnn").build(request("small_cnn", pretrained=True))
    with pytest.raises(KitError, match="no network 'resnetx'"):
        Registry().models.get("timm/resnetx").build(request("timm/resnetx"))


def test_a_damaged_weight_file_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resnet18-f37072fd.pth").write_bytes(b"not these")
    with pytest.raises(KitError, match="damaged"):
        Registry().models.get("resnet18").build(request("resnet18", pretrained=True))
