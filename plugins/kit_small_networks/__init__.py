"""A plain small network for miniatures and quick trials."""

from typing import TYPE_CHECKING

from kit.plugin import ModelRequest, ModelSpec, hookimpl

if TYPE_CHECKING:
    from torch import nn


def _build(request: ModelRequest) -> "nn.Module":
    from kit_small_networks.network import small_cnn

    return small_cnn(request)


@hookimpl
def kit_models() -> list[ModelSpec]:
    """`small_cnn`."""
    description = "eight convolutions, 0.7 million weights, from scratch"
    return [ModelSpec("small_cnn", _build, description, mean=(0.5,), std=(0.25,))]
