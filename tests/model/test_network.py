"""Networks: stems for any number of channels, bodies equal to their originals, heads, weights that mean something."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import nn

from kit.config import validate
from kit.errors import KitError
from kit.hooks.learning import ModelRequest
from kit.hooks.registry import Registry
from kit.model.build import normalization_of
from kit.model.network import HeadName, Network, widen_stem

PLAIN = [spec.name for spec in Registry().models if not spec.name.endswith("/*")]

REGISTRY = Registry()
HEADS = [spec.name for spec in REGISTRY.heads]
SMALL = ["linear", "concat_pool"]  # with and without own pooling; the other heads are tried in test_heads.py

SWIN = "timm/swin_tiny_patch4_window7_224"


def request(
    name: str, channels: int = 3, outputs: int = 2, metadata: int = 0, pretrained: bool = False, head: str = "linear"
) -> ModelRequest:
    return ModelRequest(name, channels, outputs, head, metadata, pretrained)


def build(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return Registry().models.get(name).build(request(name, **options))


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_a_widened_stem_answers_grey_input_as_before(channels):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=True), nn.ReLU()))
    grey = torch.rand(2, 1, 16, 16)
    before = body(grey.expand(-1, 3, -1, -1))
    widen_stem(body, channels)
    torch.testing.assert_close(body(grey.expand(-1, channels, -1, -1)), before)


@pytest.mark.parametrize(
    ("name", "pretrained"),
    [
        ("efficientnet_lite0", True),
        ("resnet18", False),
        ("densenet121", False),
        ("vgg16", False),
        ("efficientnet_b0", False),
        ("mobilenet_v3_small", False),
        ("timm/test_vit", False),
        ("timm/test_vit2", False),
        ("timm/fastvit_t8", False),
    ],
)
def test_the_stems_of_real_networks_answer_grey_input_as_before(name, pretrained):
    """Convolutions, two of them side by side (fastvit), and patch embeddings of transformers."""
    size = 160 if "vit" in name else 64
    grey = torch.rand(2, 1, size, size) * 2 - 1
    plain = build(name, pretrained=pretrained).body
    for channels in (1, 2, 4, 6):
        body = build(name, channels=channels, pretrained=pretrained).body
        weights = plain.state_dict()
        widened = [key for key, tensor in body.state_dict().items() if tensor.shape != weights[key].shape]
        stems = [key.removesuffix(".weight") for key in widened]
        assert len(stems) == (2 if "fastvit" in name else 1)
        torch.testing.assert_close(answers(body, stems, grey, channels), answers(plain, stems, grey, 3))


@torch.no_grad()
def answers(body: nn.Module, layers: list[str], grey: torch.Tensor, channels: int) -> list[torch.Tensor]:
    """What these layers give for a grey image."""
    given: list[torch.Tensor] = []
    for layer in layers:
        body.get_submodule(layer).register_forward_hook(lambda module, inputs, output: given.append(output.clone()))
    body.eval()(grey.expand(-1, channels, -1, -1))
    return given


@pytest.mark.parametrize("name", ["timm/tresnet_m", "timm/csatv2"])
def test_a_stem_that_cannot_be_widened_is_said(name):
    with torch.device("meta"), pytest.raises(KitError, match="stem can't be widened to 6 channels"):
        build(name, channels=6)
    with pytest.raises(KitError, match="no convolution"):
        widen_stem(nn.Linear(3, 4), 6)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v3_small"])
def test_a_torchvision_body_is_the_original_up_to_its_pooling(name):
    from torchvision import models

    from kit_torchvision.networks import body_of

    torch.manual_seed(0)
    original = models.get_model(name, weights=None).eval()
    body, features = body_of(original)
    images = torch.randn(2, 3, 64, 64)
    pooled = body(images).mean((2, 3))
    assert pooled.shape == (2, features)
    classifier = original.fc if hasattr(original, "fc") else original.classifier
    torch.testing.assert_close(classifier(pooled), original(images))


@pytest.mark.parametrize("head", SMALL)
@pytest.mark.parametrize(
    ("name", "channels", "outputs", "metadata"),
    [
        ("small_cnn", 3, 1, 0),
        ("coord_cnn", 6, 5, 4),
        ("small_cnn", 6, 5, 4),
        ("resnet18", 4, 28, 0),
        ("efficientnet_lite0", 6, 7, 3),
        ("vgg16", 3, 2, 1),
        ("timm/resnet10t", 4, 2, 0),
        ("timm/test_convnext", 3, 2, 2),
        ("timm/mobilenetv3_small_050", 6, 2, 0),
    ],
)
def test_registered_networks_give_logits_and_an_embedding(name, channels, outputs, metadata, head):
    check_forward_and_backward(name, channels, outputs, metadata, head)


def check_forward_and_backward(name, channels, outputs, metadata, head, size=64):
    network = build(name, channels=channels, outputs=outputs, metadata=metadata, head=head)
    output = network(torch.randn(3, channels, size, size), torch.randn(3, metadata))
    assert output.logits.shape == (3, outputs)
    assert output.embedding.ndim == 2
    torch.testing.assert_close(network.eval().head.classifier(output.embedding).shape, output.logits.shape)
    output.logits.square().sum().backward()
    # A parameter without a gradient would stop distributed training.
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("head", SMALL)
@pytest.mark.parametrize("name", PLAIN)
def test_every_registered_network_takes_three_four_and_six_channels(name, head):
    for channels in (3, 4, 6):
        check_forward_and_backward(name, channels, 5, 2, head)


@pytest.mark.parametrize("head", HEADS)
def test_the_second_input_reaches_the_logits_and_the_embedding(head):
    network = Network(nn.Conv2d(3, 4, 1), 4, 2, head, metadata=3).eval()
    images = torch.randn(2, 3, 8, 8)
    without, given = (network(images, metadata) for metadata in (torch.zeros(2, 3), torch.ones(2, 3)))
    assert not torch.equal(without.logits, given.logits)
    assert not torch.equal(without.embedding, given.embedding)


def fastai_head(features: int, outputs: int) -> nn.Sequential:
    """`fastai.vision.learner.create_head(features, outputs)` after its pooling and flattening, written out."""
    return nn.Sequential(
        nn.BatchNorm1d(2 * features),
        nn.Dropout(0.25),
        nn.Linear(2 * features, 512, bias=False),
        nn.ReLU(),
        nn.BatchNorm1d(512),
        nn.Dropout(0.5),
        nn.Linear(512, outputs, bias=False),
    )


@pytest.mark.parametrize("training", [True, False])
def test_concat_pool_is_the_head_of_fastai(training):
    torch.manual_seed(0)
    head, oracle = HeadName.of("concat_pool").build(24, 5, 0).train(training), fastai_head(24, 5).train(training)
    for tensor in head.state_dict().values():
        tensor.copy_(torch.rand_like(tensor, dtype=torch.float64) + 0.5)
    oracle.load_state_dict(dict(zip(oracle.state_dict(), head.state_dict().values(), strict=True)))
    features = torch.randn(6, 24, 3, 4)
    pooled = torch.cat([nn.AdaptiveMaxPool2d(1)(features), nn.AdaptiveAvgPool2d(1)(features)], 1).flatten(1)
    torch.manual_seed(1)
    given = head(features, None)
    torch.manual_seed(1)
    torch.testing.assert_close(given.logits, oracle(pooled))
    if not training:
        torch.testing.assert_close(given.embedding, oracle[:5](pooled))
        torch.testing.assert_close(given.logits, oracle[6](given.embedding))


@pytest.mark.parametrize(
    "name",
    ["timm/resnet10t", "timm/test_convnext", "timm/mobilenetv3_small_050", "timm/test_vit", SWIN],
)
def test_a_linear_head_sees_what_the_classifier_of_timm_would(name):
    import timm

    network = build(name).eval()
    original = timm.create_model(name.split("/")[1], num_classes=0).eval()
    own = network.body.network if hasattr(network.body, "network") else network.body
    original.load_state_dict(own.state_dict())
    size = original.pretrained_cfg["input_size"][-1]
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(network(images).embedding, original(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("timm/resnet10t", (512, 2, 2)), ("timm/test_convnext", (64, 2, 2)), (SWIN, (768, 7, 7))],
)
def test_networks_of_timm_give_a_feature_map_channels_first(name, shape):
    size = 224 if "swin" in name else 64
    with torch.device("meta"):
        body = build(name, head="concat_pool").body
        assert body(torch.zeros(2, 3, size, size)).shape == (2, *shape)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/test_vit", "needs a feature map"),
        ("timm/inception_next_tiny", "its own pooling"),
        ("timm/efficientvim_m1", "its own pooling"),
    ],
)
def test_a_network_without_a_feature_map_refuses_concat_pool(name, message):
    with torch.device("meta"), pytest.raises(KitError, match=f"{message}.*--set head=linear"):
        build(name, head="concat_pool")(torch.zeros(2, 3, *([160 if "test" in name else 224] * 2)))


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
    with pytest.raises(KitError, match=r"resnet18-f37072fd\.pth into .*checkpoints, or use --no-pretrained") as e:
        Registry().models.get("resnet18").build(request("resnet18", pretrained=True))
    assert e.value.code == 4
    with pytest.raises(KitError, match="--no-pretrained"):
        Registry().models.get("small_cnn").build(request("small_cnn", pretrained=True))
    with pytest.raises(KitError, match="coord_cnn has no pretrained weights"):
        Registry().models.get("coord_cnn").build(request("coord_cnn", pretrained=True))
    with pytest.raises(KitError, match="no network 'resnetx'"):
        Registry().models.get("timm/resnetx").build(request("timm/resnetx"))
    with pytest.raises(KitError, match=r"no weights 'resnet50\.a9_in1k': did you mean resnet50\."):
        Registry().models.get("timm/resnet50.a9_in1k").build(request("timm/resnet50.a9_in1k"))


def test_a_damaged_weight_file_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resnet18-f37072fd.pth").write_bytes(b"not these")
    with pytest.raises(KitError, match="damaged"):
        Registry().models.get("resnet18").build(request("resnet18", pretrained=True))


def test_weights_in_the_cache_of_the_hub_are_found_by_their_tag(monkeypatch, tmp_path):
    import timm
    from huggingface_hub import constants
    from safetensors.torch import save_file

    name = "timm/resnet10t.c3_in1k"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    spec = Registry().models.get(name)
    assert spec.offline(name) is False
    folder = tmp_path / "models--timm--resnet10t.c3_in1k"
    (folder / "snapshots" / "1").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("1")
    torch.manual_seed(1)
    original = timm.create_model("resnet10t")
    save_file(original.state_dict(), folder / "snapshots" / "1" / "model.safetensors")
    assert spec.offline(name) is True
    network = build(name, pretrained=True).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        pooled = network(images).embedding
        torch.testing.assert_close(original.eval().fc(pooled), original(images))


def test_weights_of_timm_can_be_put_there_by_hand(monkeypatch, tmp_path):
    import timm
    from huggingface_hub import constants, hf_hub_url
    from safetensors.torch import save_file

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("kit_timm.networks.urlopen", lambda *arguments, **options: (_ for _ in ()).throw(OSError()))
    name = "timm/resnet10t.c3_in1k"
    with pytest.raises(KitError, match="--no-pretrained") as caught:
        build(name, pretrained=True)
    path = tmp_path / "hub" / "checkpoints" / "resnet10t.c3_in1k.safetensors"
    address = hf_hub_url("timm/resnet10t.c3_in1k", "model.safetensors")
    assert f"put {address} as {path}" in str(caught.value)
    path.parent.mkdir(parents=True)
    original = timm.create_model("resnet10t")
    save_file(original.state_dict(), path)
    assert Registry().models.get(name).offline(name) is True
    ours, theirs = build(name, pretrained=True).body.state_dict(), original.state_dict()
    shared = [key for key in theirs if any(own.endswith(key) for own in ours)]
    assert len(shared) > 50
    assert all(torch.equal(theirs[key], next(v for own, v in ours.items() if own.endswith(key))) for key in shared)


def test_networks_of_timm_bring_their_own_statistics():
    clip = "timm/vit_base_patch16_clip_224.openai"
    for model, mean in ((clip, 0.48145466), ("timm/tf_efficientnet_lite0", 0.5), ("timm/resnet10t", 0.485)):
        config = validate({"competition": "x", "dataset": "x", "loss": "bce", "model": model})
        data: tuple[Any, Any, Any] = (SimpleNamespace(channels=4), None, None)
        assert normalization_of(config, Registry(), *data)["mean"][::3] == [mean, mean]


def test_coord_cnn_knows_the_distance_from_the_centre_and_sees_little():
    from kit_small_networks.network import FromCentre

    (channel,) = FromCentre()(torch.zeros(1, 3, 5, 9))[0, 3:]
    assert channel[2].tolist() == [2.0, 1.5, 1.0, 0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    assert channel[:, 4].tolist() == [2.0, 1.0, 0.0, 1.0, 2.0]
    assert channel[0, 4] == channel[0, 0] == 2
    network = Registry().models.get("coord_cnn").build(request("coord_cnn")).eval()
    images = torch.rand(1, 3, 96, 96, requires_grad=True)
    features = network.body(images)
    assert features.shape[2:] == (6, 6)
    features[0, :, 2, 2].sum().backward()
    seen = torch.nonzero(images.grad.abs().sum((0, 1)))
    assert (seen.max(0).values - seen.min(0).values + 1 <= 26).all()
