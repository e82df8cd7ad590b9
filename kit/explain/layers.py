"""Find the layers of any network that can be explained: those that output a map whose places the prediction depends on.

A network need only be an `nn.Module`: its layers are tried on two images of noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kit.errors import KitError, nearest
from kit.model.build import Model

Form = Literal["channels first", "channels last", "tokens"]
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
PREFIX = 8  # maximum of tokens before those of the image: class, distillation, registers
DEFAULT = 2  # layers explained when none is named


@dataclass(frozen=True)
class Layer:
    """A layer whose output is a map.

    Args:
        name: of the module in the network.
        form: of its output: BxCxhxw, BxhxwxC, or tokens BxNxC whose last h*w are the places, row by row.
        channels, height, width: C, h, w.
        stride: pixels of the network's input per place.
        listed: whether it is on the network's trunk, not inside one of its blocks.
        reaches: whether the logits depend on its places; in a transformer's last block they don't if only a class token
            is read.
    """

    name: str
    form: Form
    channels: int
    height: int
    width: int
    stride: int
    listed: bool
    reaches: bool

    def map(self, output: Tensor) -> Tensor:
        """Shape the output as BxCxhxw."""
        if self.form == "channels first":
            return output
        if self.form == "tokens":
            output = output[:, -self.height * self.width :].unflatten(1, (self.height, self.width))
        return output.permute(0, 3, 1, 2)


def find_layers(model: Model, channels: int, metadata: int, size: int) -> dict[str, Layer]:
    """Return all layers that output a map of more than one place, by name, in the order of the forward pass.

    Modules called more than once in a pass, such as a shared activation, have no single output and are left out.

    Args:
        model: in any mode, which is kept.
        channels, metadata, size: of its input: channels, width of the metadata, side in pixels.
    """
    outputs, logits = _outputs(model, channels, metadata, size)
    shapes: dict[str, tuple[Form, int, int]] = {}
    form: Form = "channels first"
    for name, output in outputs.items():
        if (shape := _shape(tuple(output.shape[1:]), size, form)) is not None:
            form, shapes[name] = shape[0], shape
    kept = [outputs[name] for name in shapes]
    gradients = torch.autograd.grad(logits.sum(), kept, allow_unused=True) if kept else ()
    trunk, found = _trunk(model.network, set(shapes)), {}
    for (name, (form, depth, side)), gradient in zip(shapes.items(), gradients, strict=True):
        layer = Layer(name, form, depth, side, side, round(size / side), name in trunk, True)
        # If no place has a gradient, the network is dead on noise, which proves nothing.
        reaches = gradient is not None and bool(layer.map(gradient).any() or not gradient.any())
        found[name] = replace(layer, reaches=reaches)
    return found


def default_layers(layers: dict[str, Layer]) -> list[Layer]:
    """Return the last candidate of each map size, the deepest first: two, or one if there is no more."""
    last = {layer.height: layer for layer in candidates(layers)}
    if not last:
        raise KitError("no layer of this network gives a map on which its prediction depends: choose another --model")
    return sorted(last.values(), key=lambda layer: layer.height)[:DEFAULT]


def candidates(layers: dict[str, Layer]) -> list[Layer]:
    """Return the layers on the trunk whose places the prediction depends on."""
    return [layer for layer in layers.values() if layer.listed and layer.reaches]


def chosen_layers(layers: dict[str, Layer], names: Sequence[str] | None) -> list[Layer]:
    """Return the named layers in that order, or the default ones; any layer that gives a map may be named."""
    if names is None:
        return default_layers(layers)
    for name in names:
        listed = "kit gradcam --layers list shows those to choose from"
        if name not in layers:
            known = [layer.name for layer in candidates(layers)]
            raise KitError(f"no layer {name!r} of this network gives a map: {nearest(name, known)} ({listed})")
        if not layers[name].reaches:
            raise KitError(f"the prediction does not depend on the places of layer {name!r}: {listed}")
    return [layers[name] for name in dict.fromkeys(names)]


def _outputs(model: Model, channels: int, metadata: int, size: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return each module's output for two images of noise, with a graph, and the logits."""
    outputs: dict[str, Tensor] = {}
    several: set[str] = set()
    seen: set[Any] = set()

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if name in outputs:
                several.add(name)
            if not isinstance(output, Tensor) or output.ndim < 3 or len(output) != 2 or not output.requires_grad:
                return
            # What returns its input unchanged, such as a disabled pooling, is not a layer; in place it changes it.
            if not (output.grad_fn in seen and any(output is one for one in inputs)):
                outputs[name] = output
            seen.add(output.grad_fn)

        return hook

    network, device = model.network, model.runtime.device
    was_training = network.training
    hooks = [module.register_forward_hook(keep(name)) for name, module in network.named_modules() if name]
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(2, channels, size, size, generator=noise).to(device).requires_grad_()
    try:
        with torch.enable_grad():
            # Not `network(...)`: hooks would break a compiled network into pieces, each compiled again.
            output = network.eval().forward(images, torch.zeros(2, metadata, device=device))
            logits = model.logits(output)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return {name: output for name, output in outputs.items() if name not in several}, logits


def _trunk(network: nn.Module, mapped: set[str]) -> set[str]:
    """Return the names of the modules on the way through the network, not inside blocks; containers are not blocks."""

    def inside(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        for own, child in module.named_children():
            whole = f"{name}.{own}".lstrip(".")
            if any(other == whole or other.startswith(f"{whole}.") for other in mapped):
                yield whole, child

    def walk(name: str, module: nn.Module) -> Iterator[str]:
        for own, child in inside(name, module):
            if type(child) in CONTAINERS:
                yield from walk(own, child)
            else:
                yield own

    name, module = "", network
    # A wrapper around the only module that gives maps is not one of them.
    while len(only := list(inside(name, module))) == 1:
        ((name, module),) = only
    return set(walk(name, module)) or {name}


def _shape(shape: tuple[int, ...], size: int, form: Form) -> tuple[Form, int, int] | None:
    """Return the form, channels and side of a map of this shape (without its batch); None if it is not a map.

    If all three sides are equal, it has the `form` of the previous layer.
    """
    if len(shape) == 3:
        first, middle, last = shape
        if first == last == middle > 1:
            return (form if form != "tokens" else "channels first"), first, middle
        if middle == last > 1:
            return "channels first", first, middle
        if first == middle > 1:
            return "channels last", last, first
    if len(shape) == 2:
        side = isqrt(shape[0])
        if side > 1 and shape[0] - side**2 <= PREFIX and size % side == 0:
            return "tokens", shape[1], side
    return None
