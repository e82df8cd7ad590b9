"""What plugins return for the network's side: networks, heads, losses, optimisers and steps of augmentation.

Small frozen records of names and callables, as in `kit.hooks.specs`, whose rules and letters of shapes hold here too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from kit.hooks.specs import TASK_NAMES, TaskName

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from kit.config import TrainConfig
    from kit.data.index import Index


@dataclass(frozen=True)
class ModelRequest:
    """The network to build, anew for every fold.

    Args:
        name: the full name asked for; a family `timm/*` finds its network's own name after the slash.
        channels: number of input channels C; a pretrained stem is widened to it (`kit.plugin.network.widen_stem`).
        outputs: number of logits K.
        head: name of the head; hand it on to `kit.plugin.network.Network`, for which it carries what builds the head.
        metadata: number of metadata columns E; 0 for none.
        pretrained: start from pretrained weights; raise `KitError` if they are not available.
    """

    name: str
    channels: int
    outputs: int
    head: str
    metadata: int
    pretrained: bool


@dataclass(frozen=True)
class ModelSpec:
    """A network by name, or a family of networks.

    Args:
        name: unique among the installed plugins; a trailing `/*` makes it a family.
        build: (request) -> module whose `forward(images, metadata)` takes normalised float images BxCxHxW and metadata
            BxE (or None) and returns `kit.plugin.network.Output(logits BxK, embedding BxD)`.
        description: half a line for `kit models`.
        mean: mean per channel that its pretrained weights expect, for pixels scaled to 0..1. If the data has more
            channels, the values repeat. Default: that of ImageNet.
        std: standard deviation per channel, likewise; all above 0.
        statistics: (full name) -> (mean, std), for a family whose networks differ in them; replaces `mean` and `std`.
        offline: (full name) -> whether its pretrained weights are on this disk; None if it has no pretrained weights.
            Default: no network of this spec has any.
        names: (shell pattern such as `timm/resnet*`) -> full names of the family's networks that match, for
            `kit models`. Default: the networks of the family are not listed.
    """

    name: str
    build: Callable[[ModelRequest], "nn.Module"]
    description: str = ""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    statistics: Callable[[str], tuple[tuple[float, ...], tuple[float, ...]]] | None = None
    offline: Callable[[str], bool | None] | None = None
    names: Callable[[str], list[str]] | None = None


@dataclass(frozen=True)
class LossRequest:
    """The loss to build, anew for every fold.

    Args:
        config: the run's configuration.
        index: the competition's samples, for example for class weights from class counts.
        embedding: width D of the network's embedding, for losses with their own classifier.
    """

    config: "TrainConfig"
    index: "Index"
    embedding: int


@dataclass(frozen=True)
class LossSpec:
    """A loss by name.

    Args:
        name: unique among the installed plugins.
        build: (request) -> module called with (`Output`, `Batch`) that returns a scalar, the mean over the batch. A
            loss that predicts from something else than the network's logits (a margin loss from its own classifier on
            the embedding, an ordinal loss from one score) also has a method `logits(output)` -> BxK of the task's own
            outputs K, which prediction uses in place of `output.logits`.
        tasks: the tasks it can be used for; default: all.
        description: half a line for lists.
        outputs: (index) -> number of logits that the network must have, for a loss that needs another number than the
            task's outputs; it then has a method `logits`. Default: the task's.
    """

    name: str
    build: Callable[[LossRequest], "nn.Module"]
    tasks: tuple[TaskName, ...] = TASK_NAMES
    description: str = ""
    outputs: "Callable[[Index], int] | None" = None


@dataclass(frozen=True)
class HeadRequest:
    """The head to build, anew for every network.

    Args:
        name: of the head.
        features: channels F of the feature map.
        outputs: number of logits K.
        metadata: number of metadata columns E; 0 for none.
        dropout: share of the features dropped in front of the last layer; None: the head's own.
        batch_norm: whether its features are batch-normalised; None: the head's own.
        two_units: one logit from two softmax units (binary tasks).
    """

    name: str
    features: int
    outputs: int
    metadata: int
    dropout: float | None = None
    batch_norm: bool | None = None
    two_units: bool = False


@dataclass(frozen=True)
class HeadSpec:
    """A head by name: what makes logits of a network's features.

    Args:
        name: unique among the installed plugins.
        build: (request) -> module whose `forward(features, metadata)` takes a feature map BxFxhxw, or pooled features
            BxF, and metadata BxE (or None), and returns `kit.plugin.network.Output(logits BxK, embedding BxD)`.
            With a method `weights()` -> Kx(F + E), how much each feature of the averaged map counts for each logit,
            it has class activation maps (`kit gradcam --method cam`).
        description: half a line for lists.
        options: which of `dropout`, `batch_norm` and `two_units` it heeds; a configuration that sets another is
            refused.
        average: it only averages a feature map, so a network may hand it features that are pooled in its own way, BxF.
            Other heads get maps, or tokens BxNxF of networks that work on these.
    """

    name: str
    build: Callable[[HeadRequest], "nn.Module"]
    description: str = ""
    options: tuple[str, ...] = ()
    average: bool = False


@dataclass(frozen=True)
class OptimizerRequest:
    """The optimiser to build, anew for every fold.

    Args:
        config: the run's configuration.
        groups: groups of parameters as torch takes them: `params`, `weight_decay` and `scale`, the group's share of the
            schedule's learning rate, which must be kept.
        lr: the peak learning rate.
    """

    config: "TrainConfig"
    groups: list[dict[str, Any]]
    lr: float


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimiser by name.

    Args:
        name: unique among the installed plugins.
        build: (request) -> optimiser.
        description: half a line for lists.
    """

    name: str
    build: Callable[[OptimizerRequest], "torch.optim.Optimizer"]
    description: str = ""


