"""Losses. Formulas and the keys of the configuration that each takes: docs/losses.md."""

from typing import TYPE_CHECKING

from kit.errors import KitError
from kit.plugin import LossRequest, LossSpec, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn


@hookimpl
def kit_losses() -> list[LossSpec]:
    """The built-in losses."""
    return [
        LossSpec("bce", _bce, ("binary", "multilabel"), "binary cross-entropy, mean over all outputs"),
        LossSpec("cross_entropy", _cross_entropy, ("multiclass",), "softmax cross-entropy"),
        LossSpec("focal", _focal, description="cross-entropy that weighs easy samples down"),
        LossSpec("soft_f1", _soft_f1, description="1 - macro F1 of the batch, with probabilities for decisions"),
        LossSpec("lovasz", _lovasz, ("binary", "multilabel"), "Lovasz hinge: the Jaccard index of each class"),
        LossSpec("arcface", _arcface, ("multiclass",), "softmax of angles to class centres, with an angular margin"),
        LossSpec("cosface", _cosface, ("multiclass",), "softmax of angles to class centres, with a cosine margin"),
    ]


def _bce(request: LossRequest) -> "nn.Module":
    from kit_losses.classification import BinaryCrossEntropy

    return BinaryCrossEntropy(_weights(request), request.config.label_smoothing, request.config.bce_factor)


def _cross_entropy(request: LossRequest) -> "nn.Module":
    from kit_losses.classification import CrossEntropy

    return CrossEntropy(_weights(request), request.config.label_smoothing)


def _focal(request: LossRequest) -> "nn.Module":
    from kit_losses.classification import SigmoidFocal, SoftmaxFocal

    config, weights = request.config, _weights(request)
    if request.index.task != "multiclass":
        return SigmoidFocal(config.focal_gamma, config.focal_alpha, weights, config.label_smoothing)
    if config.focal_alpha is not None:
        raise KitError(
            "focal_alpha weighs positives against negatives, and in a multiclass task every class is both: "
            "--set focal_alpha=none, and --set class_weights=balanced to weigh classes"
        )
    return SoftmaxFocal(config.focal_gamma, weights, config.label_smoothing)


def _soft_f1(request: LossRequest) -> "nn.Module":
    from kit_losses.sets import SoftF1

    return SoftF1(softmax=request.index.task == "multiclass")


def _lovasz(request: LossRequest) -> "nn.Module":
    from kit_losses.sets import Lovasz

    return Lovasz()


def _arcface(request: LossRequest) -> "nn.Module":
    from kit_losses.margins import ArcFace

    config, classes = request.config, request.index.outputs
    return ArcFace(
        request.embedding, classes, config.margin, config.margin_scale, _weights(request), config.label_smoothing
    )


def _cosface(request: LossRequest) -> "nn.Module":
    from kit_losses.margins import CosFace

    config, classes = request.config, request.index.outputs
    return CosFace(
        request.embedding, classes, config.margin, config.margin_scale, _weights(request), config.label_smoothing
    )


def _weights(request: LossRequest) -> "Tensor | None":
    """Of positives (sigmoids) or of classes (softmax), where the configuration wants them balanced."""
    from kit_losses.targets import class_weights, positive_weights

    if request.config.class_weights == "none":
        return None
    return (class_weights if request.index.task == "multiclass" else positive_weights)(request.index)
