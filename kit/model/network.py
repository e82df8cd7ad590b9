"""A network: a body that computes a feature map, and a head that computes logits and an embedding from it."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kit.errors import KitError
from kit.hooks.foreign import Foreign
from kit.hooks.learning import HeadRequest, HeadSpec
from kit.hooks.manager import BUILT_IN_MODULES
from kit.hooks.registry import installed

RGB = 3


class Output(NamedTuple):
    """What every network returns: logits BxK and the embedding BxD they were computed from."""

    logits: Tensor
    embedding: Tensor


# The options of a head, and the keys of the configuration that set them.
KEYS = {"dropout": "head_dropout", "batch_norm": "head_batch_norm", "two_units": "two_units"}


@dataclass(frozen=True)
class HeadOptions:
    """What a head may have other than its usual layers: fields of `HeadRequest`.

    Args:
        dropout: share of the features dropped in front of the last layer; None: the head's own.
        batch_norm: whether its features are batch-normalised; None: the head's own.
        two_units: one logit from two softmax units (`TwoUnits`).
    """

    dropout: float | None = None
    batch_norm: bool | None = None
    two_units: bool = False


class HeadName(str):
    """The name of a head, with what builds it: plugins hand on `ModelRequest.head` and need not know."""

    spec: HeadSpec
    options: HeadOptions

    def __new__(cls, spec: HeadSpec, options: HeadOptions = HeadOptions()) -> "HeadName":
        """Return the name of a head; raise `KitError` if it does not take one of the options."""
        self = super().__new__(cls, spec.name)
        self.spec, self.options = spec, options
        for option, key in KEYS.items():
            if option not in spec.options and getattr(options, option) != getattr(HeadOptions(), option):
                able = "choose another head (kit list heads)"
                raise KitError(f"head {spec.name} takes no {key}: drop {key}, or {able}")
        return self

    @classmethod
    def of(cls, name: str) -> "HeadName":
        """Return a name as it is, or that of an installed head without options."""
        return name if isinstance(name, HeadName) else cls(installed().heads.get(name))

    @property
    def stranger(self) -> str:
        """What people call a head of a stranger's plugin; empty for a built-in one."""
        build = self.spec.build
        if not isinstance(build, Foreign) or build.package in BUILT_IN_MODULES:
            return ""
        return f"head {self} ({build.plugin})"

    def build(self, features: int, outputs: int, metadata: int) -> nn.Module:
        """Build the head for F features, K outputs and E columns of metadata."""
        return self.spec.build(HeadRequest(str(self), features, outputs, metadata, **vars(self.options)))


def only_averages(head: str) -> bool:
    """Return whether a head only averages a feature map, so that a network may pool by itself (`HeadSpec.average`)."""
    return HeadName.of(head).spec.average


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


def last_layer(features: int, request: HeadRequest, bias: bool = True) -> nn.Linear:
    """Return the last layer of a head: linear, or `TwoUnits` if the request says so (binary tasks only)."""
    if not request.two_units:
        return nn.Linear(features, request.outputs, bias)
    if request.outputs != 1:
        raise KitError(f"two_units is for binary tasks, this one has {request.outputs} outputs: --set two_units=false")
    return TwoUnits(features, bias)


def need_map(features: Tensor, head: str) -> None:
    """Raise `KitError` if features are no map BxFxhxw, which this head needs."""
    if features.ndim != 4:
        raise KitError(f"head {head} needs a feature map, which this network lacks: --set head=linear")


def with_metadata(features: Tensor, metadata: Tensor | None) -> Tensor:
    """Append metadata BxE, if there is any, to features BxF."""
    return features if metadata is None else torch.cat([features, metadata], 1)


class Network(nn.Module):
    """A body and a head.

    Args:
        body: images BxCxHxW -> feature map BxFxhxw (or pooled features BxF).
        features: F.
        outputs: number of logits K.
        head: `ModelRequest.head`; or the name of an installed head, with its usual layers.
        metadata: width E of the metadata; 0 for none.
    """

    def __init__(self, body: nn.Module, features: int, outputs: int, head: str, metadata: int) -> None:
        super().__init__()
        name = HeadName.of(head)
        self.body = body
        self.head_options, self.strangers_head = name.options, name.stranger
        self.head = name.build(features, outputs, metadata)
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
