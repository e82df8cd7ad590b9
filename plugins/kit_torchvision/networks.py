"""torchvision's networks without their classifiers, and where their weights come from."""

import os
import re
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

from kit.errors import DISK, NETWORK, KitError
from kit.plugin import ModelRequest
from kit.plugin.network import Network, fill, read_weights, widen_stem

_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])")


def build(request: ModelRequest) -> nn.Module:
    """Build the named network up to its last feature map, with a new head.

    Of VGG's own head, the two hidden layers are pretrained too.
    """
    network = models.get_model(request.name, weights=None)
    if request.pretrained:
        fill(network, weights(request.name), weights_file(request.name), right(request.name))
    body, features = body_of(network)
    widen_stem(body, request.channels)
    built = Network(body, features, request.outputs, request.head, request.metadata)
    if request.pretrained and request.head == "vgg" and isinstance(network, models.VGG):
        for layer, own in (("first", network.classifier[0]), ("second", network.classifier[3])):
            built.get_submodule(f"head.{layer}").load_state_dict(own.state_dict())
    return built


def body_of(network: nn.Module) -> tuple[nn.Module, int]:
    """Return everything before the global pooling, and its number of channels."""
    if isinstance(network, models.ResNet):
        layers = [child for name, child in network.named_children() if name not in ("avgpool", "fc")]
        return nn.Sequential(*layers), network.fc.in_features
    if isinstance(network, models.DenseNet):
        return nn.Sequential(network.features, nn.ReLU(inplace=True)), network.classifier.in_features
    body: nn.Module = network.features  # type: ignore[assignment]
    last = [layer for layer in body.modules() if isinstance(layer, nn.Conv2d)][-1]
    return body, last.out_channels


def weights_file(name: str) -> Path:
    """Return where torch keeps the ImageNet weights of a network, whether or not the file exists."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _url(name).rsplit("/", 1)[-1]


def _url(name: str) -> str:
    return str(models.get_model_weights(name).DEFAULT.url)


def right(name: str) -> str:
    """Return where the right file of weights is, the end of an error about a wrong one."""
    return f"remove it and run again, or put {_url(name)} there"


def weights(name: str) -> dict[str, Tensor]:
    """Return ImageNet weights from torch's own folder, downloaded first if absent; check the digest in the file name.

    Raises:
        KitError: the file is damaged or something else, or it can't be downloaded.
    """
    path = weights_file(name)
    prefix = path.stem.rsplit("-", 1)[-1]
    if not os.path.lexists(path):  # what lies there and is no file is named by `read_weights`
        _fetch(_url(name), path, prefix, name)
    tensors = read_weights(path, right(name), known=prefix)
    # Early densenet files use older names for layers (norm.1 for norm1).
    renamed = {_DENSENET.sub(r"\1\2", key): value for key, value in tensors.items()}
    return renamed if name.startswith("densenet") else tensors


def _fetch(url: str, path: Path, prefix: str, name: str) -> None:
    import socket

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(15)
    by_hand = f"put {url} into {path.parent}, or use --no-pretrained"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
    except (URLError, OSError, RuntimeError) as error:
        if (
            isinstance(error, OSError)
            and error.errno is not None
            and not isinstance(error, (URLError, ConnectionError))
        ):
            raise KitError(f"{path.parent} can't be written ({error.strerror}): set TORCH_HOME", DISK) from None
        raise KitError(f"the pretrained weights of {name} can't be downloaded: {by_hand}", NETWORK) from None
    finally:
        socket.setdefaulttimeout(before)


def offline(name: str) -> bool:
    """Return whether the weights of a network are on this disk."""
    return os.path.isfile(weights_file(name))
