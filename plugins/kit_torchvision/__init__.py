"""Networks of torchvision with their ImageNet weights."""

from kit.plugin import ModelSpec, hookimpl, lazy

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


@hookimpl
def kit_models() -> list[ModelSpec]:
    """Add the networks of the original works, by torchvision's names."""
    build, offline = lazy("kit_torchvision.networks:build"), lazy("kit_torchvision.networks:offline")
    return [ModelSpec(name, build, "torchvision", offline=offline) for name in NAMES]
