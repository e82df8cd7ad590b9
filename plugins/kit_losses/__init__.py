"""Losses."""

from typing import TYPE_CHECKING

from kit.plugin import LossRequest, LossSpec, hookimpl

if TYPE_CHECKING:
    from torch import nn


def _bce(request: LossRequest) -> "nn.Module":
    from kit_losses.classification import BinaryCrossEntropy

    return BinaryCrossEntropy()


def _cross_entropy(request: LossRequest) -> "nn.Module":
    from kit_losses.classification import CrossEntropy

    return CrossEntropy()


@hookimpl
def kit_losses() -> list[LossSpec]:
    """The built-in losses."""
    return [
        LossSpec("bce", _bce, ("binary", "multilabel"), "binary cross-entropy, mean over all outputs"),
        LossSpec("cross_entropy", _cross_entropy, ("multiclass",), "softmax cross-entropy"),
    ]
