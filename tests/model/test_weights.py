"""Files of pretrained weights that others made: what each is, is told in one line; nothing unsafe is decoded."""

import os
from urllib.error import URLError

import pytest
import timm
import torch
from safetensors.torch import save_file

from kit.errors import KitError
from kit.hooks.learning import ModelRequest
from kit.hooks.registry import Registry
from kit.model.weights import read_weights
from kit_timm import networks as timm_networks
from kit_torchvision import networks as torchvision_networks

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46807446\n"
WRONG = {
    "empty": (b"", "is empty"),
    "pointer": (POINTER, "is a Git-LFS pointer"),
    "page": (b"\n<!DOCTYPE html>\n<html>", "is a web page"),
    "page with a mark": (b"\xef\xbb\xbf<HTML>", "is a web page"),
    "text": (b"Entry not found", "is text"),
    "noise": (bytes(range(255, 0, -1)), "holds no weights"),
    "zeros": (bytes(300), "holds no weights"),
}


def tensors_of(name):
    return {key: value.contiguous() for key, value in timm.create_model(name).state_dict().items()}


@pytest.fixture
def by_hand(tmp_path, monkeypatch):
    """Where a file for timm/resnet10t lies that was put there by hand."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "resnet10t.c3_in1k.safetensors"
    path.parent.mkdir(parents=True)
    return path


def build(name):
    return Registry().models.get(name).build(ModelRequest(name, 3, 2, "linear", 0, True))


def refused(path, name="timm/resnet10t"):
    with pytest.raises(KitError) as caught:
        build(name)
    assert caught.value.code == 2
    assert str(path) in str(caught.value)
    assert "there" in str(caught.value), "where the right one is"
    return str(caught.value)


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_weights_is_named(by_hand, kind):
    content, said = WRONG[kind]
    by_hand.write_bytes(content)
    assert said in refused(by_hand)
    other = torchvision_networks.weights_file("resnet18")
    other.write_bytes(content)
    assert said in refused(other, "resnet18")


@pytest.mark.parametrize("change", ["half", "header", "longer", "flipped"])
def test_a_cut_file_is_named(by_hand, change):
    save_file(tensors_of("resnet10t"), by_hand)
    data = by_hand.read_bytes()
    changed = {
        "half": data[: len(data) // 2],
        "header": data[:99],
        "longer": data + b"x",
        "flipped": b"\xff" + data[1:],
    }
    by_hand.write_bytes(changed[change])
    assert "is cut" in refused(by_hand)


@pytest.mark.parametrize("other", ["resnet18", "resnet14t", "mobilenetv3_small_050", "half", "none", "prefixed"])
def test_weights_of_another_network_are_refused(by_hand, other):
    """timm would leave out what does not fit, and train on from random numbers."""
    own = tensors_of("resnet10t")
    made = {
        "half": {key: value for key, value in own.items() if not key.startswith("layer4")},
        "none": {},
        "prefixed": {f"model.{key}": value for key, value in own.items()},
    }
    save_file(made[other] if other in made else tensors_of(other), by_hand)
    assert "holds the weights of another network" in refused(by_hand)


def test_the_right_weights_are_loaded_and_draw_no_other_random_numbers(by_hand):
    own = tensors_of("resnet10t")
    save_file(own, by_hand)
    torch.manual_seed(3)
    network = timm_networks._pretrained("timm/resnet10t")
    drawn = torch.rand(1)
    assert torch.equal(network.state_dict()["layer4.0.conv1.weight"], own["layer4.0.conv1.weight"])
    torch.manual_seed(3)
    timm.create_model("resnet10t", num_classes=0)
    assert torch.equal(drawn, torch.rand(1))


@pytest.mark.parametrize("version", ["2.6.0", "2.9.1+cu130", "2.10.0", "2.14.1+cu130", "3.0"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_a_pickle_is_read_with_a_safe_torch_or_a_known_digest_alone(tmp_path, monkeypatch, version, suffix):
    path = tmp_path / f"weights{suffix}"
    torch.save({"a": torch.ones(2)}, path)
    monkeypatch.setattr(torch, "__version__", version)
    if version.startswith(("2.6", "2.9")):
        with pytest.raises(KitError, match=r"CVE-2026-24747.*weights\.safetensors") as caught:
            read_weights(path, "put it there")
        assert caught.value.code == 2
    else:
        assert read_weights(path, "put it there")["a"].tolist() == [1, 1]
    from kit.files import sha256

    assert read_weights(path, "put it there", known=sha256(path)[:8])["a"].tolist() == [1, 1]
    with pytest.raises(KitError, match="SHA-256 does not begin with 00000000"):
        read_weights(path, "put it there", known="00000000")


def test_a_pickle_that_would_run_code_or_is_damaged_is_one_line(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(2), "run": print}, path)
    for content in (
        path.read_bytes(),
        path.read_bytes()[:200],
        b"\x80\x02cos\nsystem\n",
        b"PK\x03\x04" + os.urandom(50),
    ):
        path.write_bytes(content)
        with pytest.raises(KitError, match=r"weights\.pth (is cut or damaged|holds no weights)"):
            read_weights(path, "put it there")
    torch.save([torch.ones(2)], path)
    with pytest.raises(KitError, match="holds no weights by name"):
        read_weights(path, "put it there")


@pytest.mark.parametrize("kind", ["folder", "pipe", "absent"])
def test_what_is_no_file(tmp_path, kind):
    path = tmp_path / "weights.pth"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "absent": lambda: None}[kind]()
    with pytest.raises(KitError, match="is not there" if kind == "absent" else "is no file"):
        read_weights(path, "put it there")


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_weights_that_can_not_be_downloaded_have_their_whole_address(tmp_path, monkeypatch, name):
    from torchvision.models import get_model_weights

    def no_network(*arguments, **options):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(KitError, match="can't be downloaded") as caught:
        build(name)
    address = get_model_weights(name).DEFAULT.url
    assert f"put {address} into {tmp_path / 'hub' / 'checkpoints'}, or use --no-pretrained" in str(caught.value)


@pytest.mark.parametrize("name", ["timm/resnet10t", "resnet18"])
@pytest.mark.parametrize(
    ("lay", "said"),
    [
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: path.symlink_to(path.parent), "is no file"),
        (lambda path: path.symlink_to("nowhere"), "is not there"),
        (lambda path: path.symlink_to(path), "is not there"),
        (lambda path: os.mkfifo(path), "is no file"),
    ],
    ids=["folder", "link to a folder", "dead link", "loop", "pipe"],
)
def test_what_is_no_file_in_place_of_weights_is_named(by_hand, name, lay, said):
    path = by_hand if name.startswith("timm/") else torchvision_networks.weights_file(name)
    lay(path)
    assert said in refused(path, name)


def test_the_packages_own_weights_have_the_known_digest():
    assert build("efficientnet_lite0") is not None
