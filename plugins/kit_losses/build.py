"""Build losses from the configuration of a run."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kit.errors import KitError
from kit.plugin import LossRequest
from kit_losses.classification import BinaryCrossEntropy, CrossEntropy, SigmoidFocal, SoftmaxFocal
from kit_losses.margins import ArcFace, CosFace
from kit_losses.numbers import NumberLoss, share_cross_entropy
from kit_losses.ordinal import Coral, Corn, GradeError
from kit_losses.sets import Lovasz, SoftF1
from kit_losses.targets import class_weights, positive_weights


def bce(request: LossRequest) -> nn.Module:
    """Build binary cross-entropy; for bounded numbers that of their shares of the range.

    Raises:
        KitError: the numbers have no bounds.
    """
    if not request.index.task.has_classes:
        if request.config.bounds is None:
            raise KitError("bce takes numbers between bounds: --set bounds=LOW..HIGH, or --set loss=mse")
        return NumberLoss(share_cross_entropy)
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


def ordinal_mse(request: LossRequest) -> nn.Module:
    """Build the squared error of the grade."""
    return _grade_error(request, smooth=False)


def ordinal_smooth_l1(request: LossRequest) -> nn.Module:
    """Build the smooth L1 error of the grade."""
    return _grade_error(request, smooth=True)


def _grade_error(request: LossRequest, smooth: bool) -> nn.Module:
    if request.config.label_smoothing:
        raise KitError(
            "label_smoothing shares a label between grades, and this loss predicts one number: "
            "--set label_smoothing=0, or --set loss=cross_entropy"
        )
    return GradeError(request.index.outputs, smooth, _weights(request))


def coral(request: LossRequest) -> nn.Module:
    """Build CORAL, with its own biases."""
    counts = torch.tensor(list(request.index.class_counts().values()))
    return Coral(counts, _weights(request), request.config.label_smoothing)


def corn(request: LossRequest) -> nn.Module:
    """Build CORN."""
    return Corn(_weights(request), request.config.label_smoothing)


def mse(request: LossRequest) -> nn.Module:
    """Build the squared error."""
    return NumberLoss(functional.mse_loss)


def smooth_l1(request: LossRequest) -> nn.Module:
    """Build the smooth L1 error: squared up to 1, linear beyond."""
    return NumberLoss(functional.smooth_l1_loss)


def mae(request: LossRequest) -> nn.Module:
    """Build the absolute error."""
    return NumberLoss(functional.l1_loss)


def _weights(request: LossRequest) -> Tensor | None:
    """Return weights of positives (sigmoids) or classes (softmax); None unless `class_weights` is `balanced`."""
    if request.config.class_weights == "none":
        return None
    return (class_weights if request.index.task.softmax else positive_weights)(request.index)
