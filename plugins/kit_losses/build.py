"""Build losses from the configuration of a run."""

from torch import Tensor, nn

from kit.errors import KitError
from kit.plugin import LossRequest
from kit_losses.classification import BinaryCrossEntropy, CrossEntropy, SigmoidFocal, SoftmaxFocal
from kit_losses.margins import ArcFace, CosFace
from kit_losses.sets import Lovasz, SoftF1
from kit_losses.targets import class_weights, positive_weights


def bce(request: LossRequest) -> nn.Module:
    """Build binary cross-entropy."""
    return BinaryCrossEntropy(_weights(request), request.config.label_smoothing, request.config.bce_factor)


def cross_entropy(request: LossRequest) -> nn.Module:
    """Build softmax cross-entropy."""
    return CrossEntropy(_weights(request), request.config.label_smoothing)


def focal(request: LossRequest) -> nn.Module:
    """Build the focal loss, for sigmoids or a softmax.

    Raises:
        KitError: `focal_alpha` is set for a multiclass task.
    """
    config, weights = request.config, _weights(request)
    if not request.index.task.softmax:
        return SigmoidFocal(config.focal_gamma, config.focal_alpha, weights, config.label_smoothing)
    if config.focal_alpha is not None:
        raise KitError(
            "focal_alpha weighs positives against negatives, and in a multiclass task every class is both: "
            "--set focal_alpha=none, and --set class_weights=balanced to weight classes"
        )
    return SoftmaxFocal(config.focal_gamma, weights, config.label_smoothing)


def soft_f1(request: LossRequest) -> nn.Module:
    """Build the soft macro F1 loss."""
    return SoftF1(softmax=request.index.task.softmax)


def lovasz(request: LossRequest) -> nn.Module:
    """Build the Lovasz hinge."""
    return Lovasz()


def arcface(request: LossRequest) -> nn.Module:
    """Build ArcFace, with its own class centres."""
    config, classes = request.config, request.index.outputs
    return ArcFace(
        request.embedding, classes, config.margin, config.margin_scale, _weights(request), config.label_smoothing
    )


def cosface(request: LossRequest) -> nn.Module:
    """Build CosFace, with its own class centres."""
    config, classes = request.config, request.index.outputs
    return CosFace(
        request.embedding, classes, config.margin, config.margin_scale, _weights(request), config.label_smoothing
    )


def _weights(request: LossRequest) -> Tensor | None:
    """Return weights of positives (sigmoids) or classes (softmax); None unless `class_weights` is `balanced`."""
    if request.config.class_weights == "none":
        return None
    return (class_weights if request.index.task.softmax else positive_weights)(request.index)
