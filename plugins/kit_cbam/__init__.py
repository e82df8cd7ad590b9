"""`resnet50_cbam`: ResNet50 with an attention gate (CBAM) in every block."""

from typing import TYPE_CHECKING

from kit.plugin import ModelRequest, ModelSpec, hookimpl

if TYPE_CHECKING:
    from torch import nn


def _build(request: ModelRequest) -> "nn.Module":
    from kit_cbam.network import resnet50_cbam

    return resnet50_cbam(request)


def _offline(name: str) -> bool:
    from kit_torchvision.networks import weights_file

    return weights_file("resnet50").is_file()


@hookimpl
def kit_models() -> list[ModelSpec]:
    """`resnet50_cbam`."""
    description = "ResNet50 with channel and spatial attention; weights of torchvision's ResNet50"
    return [ModelSpec("resnet50_cbam", _build, description, offline=_offline)]
