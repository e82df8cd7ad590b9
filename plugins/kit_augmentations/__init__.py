"""Steps of augmentation beside those that the configuration has keys for. docs/training.md shows them."""

from kit.plugin import AugmentationSpec, hookimpl, lazy


@hookimpl
def kit_augmentations() -> list[AugmentationSpec]:
    """Add `hue`, `saturation`, `stain`, `cutout`, `blur` and `noise`."""
    return [
        _step("hue", "colour", 0.5, "turn the colours about grey by up to this share of a turn"),
        _step("saturation", "colour", 1.0, "scale the distance from grey by 1 - strength to 1 + strength"),
        _step("stain", "stain", 0.5, "scale and shift the density of each stain (H&E) or channel by up to this"),
        _step("cutout", "local", 1.0, "cover a square with grey; strength: its share of the side"),
        _step("blur", "local", 16.0, "Gaussian blur with a sigma of up to this many pixels"),
        _step("noise", "noise", 0.5, "Gaussian noise with a sigma of up to this share of white"),
    ]


def _step(name: str, module: str, high: float, description: str) -> AugmentationSpec:
    draw, array, tensor, text = (
        lazy(f"kit_augmentations.{module}:{part}_{name}") for part in ("draw", "array", "tensor", "text")
    )
    return AugmentationSpec(name, draw, array, tensor, 0.0, high, description, text)
