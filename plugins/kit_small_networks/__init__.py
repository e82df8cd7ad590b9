"""Small networks for miniatures and quick trials."""

from kit.plugin import ModelSpec, hookimpl, lazy


@hookimpl
def kit_models() -> list[ModelSpec]:
    """Add `small_cnn` and `coord_cnn`."""
    small = "eight convolutions, 0.7 million weights, from scratch"
    coord = "the same, with pixel positions as input and a narrow view: Grad-CAM points where it looked"
    return [
        ModelSpec("small_cnn", lazy("kit_small_networks.network:small_cnn"), small, mean=(0.5,), std=(0.25,)),
        ModelSpec("coord_cnn", lazy("kit_small_networks.network:coord_cnn"), coord, mean=(0.5,), std=(0.25,)),
    ]
