"""Losses. docs/losses.md gives the formula of each, and the configuration keys it uses."""

from typing import TYPE_CHECKING, Final

from kit.plugin import LossSpec, hookimpl, lazy

if TYPE_CHECKING:
    from kit.plugin.data import Index

SOFTMAX: Final = ("multiclass", "ordinal")
CLASSES: Final = ("binary", "multilabel", "multiclass", "ordinal")


@hookimpl
def kit_losses() -> list[LossSpec]:
    """Add the built-in losses."""
    return [
        LossSpec(
            "bce",
            lazy("kit_losses.build:bce"),
            ("binary", "multilabel", "regression"),
            "binary cross-entropy, mean over all outputs; of numbers with bounds",
        ),
        LossSpec("cross_entropy", lazy("kit_losses.build:cross_entropy"), SOFTMAX, "softmax cross-entropy"),
        LossSpec("focal", lazy("kit_losses.build:focal"), CLASSES, "cross-entropy that down-weights easy samples"),
        LossSpec(
            "soft_f1",
            lazy("kit_losses.build:soft_f1"),
            CLASSES,
            "1 - macro F1 of the batch, from probabilities instead of predicted classes",
        ),
        LossSpec(
            "lovasz",
            lazy("kit_losses.build:lovasz"),
            ("binary", "multilabel"),
            "Lovasz hinge: the Jaccard index of each class",
        ),
        LossSpec(
            "arcface",
            lazy("kit_losses.build:arcface"),
            SOFTMAX,
            "softmax of angles to class centres, with an angular margin",
        ),
        LossSpec(
            "cosface",
            lazy("kit_losses.build:cosface"),
            SOFTMAX,
            "softmax of angles to class centres, with a cosine margin",
        ),
        LossSpec("ordinal_mse", lazy("kit_losses.build:ordinal_mse"), ("ordinal",), "squared error of the grade", _one),
        LossSpec(
            "ordinal_smooth_l1",
            lazy("kit_losses.build:ordinal_smooth_l1"),
            ("ordinal",),
            "smooth L1 error of the grade",
            _one,
        ),
        LossSpec(
            "coral", lazy("kit_losses.build:coral"), ("ordinal",), "one score, a threshold between grades each", _one
        ),
        LossSpec(
            "corn", lazy("kit_losses.build:corn"), ("ordinal",), "is it above this grade, given at least it?", _between
        ),
        LossSpec("mse", lazy("kit_losses.build:mse"), ("regression",), "squared error"),
        LossSpec("smooth_l1", lazy("kit_losses.build:smooth_l1"), ("regression",), "squared error, linear beyond 1"),
        LossSpec("mae", lazy("kit_losses.build:mae"), ("regression",), "absolute error"),
    ]


def _one(index: "Index") -> int:
    """Return one logit: a score."""
    return 1


def _between(index: "Index") -> int:
    """Return one logit less than grades: one between each and the next."""
    return len(index.classes) - 1
