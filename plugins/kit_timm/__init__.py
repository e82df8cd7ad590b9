"""Networks of timm: `efficientnet_lite0`, whose weights install offline, and any other as `timm/<name>`."""

from typing import TYPE_CHECKING

from kit.plugin import ModelRequest, ModelSpec, hookimpl

if TYPE_CHECKING:
    from torch import nn

HALF = (0.5, 0.5, 0.5)


def _lite0(request: ModelRequest) -> "nn.Module":
    from kit_timm.networks import efficientnet_lite0

    return efficientnet_lite0(request)


def _any(request: ModelRequest) -> "nn.Module":
    from kit_timm.networks import timm_network

    return timm_network(request)


@hookimpl
def kit_models() -> list[ModelSpec]:
    """`efficientnet_lite0` and the family `timm/*`."""
    return [
        ModelSpec(
            "efficientnet_lite0", _lite0, "EfficientNet-Lite0; weights from the extra offline-weights", HALF, HALF
        ),
        ModelSpec("timm/*", _any, "any network of timm by its name there"),
    ]
