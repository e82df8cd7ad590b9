"""Guided backpropagation (Springenberg et al. 2015) and guided Grad-CAM (Selvaraju et al. 2017): pixels, not places.

The gradient of the class's logit goes back to the image; at each ReLU only what is above 0 goes on, so that no later
layer can speak against an earlier one. It is finer than any map of a layer and says less of the class: Grad-CAM, with
which the guided kind multiplies it, says that. Both are defined for networks of ReLUs alone.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from kit.errors import KitError
from kit.explain.cam import chosen_score, probabilities_of
from kit.model.build import Model
from kit.pixels.batches import Batch

BACKPROP, GRADCAM = "guided-backprop", "guided-gradcam"
METHODS = (BACKPROP, GRADCAM)
RELUS = (functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
OTHERS = {
    getattr(functional, name): name
    for name in ("silu", "gelu", "hardswish", "mish", "elu", "selu", "celu", "leaky_relu", "prelu", "softplus")
}


def guided_gradient(
    model: Model, batch: Batch, choose: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Pass a batch through a frozen network in eval mode, and back by the guided rule.

    Args:
        model: its weights must not require gradients.
        batch: normalised, on the device.
        choose: selects the column of `kit.explain.cam.scores` to explain for each image, from its probabilities.

    Returns:
        Probabilities BxC, the chosen columns B, and the guided gradient for the normalised pixels, of their shape.

    Raises:
        KitError: the network has activations that are no ReLUs, or none.
    """
    images = batch.images.detach().clone().requires_grad_()
    guide = _Guide()
    with torch.enable_grad(), guide:
        # Not `network(...)`: a compiled network would not be seen inside.
        output = model.network.forward(images, batch.metadata)
    if guide.others or not guide.relus:
        found = f"has {', '.join(sorted(guide.others))}" if guide.others else "has none"
        raise KitError(f"guided backpropagation needs a network of ReLUs alone, and this one {found}: --method gradcam")
    probabilities = probabilities_of(model, output)
    columns = choose(probabilities)
    return probabilities, columns, torch.autograd.grad(chosen_score(model, output, columns), images)[0]


def strength(gradient: Tensor) -> Tensor:
    """Return how much each pixel matters, the largest of its channels: BxCxHxW -> BxHxW, 0 or above."""
    return gradient.abs().amax(1)


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, most: float) -> Tensor:
        ctx.save_for_backward((values > 0) & (values < most))
        return values.clamp(0, most)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (passed,) = ctx.saved_tensors
        return gradients[0].relu() * passed, None


class _Guide(TorchFunctionMode):
    """Replace every ReLU of a forward pass, module or function; note other activations."""

    def __init__(self) -> None:
        super().__init__()
        self.relus, self.others = 0, set[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        most = None
        if func in RELUS:
            most = math.inf
        elif func is functional.relu6:
            most = 6.0
        elif func is functional.hardtanh:
            low, high = (*args[1:3], given.get("min_val", -1.0), given.get("max_val", 1.0))[:2]
            most = float(high) if low == 0 else None
        if most is not None:
            self.relus += 1
            return _GuidedReLU.apply(args[0] if args else given["input"], most)
        if func in OTHERS:
            self.others.add(OTHERS[func])
        return func(*args, **given)
