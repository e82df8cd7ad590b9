"""Class activation maps: which places of a layer's map speak for a class.

A is a layer's output BxCxhxw, G the gradient of the class's logit towards it. All four keep what is above 0.

- gradcam (Selvaraju et al. 2017): the sum over channels of A, each by the mean of its G.
- gradcam++ (Chattopadhyay et al. 2018): each by the sum of its G above 0, those counting more of which it has few.
- layercam (Jiang et al. 2021): each place by its own G above 0; sharp in early layers too.
- cam (Zhou et al. 2016): the last map by the classifier's own weights of the class; takes no gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kit.errors import KitError
from kit.explain.layers import Layer
from kit.model.build import Model
from kit.model.losses import predicting_logits
from kit.model.network import LinearHead, Network, Output
from kit.pixels.batches import Batch

METHODS = ("gradcam", "gradcam++", "cam", "layercam")
# Probabilities BxC, a column a class -> the number of the class that is explained of each image, B int64.
Choose = Callable[[np.ndarray], np.ndarray]


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """BxCxhxw twice -> Bxhxw."""
    return _weighted(activation, gradient.mean((2, 3), keepdim=True))


def gradcam_pp(activation: Tensor, gradient: Tensor) -> Tensor:
    """BxCxhxw twice -> Bxhxw.

    The score is exp(logit), as in the paper, so that all its derivatives are powers of G: each place counts by
    G^2 / (2 G^2 + sum(A) G^3). The factor exp(logit), one an image, is left out.
    """
    below = 2 + activation.sum((2, 3), keepdim=True) * gradient
    alpha = torch.where(below == 0, 0, 1 / below)
    return _weighted(activation, (alpha * gradient.relu()).sum((2, 3), keepdim=True))


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """BxCxhxw twice -> Bxhxw."""
    return _weighted(activation, gradient.relu())


def _weighted(activation: Tensor, weights: Tensor) -> Tensor:
    return (weights * activation).sum(1).relu()


BY_GRADIENT = {"gradcam": gradcam, "gradcam++": gradcam_pp, "layercam": layercam}


def raw_maps(
    model: Model, layers: Sequence[Layer], method: str, batch: Batch, choose: Choose
) -> tuple[np.ndarray, np.ndarray, dict[str, Tensor]]:
    """One pass of a batch through a frozen network in eval mode, and one back for all layers together.

    No weight needs a gradient, and the graph begins at the first of the layers: what lies before it keeps nothing.

    Args:
        model: its weights must not require gradients.
        layers: that are explained; of `cam` the one of `cam_layer`.
        method: a name of `METHODS`.
        batch: normalised, on the device.
        choose: says which class of each image is explained.

    Returns:
        Probabilities BxC (of a binary task those of both classes), the classes' numbers B, and for each layer's name
        its maps Bxhxw, 0 or above, not scaled.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def hook(module: nn.Module, given: Any, output: Tensor) -> Tensor:
            kept[name] = output if output.requires_grad or method == "cam" else output.detach().requires_grad_()
            # The next module may work in place, and must not change what is kept.
            return kept[name].clone()

        return hook

    hooks = [model.network.get_submodule(layer.name).register_forward_hook(keep(layer.name)) for layer in layers]
    try:
        with torch.set_grad_enabled(method != "cam"):
            # Not `network(...)`: hooks would break a compiled network into pieces, each compiled anew.
            logits = _by_class(model, model.logits(model.network.forward(batch.images, batch.metadata)))
    finally:
        for hook in hooks:
            hook.remove()
    found = logits.detach()
    shares = model.task.probabilities(found).cpu().numpy()
    classes = choose(shares)
    number = torch.from_numpy(classes).to(found.device)
    if method == "cam":
        (layer,) = layers
        classifier = _by_class(model, model.network.get_parameter("head.classifier.weight").T).T
        # Behind the weights of the map stand those of the metadata.
        weights = classifier[number, : layer.channels, None, None]
        return shares, classes, {layer.name: _weighted(kept[layer.name], weights)}
    # An image's logit depends on no other image of its batch, so the sum's gradient is each one's own.
    score = logits.gather(1, number[:, None]).sum()
    gradients = torch.autograd.grad(score, [kept[layer.name] for layer in layers])
    maps = {}
    for layer, gradient in zip(layers, gradients, strict=True):
        maps[layer.name] = BY_GRADIENT[method](layer.map(kept[layer.name].detach()), layer.map(gradient))
    return shares, classes, maps


def _by_class(model: Model, outputs: Tensor) -> Tensor:
    """Nx1 of a binary task's logit as Nx2, a column a class: what speaks against the one speaks for the other."""
    return model.task.class_logits(outputs)


def cam_layer(model: Model, layers: dict[str, Layer], names: Sequence[str] | None) -> Layer:
    """The layer of `cam`: the network's last map. A network whose logits are no weights of that is a `KitError`."""
    instead = "leave --method cam out"
    if names is not None:
        raise KitError("cam shows the last map of the network alone: leave --layers out, or --method cam")
    network = model.network
    if not isinstance(network, Network) or not isinstance(network.head, LinearHead):
        raise KitError(f"cam needs the head linear, whose classifier weighs the pooled map itself: {instead}")
    classifier = network.head.classifier
    device = classifier.weight.device
    output = Output(*(torch.zeros(1, width, device=device) for width in classifier.weight.shape))
    if predicting_logits(model.loss, output) is not output.logits:
        raise KitError(f"cam needs a classifier on the pooled map, and the loss of this run has its own: {instead}")
    if "body" not in layers or layers["body"].form != "channels first":
        raise KitError(f"cam needs a map before the pooling, and this network pools by itself: {instead}")
    return layers["body"]


def at_size(maps: Tensor, size: int) -> Tensor:
    """Bxhxw, 0 or above -> BxSxS, bilinear, each divided by its maximum: 0..1; a map of zeros stays one."""
    large = functional.interpolate(maps[:, None].float(), (size, size), mode="bilinear", align_corners=False)[:, 0]
    return large / large.amax((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
