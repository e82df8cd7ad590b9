"""Helpers shared by the losses: the precision of logits, the two forms of a target, weights from class counts."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from kit.plugin.data import Index


def precise(values: Tensor) -> Tensor:
    """Return the values in float32 or better: AMP's half precision is too coarse for sums, logarithms and angles."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def class_shares(target: Tensor, like: Tensor) -> Tensor:
    """Return class numbers B as one-hot rows, class shares BxK (of mixup) as they are; in the dtype of logits BxK."""
    hot = target if target.is_floating_point() else functional.one_hot(target, like.shape[1])
    return hot.to(like.dtype)


def labels_of(target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row, the class number and the share of every label in a multiclass batch; n each.

    Class numbers B give one label per row; class shares BxK (of mixup, which mixes two images) give two, of which one
    may have no share. Their number does not depend on the values, which need not be read from the device.
    """
    if target.is_floating_point():
        shares, classes = target.topk(min(2, target.shape[1]), 1)
        rows = torch.arange(len(target), device=target.device)[:, None].expand_as(classes)
        return rows.flatten(), classes.flatten(), shares.flatten()
    return torch.arange(len(target), device=target.device), target, torch.ones_like(target)


def positive_weights(index: "Index") -> Tensor:
    """Return negatives divided by positives for each output, over the training ids: K (binary: 1)."""
    counts = index.class_counts()
    positives = torch.tensor([counts[name] for name in index.output_names], dtype=torch.float32)
    # The weight of a class without positives is never used: any finite number will do.
    return (index.labelled["id"].nunique() - positives) / positives.clamp(min=1)


def class_weights(index: "Index") -> Tensor:
    """Return n / (K x count of the class), K: mean 1 over the training ids, so that the loss keeps its scale."""
    counts = torch.tensor(list(index.class_counts().values()), dtype=torch.float32)
    return counts.sum() / (len(counts) * counts.clamp(min=1))
