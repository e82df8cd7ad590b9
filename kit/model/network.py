"""A network: a body that computes a feature map, and a head that computes logits and an embedding from it."""

from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kit.errors import KitError, nearest

RGB = 3


class Output(NamedTuple):
    """What every network returns: logits BxK and the embedding BxD they were computed from."""

    logits: Tensor
    embedding: Tensor


class LinearHead(nn.Module):
    """Global average pooling, the metadata appended to the pooled features, one linear layer.

    The embedding is the input of that layer, of width F + E: a margin loss on it sees the metadata too.
    """

    def __init__(self, features: int, outputs: int, metadata: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(features + metadata, outputs)

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        """Map a feature map BxFxhxw, or already pooled features BxF, and metadata BxE to an output."""
        embedding = _append(features.mean((2, 3)) if features.ndim == 4 else features, metadata)
        return Output(self.classifier(embedding), embedding)


class ConcatPoolHead(nn.Module):
    """fastai's head (Howard and Gugger 2020): maximum and average pooling side by side, one hidden layer of 512.

    BN, dropout .25, linear 512, ReLU, BN, dropout .5, linear; both linear layers without bias, as in fastai. The
    metadata is appended to the pooled features. The embedding is the 512 features after the second BN: the logits are
    computed from it alone, a margin loss on it trains the hidden layer, and BN centres it, so angles use the whole
    sphere.
    """

    WIDTH = 512

    def __init__(self, features: int, outputs: int, metadata: int) -> None:
        super().__init__()
        pooled = 2 * features + metadata
        self.hidden = nn.Sequential(
            nn.BatchNorm1d(pooled),
            nn.Dropout(0.25),
            nn.Linear(pooled, self.WIDTH, bias=False),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(self.WIDTH),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(self.WIDTH, outputs, bias=False))

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        """Map a feature map BxFxhxw and metadata BxE to an output; pooled features or tokens raise `KitError`."""
        if features.ndim != 4:
            raise KitError("head concat_pool needs a feature map, which this network lacks: --set head=linear")
        pooled = torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)
        embedding = self.hidden(_append(pooled, metadata))
        return Output(self.classifier(embedding), embedding)


def _append(features: Tensor, metadata: Tensor | None) -> Tensor:
    return features if metadata is None else torch.cat([features, metadata], 1)


HEADS: dict[str, type[LinearHead] | type[ConcatPoolHead]] = {"linear": LinearHead, "concat_pool": ConcatPoolHead}


class Network(nn.Module):
    """A body and a head.

    Args:
        body: images BxCxHxW -> feature map BxFxhxw (or pooled features BxF).
        features: F.
        outputs: number of logits K.
        head: a name in `HEADS`.
        metadata: width E of the metadata; 0 for none.
    """

    def __init__(self, body: nn.Module, features: int, outputs: int, head: str, metadata: int) -> None:
        super().__init__()
        if head not in HEADS:
            raise KitError(f"no head is called {head!r}: {nearest(head, list(HEADS))}")
        self.body = body
        self.head = HEADS[head](features, outputs, metadata)
        self.takes_metadata = metadata > 0

    def forward(self, images: Tensor, metadata: Tensor | None = None) -> Output:
        """Map normalised images BxCxHxW and metadata BxE to logits BxK and an embedding."""
        return self.head(self.body(images), metadata if self.takes_metadata else None)


def widen_stem(body: nn.Module, channels: int, layers: Sequence[str] = ()) -> None:
    """Change the number of input channels of a three-channel body, in place.

    The RGB filters are copied as often as they fit, the mean filter fills the rest, and all are scaled by 3/channels,
    so the response to grey input (equal channels) stays the same.

    Args:
        body: its stem must be a convolution of three channels, otherwise `KitError`.
        channels: the new number of input channels.
        layers: names of the convolutions that see the image, if not just the first one.
    """
    if channels == RGB:
        return
    for name in layers or _first_convolution(body):
        layer = body.get_submodule(name)
        if not isinstance(layer, nn.Conv2d) or layer.in_channels != RGB:
            raise KitError(f"the network's stem can't be widened to {channels} channels: choose another --model")
        parent, _, attribute = name.rpartition(".")
        setattr(body.get_submodule(parent), attribute, _widened(layer, channels))


def _first_convolution(body: nn.Module) -> list[str]:
    names = [name for name, layer in body.named_modules() if isinstance(layer, nn.Conv2d)]
    if not names:
        raise KitError("the network has no convolution whose input could be widened: choose another --model")
    return names[:1]


def _widened(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    weight = layer.weight.detach()
    copies, rest = divmod(channels, weight.shape[1])
    filters = [weight] * copies + [weight.mean(1, keepdim=True)] * rest
    # A copy keeps subclasses of Conv2d (timm's same padding) as they are.
    wide = deepcopy(layer)
    wide.in_channels = channels
    wide.weight = nn.Parameter(torch.cat(filters, 1) * (weight.shape[1] / channels))
    return wide
