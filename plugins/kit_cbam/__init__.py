"""ResNet50 with attention: CBAM gates in every block, or BAM gates between the stages."""

from kit.plugin import ModelSpec, hookimpl, lazy

GATED = {
    "resnet50_cbam": "ResNet50 with channel and spatial attention (CBAM); weights of torchvision's ResNet50",
    "resnet50_cbam_paper": "the same, its gates start half open, as the paper trains them",
    "resnet50_bam": "ResNet50 with attention between its stages (BAM); weights of torchvision's ResNet50",
    "resnet50_bam_paper": "the same, its gates start half open, as the paper trains them",
}


@hookimpl
def kit_models() -> list[ModelSpec]:
    """Add ResNet50 with each kind of gate, from each start."""
    build, offline = lazy("kit_cbam.network:build"), lazy("kit_cbam.network:offline")
    return [ModelSpec(name, build, description, offline=offline) for name, description in GATED.items()]
