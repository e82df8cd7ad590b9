"""What the losses share: the precision of logits, the two forms of a target, weights by class counts."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from kit.plugin.data import Index


def precise(values: Tensor) -> Tensor:
    """The values in float32 at least: the half precision of AMP is too coarse for sums, logarithms and angles."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def class_shares(target: Tensor, like: Tensor) -> Tensor:
    """Class numbers B as one-hot rows, class shares BxK (of mixup) as they are; in the type of the logits BxK."""
    hot = target if target.is_floating_point() else functional.one_hot(target, like.shape[1])
    return hot.to(like.dtype)


def labels_of(target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every label of a multiclass batch: its row, its class number and its share; n each.

    Class numbers B give one a row; class shares BxK (of mixup) as many as are not 0.
    """
    if target.is_floating_point():
        rows, classes = target.nonzero(as_tuple=True)
        return rows, classes, target[rows, classes]
    return torch.arange(len(target), device=target.device), target, torch.ones_like(target)


def positive_weights(index: "Index") -> Tensor:
    """Negatives divided by positives of each output, over the training ids: K (binary: 1)."""
    counts = index.class_counts()
    positives = torch.tensor([counts[name] for name in index.output_names], dtype=torch.float32)
    # A class without positives is never weighed: any finite number will do.
    return (index.labelled["id"].nunique() - positives) / positives.clamp(min=1)


def class_weights(index: "Index") -> Tensor:
    """n / (K x count of the class), K: of mean 1 over the training ids, so that the loss keeps its scale."""
    counts = torch.tensor(list(index.class_counts().values()), dtype=torch.float32)
    return counts.sum() / (len(counts) * counts.clamp(min=1))
