"""Small networks for miniatures and quick trials."""

from typing import TYPE_CHECKING

from kit.plugin import ModelRequest, ModelSpec, hookimpl

if TYPE_CHECKING:
    from torch import nn


def _small(request: ModelRequest) -> "nn.Module":
    from kit_small_networks.network import small_cnn

    return small_cnn(request)


def _coord(request: ModelRequest) -> "nn.Module":
    from kit_small_networks.network import coord_cnn

    return coord_cnn(request)


@hookimpl
def kit_models() -> list[ModelSpec]:
    """`small_cnn` and `coord_cnn`."""
    small = "eight convolutions, 0.7 million weights, from scratch"
    coord = "the same, told where each pixel lies, with a narrow view: Grad-CAM points where it looked"
    return [
        ModelSpec("small_cnn", _small, small, mean=(0.5,), std=(0.25,)),
        ModelSpec("coord_cnn", _coord, coord, mean=(0.5,), std=(0.25,)),
    ]
