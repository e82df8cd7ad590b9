"""Losses. docs/losses.md gives the formula of each, and the configuration keys it uses."""

from typing import Final

from kit.plugin import LossSpec, hookimpl, lazy

SOFTMAX: Final = ("multiclass", "ordinal")
CLASSES: Final = ("binary", "multilabel", "multiclass", "ordinal")


@hookimpl
def kit_losses() -> list[LossSpec]:
    """Add the built-in losses."""
    return [
        LossSpec(
            "bce", lazy("kit_losses.build:bce"), ("binary", "multilabel"), "binary cross-entropy, mean over all outputs"
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
    ]
