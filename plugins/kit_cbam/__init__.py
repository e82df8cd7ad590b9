"""`resnet50_cbam`: ResNet50 with an attention gate (CBAM) in every block."""

from kit.plugin import ModelSpec, hookimpl, lazy


@hookimpl
def kit_models() -> list[ModelSpec]:
    """Add `resnet50_cbam`."""
    return [
        ModelSpec(
            "resnet50_cbam",
            build=lazy("kit_cbam.network:resnet50_cbam"),
            description="ResNet50 with channel and spatial attention; weights of torchvision's ResNet50",
            offline=lazy("kit_cbam.network:offline"),
        )
    ]
