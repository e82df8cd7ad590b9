"""What a network costs, counted on the meta device: no weights are allocated and nothing is computed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kit.errors import KitError
from kit.hooks.learning import ModelRequest, ModelSpec
from kit.model.build import build_network
from kit.model.network import HeadName

OUTPUTS = 1000


class Cost(NamedTuple):
    """Parameters, and multiply-adds per image; None where the network can't take that size."""

    parameters: int
    multiply_adds: int | None


class Layer(NamedTuple):
    """One layer: its name in the network, its type, the shape of an image's output, its parameters.

    The shape is that of the first call. It is None for a layer that has weights and is not called itself. Weights that
    layers share count once.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int


def layers(spec: ModelSpec, request: ModelRequest, size: int) -> tuple[list[Layer], Cost]:
    """Return the layers of a network in the order of its forward pass, and its cost at a size.

    A layer is a module that holds no other and does something, or has weights of its own: the parameters of all add up
    to the network's.

    Raises:
        KitError: it can't take images of this size.
    """
    with torch.device("meta"):
        network = build_network(spec, request).eval()
        images, metadata = torch.zeros(1, request.channels, size, size), torch.zeros(1, request.metadata)
    shapes: dict[str, tuple[int, ...]] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensors = [output] if isinstance(output, Tensor) else [each for each in output if isinstance(each, Tensor)]
            shapes.setdefault(name, tuple(tensors[0].shape[1:]) if tensors else ())

        return hook

    counted: set[nn.Parameter] = set()
    own: dict[str, int] = {}
    for name, module in network.named_modules():
        new = [each for each in module.parameters(recurse=False) if each not in counted]
        counted.update(new)
        if new or not (isinstance(module, nn.Identity) or any(True for _ in module.children())):
            own[name] = sum(each.numel() for each in new)
            module.register_forward_hook(keep(name))
    try:
        with torch.no_grad():
            network(images, metadata)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise KitError(f"{request.name} can't take {size} px images: {error}: choose another --size") from None
    order = [*shapes, *(name for name, parameters in own.items() if parameters and name not in shapes)]
    found = [Layer(name, type(network.get_submodule(name)).__name__, shapes.get(name), own[name]) for name in order]
    return found, Cost(sum(own.values()), _multiply_adds(network, images, metadata))


def cost(spec: ModelSpec, name: str, size: int = 224) -> Cost:
    """Count the cost of a network with three channels, a linear head and ImageNet's 1,000 outputs, as papers do."""
    request = ModelRequest(name, 3, OUTPUTS, HeadName.of("linear"), 0, pretrained=False)
    with torch.device("meta"):
        network = spec.build(request).eval()
        images = torch.zeros(1, 3, size, size)
    return Cost(sum(weight.numel() for weight in network.parameters()), _multiply_adds(network, images, None))


@torch.no_grad()
def _multiply_adds(network: nn.Module, images: Tensor, metadata: Tensor | None) -> int | None:
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            network(images, metadata)
    except Exception:  # Networks refuse a size they were not made for with all kinds of errors.
        return None
    # The counter counts a multiplication and an addition as two.
    return counter.get_total_flops() // 2
