"""What a network costs, counted on the meta device: no weights are allocated and nothing is computed."""

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kit.hooks.specs import ModelRequest, ModelSpec

OUTPUTS = 1000


class Cost(NamedTuple):
    """Parameters, and multiply-adds per image; None where the network can't take that size."""

    parameters: int
    multiply_adds: int | None


def cost(spec: ModelSpec, name: str, size: int = 224) -> Cost:
    """Count the cost of a network with three channels, a linear head and ImageNet's 1,000 outputs, as papers do."""
    request = ModelRequest(name, 3, OUTPUTS, "linear", 0, pretrained=False)
    with torch.device("meta"):
        network = spec.build(request).eval()
        images = torch.zeros(1, 3, size, size)
    return Cost(sum(weight.numel() for weight in network.parameters()), _multiply_adds(network, images))


@torch.no_grad()
def _multiply_adds(network: nn.Module, images: torch.Tensor) -> int | None:
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            network(images, None)
    except Exception:  # Networks refuse a size they were not made for with all kinds of errors.
        return None
    # The counter counts a multiplication and an addition as two.
    return counter.get_total_flops() // 2
