"""A network: a body that computes a feature map, and a head that computes logits and an embedding from it."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kit.errors import KitError, nearest

RGB = 3


class Output(NamedTuple):
    """What every network returns: logits BxK and the embedding BxD they were computed from."""

    logits: Tensor
    embedding: Tensor


@dataclass(frozen=True)
class HeadOptions:
    """What a head may have other than its usual layers.

    Args:
        dropout: share of the features dropped in front of the last layer; None: the head's own.
        batch_norm: whether its features are batch-normalised; None: the head's own.
        two_units: one logit from two softmax units (`TwoUnits`).
    """

    dropout: float | None = None
    batch_norm: bool | None = None
    two_units: bool = False


class HeadName(str):
    """The name of a head with its options: plugins hand on what they get as `ModelRequest.head`, so they need not know.

    A plain `str` is a head with its usual layers.
    """

    options: HeadOptions

    def __new__(cls, name: str, options: HeadOptions = HeadOptions()) -> "HeadName":
        """Return the name with its options."""
        self = super().__new__(cls, name)
        self.options = options
        return self


class TwoUnits(nn.Linear):
    """Two softmax units as one logit: their difference, whose sigmoid is the second unit's softmax. BxD -> Bx1.

    Losses, metrics and whatever else takes a binary task's one logit need not know.
    """

    def __init__(self, features: int, bias: bool = True) -> None:
        super().__init__(features, 2, bias)

    def forward(self, features: Tensor) -> Tensor:
        """BxD -> Bx1."""
        units = super().forward(features)
        return units[:, 1:] - units[:, :1]


def _last(features: int, outputs: int, options: HeadOptions, bias: bool = True) -> nn.Linear:
    if not options.two_units:
        return nn.Linear(features, outputs, bias)
    if outputs != 1:
        raise KitError(f"two_units is for binary tasks, this one has {outputs} outputs: --set two_units=false")
    return TwoUnits(features, bias)


class LinearHead(nn.Module):
    """Global average pooling, the metadata appended to the pooled features, one linear layer.

    The embedding is the input of that layer, of width F + E: a margin loss on it sees the metadata too. On request it
    is batch-normalised, and dropout comes after it.
    """

    def __init__(self, features: int, outputs: int, metadata: int, options: HeadOptions = HeadOptions()) -> None:
        super().__init__()
        width = features + metadata
        self.norm = nn.BatchNorm1d(width) if options.batch_norm else nn.Identity()
        self.dropout = nn.Dropout(options.dropout) if options.dropout else nn.Identity()
        self.classifier = _last(width, outputs, options)

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        """Map a feature map BxFxhxw, or already pooled features BxF, and metadata BxE to an output."""
        embedding = self.norm(_append(features.mean((2, 3)) if features.ndim == 4 else features, metadata))
        return Output(self.classifier(self.dropout(embedding)), embedding)

    def weights(self) -> Tensor:
        """Return how much each pooled feature counts for each logit when it predicts, Kx(F + E)."""
        weights = self.classifier.weight
        if isinstance(self.classifier, TwoUnits):
            weights = weights[1:] - weights[:1]
        if isinstance(self.norm, nn.BatchNorm1d) and self.norm.running_var is not None:
            weights = weights * self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        return weights


class ConcatPoolHead(nn.Module):
    """fastai's head (Howard and Gugger 2020): maximum and average pooling side by side, one hidden layer of 512.

    BN, dropout .25, linear 512, ReLU, BN, dropout .5, linear; both linear layers without bias, as in fastai. The
    metadata is appended to the pooled features. The embedding is the 512 features after the second BN: the logits are
    computed from it alone, a margin loss on it trains the hidden layer, and BN centres it, so angles use the whole
    sphere. Of another dropout, the first layer has half, as of fastai's `ps`.
    """

    WIDTH = 512

    def __init__(self, features: int, outputs: int, metadata: int, options: HeadOptions = HeadOptions()) -> None:
        super().__init__()
        pooled = 2 * features + metadata
        dropout = 0.5 if options.dropout is None else options.dropout
        norm = nn.Identity if options.batch_norm is False else nn.BatchNorm1d
        self.hidden = nn.Sequential(
            norm(pooled),
            nn.Dropout(dropout / 2),
            nn.Linear(pooled, self.WIDTH, bias=False),
            nn.ReLU(inplace=True),
            norm(self.WIDTH),
        )
        self.classifier = nn.Sequential(nn.Dropout(dropout), _last(self.WIDTH, outputs, options, bias=False))

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        """Map a feature map BxFxhxw and metadata BxE to an output; pooled features or tokens raise `KitError`."""
        _need_map(features, "concat_pool")
        pooled = torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)
        embedding = self.hidden(_append(pooled, metadata))
        return Output(self.classifier(embedding), embedding)


class VggHead(nn.Module):
    """The classifier of VGG (Simonyan and Zisserman 2015): average pooling to 7x7, two hidden layers of 4,096.

    Linear 4096, ReLU, dropout .5, linear 4096, ReLU, dropout .5, linear. On request a batch norm follows each hidden
    linear layer. The embedding is the input of the last dropout with the metadata appended, of width 4096 + E, so that
    the hidden layers of a pretrained network fit whatever the metadata.
    """

    POOLED, WIDTH = 7, 4096

    def __init__(self, features: int, outputs: int, metadata: int, options: HeadOptions = HeadOptions()) -> None:
        super().__init__()
        dropout = 0.5 if options.dropout is None else options.dropout
        norm = nn.BatchNorm1d if options.batch_norm else nn.Identity
        self.first = nn.Linear(features * self.POOLED**2, self.WIDTH)
        self.second = nn.Linear(self.WIDTH, self.WIDTH)
        self.after_first = nn.Sequential(norm(self.WIDTH), nn.ReLU(inplace=True), nn.Dropout(dropout))
        self.after_second = nn.Sequential(norm(self.WIDTH), nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(nn.Dropout(dropout), _last(self.WIDTH + metadata, outputs, options))

    def forward(self, features: Tensor, metadata: Tensor | None) -> Output:
        """Map a feature map BxFxhxw and metadata BxE to an output; pooled features or tokens raise `KitError`."""
        _need_map(features, "vgg")
        pooled = nn.functional.adaptive_avg_pool2d(features, self.POOLED).flatten(1)
        hidden = self.after_second(self.second(self.after_first(self.first(pooled))))
        embedding = _append(hidden, metadata)
        return Output(self.classifier(embedding), embedding)


def _need_map(features: Tensor, head: str) -> None:
    if features.ndim != 4:
        raise KitError(f"head {head} needs a feature map, which this network lacks: --set head=linear")


def _append(features: Tensor, metadata: Tensor | None) -> Tensor:
    return features if metadata is None else torch.cat([features, metadata], 1)


HEADS: dict[str, type[LinearHead] | type[ConcatPoolHead] | type[VggHead]] = {
    "linear": LinearHead,
    "concat_pool": ConcatPoolHead,
    "vgg": VggHead,
}


class Network(nn.Module):
    """A body and a head.

    Args:
        body: images BxCxHxW -> feature map BxFxhxw (or pooled features BxF).
        features: F.
        outputs: number of logits K.
        head: a name in `HEADS`; a `HeadName` carries options.
        metadata: width E of the metadata; 0 for none.
    """

    def __init__(self, body: nn.Module, features: int, outputs: int, head: str, metadata: int) -> None:
        super().__init__()
        if head not in HEADS:
            raise KitError(f"no head is called {head!r}: {nearest(head, list(HEADS))}")
        self.body = body
        self.head_options = head.options if isinstance(head, HeadName) else HeadOptions()
        self.head = HEADS[head](features, outputs, metadata, self.head_options)
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
