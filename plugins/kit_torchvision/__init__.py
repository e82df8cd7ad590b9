"""Networks of torchvision with their ImageNet weights."""

from typing import TYPE_CHECKING

from kit.plugin import ModelRequest, ModelSpec, hookimpl

if TYPE_CHECKING:
    from torch import nn

NAMES = (
    "densenet121",
    "densenet161",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "mobilenet_v3_small",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet152",
    "resnext50_32x4d",
    "vgg16",
)


def _build(request: ModelRequest) -> "nn.Module":
    from kit_torchvision.networks import build

    return build(request)


def _offline(name: str) -> bool:
    from kit_torchvision.networks import weights_file

    return weights_file(name).is_file()


@hookimpl
def kit_models() -> list[ModelSpec]:
    """The networks of the original works, by torchvision's names."""
    return [ModelSpec(name, _build, "torchvision", offline=_offline) for name in NAMES]
