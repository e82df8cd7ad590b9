"""A network: a body that gives a feature map, and a head that gives logits and an embedding."""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kit.errors import KitError, nearest


class Output(NamedTuple):
    """What every network gives: logits BxK and the embedding BxD from which they were made."""

    logits: Tensor
    embedding: Tensor


class LinearHead(nn.Module):
    """Global average pooling, the extra inputs beside the pooled features, one linear layer."""

    def __init__(self, features: int, outputs: int, extras: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(features + extras, outputs)

    def forward(self, features: Tensor, extras: Tensor | None) -> Output:
        """Feature map BxFxhxw, or already pooled BxF, and extras BxE -> output."""
        embedding = features.mean((2, 3)) if features.ndim == 4 else features
        joined = embedding if extras is None else torch.cat([embedding, extras], 1)
        return Output(self.classifier(joined), embedding)


HEADS: dict[str, type[LinearHead]] = {"linear": LinearHead}


class Network(nn.Module):
    """Body and head.

    Args:
        body: images BxCxHxW -> feature map BxFxhxw (or pooled features BxF).
        features: F.
        outputs: number of logits K.
        head: a name of `HEADS`.
        extras: width E of the second input; 0 for none.
    """

    def __init__(self, body: nn.Module, features: int, outputs: int, head: str, extras: int) -> None:
        super().__init__()
        if head not in HEADS:
            raise KitError(f"no head is called {head!r}: {nearest(head, list(HEADS))}")
        self.body = body
        self.head = HEADS[head](features, outputs, extras)
        self.takes_extras = extras > 0

    def forward(self, images: Tensor, extras: Tensor | None = None) -> Output:
        """Normalised images BxCxHxW, extras BxE -> logits BxK and embedding."""
        return self.head(self.body(images), extras if self.takes_extras else None)


def widen_stem(body: nn.Module, channels: int) -> None:
    """Give a three-channel body another number of input channels, in place.

    The RGB filters are copied as often as they fit, the mean filter fills the rest, and all are scaled by 3/channels:
    the response to grey input (equal channels) stays the same.
    """
    for name, layer in body.named_modules():
        if isinstance(layer, nn.Conv2d):
            if layer.in_channels != channels:
                parent, _, attribute = name.rpartition(".")
                setattr(body.get_submodule(parent), attribute, _widened(layer, channels))
            return
    raise KitError(f"the network has no convolution whose input could take {channels} channels: choose another --model")


def _widened(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    weight = layer.weight.detach()
    copies, rest = divmod(channels, weight.shape[1])
    parts = [weight] * copies + [weight.mean(1, keepdim=True)] * rest
    # A copy keeps subclasses of Conv2d (timm's same padding) as they are.
    wide = deepcopy(layer)
    wide.in_channels = channels
    wide.weight = nn.Parameter(torch.cat(parts, 1) * (weight.shape[1] / channels))
    return wide
