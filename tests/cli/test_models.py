"""`kit models`: published costs, pretrained weights on disk or not, patterns."""

import pytest
import torch
from torchvision import models

from kit.data.store import Store
from kit.hooks.registry import Registry
from kit.model.cost import cost

KEYS = {"name", "parameters", "gflops_224", "offline", "description"}
FAMILY = "timm/*"


def test_all_registered_networks_are_listed(kit, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    document = kit("models", "--json").json
    listed = {row["name"]: row for row in document["models"]}
    assert list(listed) == sorted(spec.name for spec in Registry().models if spec.name != FAMILY)
    assert all(set(row) == KEYS and row["gflops_224"] > 0 for row in listed.values())
    assert document["families"][FAMILY] > 1000
    assert listed["small_cnn"]["offline"] is None
    assert listed["efficientnet_lite0"]["offline"] is True
    assert listed["resnet50"]["offline"] is listed["resnet50_cbam"]["offline"] is False
    assert listed["resnet50"]["gflops_224"] == pytest.approx(4.09, abs=0.01)


def test_weights_in_the_folder_of_torch_are_offline(kit, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth").touch()
    listed = {row["name"]: row["offline"] for row in kit("models", "resnet[13]*", "--json").json["models"]}
    assert listed == {"resnet152": False, "resnet18": True, "resnet34": False}


def test_a_pattern_looks_into_timm(kit):
    listed = kit("models", "timm/tf_efficientnet_lit*0", "--json").json
    assert [row["name"] for row in listed["models"]] == ["timm/tf_efficientnet_lite0"]
    assert listed["families"] == {}
    tagged = kit("models", "timm/resnet10t.*", "--json").json["models"]
    assert [row["name"] for row in tagged] == ["timm/resnet10t.c3_in1k"]
    out = kit("models", "timm/vit_base_patch16_384").out
    assert "86.86" in out
    assert "other sizes only" in out


def test_unknown_names_are_said(kit):
    assert "did you mean resnet50" in kit("models", "resnet51", code=2).err
    assert "no network 'nothing'" in kit("models", "timm/nothing", code=2).err
    assert "called like 'x*'" in kit("models", "x*", code=2).err
    assert "called like 'timm/qq*'" in kit("models", "timm/qq*", code=2).err


@pytest.mark.parametrize(
    ("name", "multiply_adds"),
    # VGG's own 15.47 without its two hidden layers of 4,096; ViT-Tiny as in timm's table, attention counted.
    [
        ("resnet50", 4.09e9),
        ("densenet121", 2.83e9),
        ("vgg16", 15.47e9 - 25088 * 4096 - 4096**2 - 4096 * 1000 + 512e3),
        ("efficientnet_lite0", 0.39e9),
        ("timm/vit_tiny_patch16_224", 1.26e9),
    ],
)
def test_multiply_adds_are_those_of_the_papers(name, multiply_adds):
    counted = cost(Registry().models.get(name), name).multiply_adds
    assert counted == pytest.approx(multiply_adds, rel=0.02)


def test_a_small_network_by_hand():
    """Four stages at 16 px: kernel^2 x channels in x channels out x positions, and the linear layer."""
    multiply_adds, channels, side = 160 * 1000, 3, 16
    for width in (24, 48, 96, 160):
        side //= 2
        multiply_adds += (16 * channels + 9 * width) * width * side * side
        channels = width
    assert cost(Registry().models.get("small_cnn"), "small_cnn", 16).multiply_adds == multiply_adds


@pytest.mark.slow
@pytest.mark.parametrize("name", [spec.name for spec in Registry().models if spec.description == "torchvision"])
def test_parameters_and_multiply_adds_are_those_that_torchvision_publishes(name):
    """Where the published classifier has hidden layers (vgg16, mobilenet_v3_small), it is swapped in the count."""
    weights = next(iter(models.get_model_weights(name)))
    (size,) = weights.transforms().crop_size
    counted = cost(Registry().models.get(name), name, size)
    with torch.device("meta"):
        classifier = models.get_model(name).get_submodule("fc" if "resne" in name else "classifier")
    linear = [layer for layer in classifier.modules() if isinstance(layer, torch.nn.Linear)]
    features = {"vgg16": 512}.get(name, linear[0].in_features)
    exchanged = sum(layer.weight.numel() for layer in linear) - features * 1000
    biases = sum(layer.bias.numel() for layer in linear) - 1000
    assert counted.parameters + exchanged + biases == weights.meta["num_params"]
    assert (counted.multiply_adds + exchanged) / 1e9 == pytest.approx(weights.meta["_ops"], abs=0.0006)


@pytest.mark.parametrize(
    ("name", "options", "parameters", "shapes"),
    [
        # The published number of weights of ResNet18, and its maps (He et al. 2016, table 1).
        ("resnet18", (), 11_689_512, {"body.0": [64, 112, 112], "body.4.1.bn2": [64, 56, 56], "body.7": None}),
        ("resnet18", ("--channels", 6), 11_689_512 + 64 * 3 * 49, {"body.0": [64, 112, 112]}),
        ("resnet18", ("--classes", 5, "--size", 64), 11_689_512 - 995 * 513, {"head.classifier": [5]}),
        # VGG16's 138,357,544 weights (Simonyan and Zisserman 2015), two hidden layers among them.
        ("vgg16", ("--set", "head=vgg"), 138_357_544, {"head.first": [4096], "head.second": [4096]}),
        # A network with weights outside of its layers: class token and positions.
        (
            "timm/vit_tiny_patch16_224",
            (),
            5_717_416,
            {"body.patch_embed.proj": [192, 14, 14], "head.classifier": [1000]},
        ),
        ("small_cnn", ("--set", "two_units=true", "--size", 32), 679_648 + 2 * 161, {"head.classifier": [1]}),
    ],
)
def test_layers_are_those_of_the_network(kit, name, options, parameters, shapes):
    document = kit("models", name, "--layers", *options, "--json").json
    found = {layer["name"]: layer["shape"] for layer in document["layers"]}
    assert {layer: found.get(layer) for layer in shapes} == shapes
    assert document["parameters"] == sum(layer["parameters"] for layer in document["layers"]) == parameters
    shown = kit("models", name, "--layers", *options).out
    assert f"{parameters:,} parameters" in shown
    assert all(layer in shown for layer in found)


@pytest.mark.parametrize(
    ("competition", "options", "channels", "outputs", "size"),
    [
        ("histo", (), 3, 1, 96),
        ("protein", ("--model-of-its-own",), 4, 28, 512),
        ("protein", ("--size", 64), 4, 28, 64),
        ("ham10000", ("--classes", 9), 3, 9, 224),
        ("recursion", ("--classes", 1108, "--set", "metadata=false"), 6, 1108, None),
    ],
)
def test_layers_of_a_competition_need_no_data(kit, competition, options, channels, outputs, size):
    name = () if "--model-of-its-own" in options else ("small_cnn",)
    options = [option for option in options if option != "--model-of-its-own"]
    document = kit("models", *name, "--layers", "--competition", competition, *options, "--json").json
    assert (document["channels"], document["outputs"]) == (channels, outputs)
    assert size in (None, document["size"])
    assert document["name"] == (name[0] if name else "timm/densenet121")


def test_layers_know_the_classes_and_metadata_of_the_data(kit):
    kit("download", "ham10000", "--miniature")
    document = kit("models", "--layers", "--competition", "ham10000", "--set", "metadata=true", "--json").json
    index = Store.of(Registry(), "ham10000").index()
    assert document["metadata"] == len(index.metadata) > 0
    assert document["layers"][-1]["shape"] == [len(index.classes)]
    assert document["layers"][-1]["parameters"] == len(index.classes) * (160 + document["metadata"] + 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--layers",), "which network"),
        (("resnet18", "--size", 64), "add --layers"),
        (("--competition", "histo"), "add --layers"),
        (("resnet*", "--layers"), "no model is called"),
        (("resnet18", "--layers", "--set", "head=nope"), "no head is called 'nope'"),
        (("resnet18", "--layers", "--set", "hed=vgg"), "hed"),
        (("timm/vit_tiny_patch16_224", "--layers", "--size", 97), "can't take 97 px"),
        (("resnet18", "--layers", "--competition", "recursion"), "no data for recursion"),
        (("resnet18", "--layers", "--channels", 0), "--channels"),
    ],
)
def test_what_layers_can_not_show_is_one_line(kit, arguments, said):
    err = kit("models", *arguments, code=2).err
    assert said in err
    assert err.count("\n") == 1