# The steps that the configuration has keys for: they share their draws, one warp and one table (`kit.pixels.warp`), so
# that an image is interpolated once, whatever is done to it.
FusedStep = Literal[
    "flip",
    "flip_vertical",
    "rot90",
    "rotate",
    "zoom",
    "shift",
    "shear",
    "brightness",
    "brightness_range",
    "contrast",
]
FUSED_STEPS: tuple[FusedStep, ...] = get_args(FusedStep)


@dataclass(frozen=True)
class AugmentationRequest:
    """What to draw for B images.

    Args:
        strength: the number after the step's name in the configuration; `low` to `high` of the step.
        uniform: (S) -> BxS float64 numbers in [0, 1), from each image's own seed: the same at every call.
        size: side of the images in pixels.
        channels: C.
    """

    strength: float
    uniform: Callable[[int], "np.ndarray"]
    size: int
    channels: int


@dataclass(frozen=True)
class AugmentationSpec:
    """A step of augmentation by name, asked for with `--set steps=NAME=STRENGTH`.

    What is done to an image is drawn first, as some numbers, and applied by one of two functions that agree: `array` on
    the CPU, image by image, in threads, and `tensor` beside a GPU, batch by batch. Both may return any number type: kit
    rounds and clips to whole grey levels. Neither may change what it is given.

    Args:
        name: unique among the installed plugins.
        draw: (request) -> parameters BxP, of each image from its own row of uniform numbers alone. P may depend on
            strength, size and channels.
        array: (HxWxC uint8, its parameters P float32) -> HxWxC, with NumPy or OpenCV; any number of channels.
        tensor: (BxCxHxW float32 of whole grey levels 0..255, parameters BxP float32) -> BxCxHxW, with torch; must not
            wait for the device (no `.item()`, no `if` on a tensor, no tensor made of Python numbers).
        low, high: the strengths that it takes; low changes nothing.
        description: half a line for lists: what it does, and what the strength means.
        text: (parameters P of an image) -> what was drawn, in some words, for `kit explore --augmented`. Default: the
            name and the numbers.
    """

    name: str
    draw: Callable[[AugmentationRequest], "np.ndarray"]
    array: Callable[["np.ndarray", "np.ndarray"], "np.ndarray"]
    tensor: Callable[["Tensor", "Tensor"], "Tensor"]
    low: float = 0.0
    high: float = 1.0
    description: str = ""
    text: Callable[["np.ndarray"], str] | None = None
