"""Class activation maps: which places of a layer's map speak for a class, a higher grade, or a larger number.

A is a layer's output BxCxhxw, G the gradient of the class's logit (`scores`) with respect to it. All four sum the
channels of A with weights and keep what is above 0.

- gradcam (Selvaraju et al. 2017): weights each channel by the mean of its G.
- gradcam++ (Chattopadhyay et al. 2018): by the sum of its positive G, which count more the fewer it has.
- layercam (Jiang et al. 2021): each place by its own G where positive; sharp in early layers too.
- cam (Zhou et al. 2016): the last map by the classifier's own weights for the class; needs no gradient of the network.
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
from kit.model.network import Network, Output
from kit.pixels.batches import Batch
from kit.task import ORDINAL

METHODS = ("gradcam", "gradcam++", "cam", "layercam")
# Probabilities BxC, one column per class -> the column of `scores` to explain for each image, B int64.
Choose = Callable[[np.ndarray], np.ndarray]


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weight each channel by its mean gradient: BxCxhxw twice -> Bxhxw."""
    return _weighted(activation, gradient.mean((2, 3), keepdim=True))


def gradcam_pp(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weight each channel by its positive gradients, which count more the fewer there are: BxCxhxw twice -> Bxhxw.

    The score is exp(logit), as in the paper, so that all its derivatives are powers of G: each place counts by
    G^2 / (2 G^2 + sum(A) G^3). The factor exp(logit), one per image, is left out.
    """
    below = 2 + activation.sum((2, 3), keepdim=True) * gradient
    alpha = torch.where(below == 0, 0, 1 / below)
    return _weighted(activation, (alpha * gradient.relu()).sum((2, 3), keepdim=True))


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weight each place by its gradient where positive: BxCxhxw twice -> Bxhxw."""
    return _weighted(activation, gradient.relu())


def _weighted(activation: Tensor, weights: Tensor) -> Tensor:
    return (weights * activation).sum(1).relu()


BY_GRADIENT = {"gradcam": gradcam, "gradcam++": gradcam_pp, "layercam": layercam}


def scores(model: Model, output: Output) -> Tensor:
    """Return what can be explained of an output: a column per class, its logit; of a regression per target.

    An ordinal task has one more column for its expected grade. Where the network has one logit alone, a score along the
    grades, that score stands for it: held between the first grade and the last, it would have no gradient beyond them.
    """
    columns = model.task.class_logits(model.logits(output))
    if model.task is not ORDINAL:
        return columns
    if output.logits.shape[1] == 1:
        return torch.cat([columns, output.logits.float()], 1)
    grades = torch.arange(columns.shape[1], dtype=columns.dtype, device=columns.device)
    return torch.cat([columns, model.task.probabilities(columns) @ grades[:, None]], 1)


@torch.no_grad()
def probabilities_of(model: Model, output: Output) -> np.ndarray:
    """Return the probabilities BxC of an output, of both classes for a binary task; of a regression the numbers."""
    return np.asarray(model.task.probabilities(model.task.class_logits(model.logits(output))).cpu().numpy())


def raw_maps(
    model: Model, layers: Sequence[Layer], method: str, batch: Batch, choose: Choose
) -> tuple[np.ndarray, np.ndarray, dict[str, Tensor]]:
    """Pass a batch through a frozen network in eval mode once, and back once for all layers together.

    No weight needs a gradient, and the graph begins at the first of the layers: nothing before it is kept.

    Args:
        model: its weights must not require gradients.
        layers: the layers to explain; for `cam` the one of `cam_layer`.
        method: a name of `METHODS`.
        batch: normalised, on the device.
        choose: selects the column of `scores` to explain for each image.

    Returns:
        Probabilities BxC (of both classes for a binary task), the chosen columns B, and by layer name its maps Bxhxw,
        0 or above, not scaled.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            kept[name] = output if output.requires_grad or method == "cam" else output.detach().requires_grad_()
            # The next module may work in place, and must not change what is kept.
            return kept[name].clone()

        return hook

    hooks = [model.network.get_submodule(layer.name).register_forward_hook(keep(layer.name)) for layer in layers]
    try:
        with torch.set_grad_enabled(method != "cam"):
            # Not `network(...)`: hooks would break a compiled network into pieces, each compiled again.
            output = model.network.forward(batch.images, batch.metadata)
    finally:
        for hook in hooks:
            hook.remove()
    probabilities = probabilities_of(model, output)
    columns = choose(probabilities)
    if method == "cam":
        (layer,) = layers
        classifier: Tensor = model.network.head.weights()  # type: ignore[union-attr, operator]
        # The weights of the metadata follow those of the map.
        weights = (_through_link(model, output, columns) @ classifier)[:, : layer.channels, None, None]
        return probabilities, columns, {layer.name: _weighted(kept[layer.name], weights)}
    gradients = torch.autograd.grad(chosen_score(model, output, columns), [kept[layer.name] for layer in layers])
    maps = {}
    for layer, gradient in zip(layers, gradients, strict=True):
        maps[layer.name] = BY_GRADIENT[method](layer.map(kept[layer.name].detach()), layer.map(gradient))
    return probabilities, columns, maps


def chosen_score(model: Model, output: Output, columns: np.ndarray) -> Tensor:
    """Sum the chosen column of each image: as none depends on another image, the gradient is each image's own."""
    found = scores(model, output)
    return found.gather(1, torch.from_numpy(columns).to(found.device)[:, None]).sum()


@torch.enable_grad()
def _through_link(model: Model, output: Output, columns: np.ndarray) -> Tensor:
    """Return how the chosen column of each image rises with the network's own logits, BxK: 1 for a class's logit."""
    own = output.logits.detach().float().requires_grad_()
    return torch.autograd.grad(chosen_score(model, Output(own, output.embedding), columns), own)[0]


def cam_layer(model: Model, layers: dict[str, Layer], names: Sequence[str] | None) -> Layer:
    """Return the layer of `cam`, the network's last map; a `KitError` if the logits are not a weighted sum of it."""
    instead = "drop --method cam"
    if names is not None:
        raise KitError("cam shows only the last map of the network: drop --layers, or --method cam")
    network = model.network
    weigh = getattr(network.head, "weights", None) if isinstance(network, Network) else None
    if weigh is None:
        raise KitError(f"cam needs a head that weighs the averaged map itself, such as linear: {instead}")
    weights = weigh()
    logits, embedding = (torch.zeros(1, width, device=weights.device) for width in weights.shape)
    with torch.enable_grad():
        predicted = model.logits(Output(logits.requires_grad_(), embedding)).sum()
    if not predicted.requires_grad or torch.autograd.grad(predicted, logits, allow_unused=True)[0] is None:
        raise KitError(f"cam needs a classifier on the pooled map, but the loss of this run has its own: {instead}")
    if "body" not in layers or layers["body"].form != "channels first":
        raise KitError(f"cam needs a map before the pooling, but this network pools by itself: {instead}")
    return layers["body"]


def at_size(maps: Tensor, size: int) -> Tensor:
    """Resize maps Bxhxw, 0 or above, to BxSxS, bilinear, each divided by its maximum: 0..1; zeros stay zeros."""
    large = functional.interpolate(maps[:, None].float(), (size, size), mode="bilinear", align_corners=False)[:, 0]
    return large / large.amax((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
