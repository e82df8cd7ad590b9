"""Losses with their own classifier, by the angle between the embedding and one centre per class."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from kit.plugin.network import Batch, Output
from kit_losses.targets import labels_of, precise

# An embedding shorter than this has no direction worth learning; without a limit its gradient would explode.
SHORTEST = 1e-4


class MarginLoss(nn.Module, ABC):
    """Softmax cross-entropy of scaled cosines, with the label's own cosine reduced by a margin.

    The cosine of class c is that of the angle between the embedding and the class's centre. Each label of an image
    (several after mixup) adds a term of its own, weighted by its share.

    Args:
        embedding: width D of the embedding.
        classes: number of classes K.
        margin: see the subclass.
        scale: s, the factor on the cosines.
        weight: one per class, K; None for 1.
        smoothing: label smoothing of the cross-entropy.
    """

    weight: Tensor | None

    def __init__(
        self,
        embedding: int,
        classes: int,
        margin: float,
        scale: float,
        weight: Tensor | None = None,
        smoothing: float = 0,
    ) -> None:
        super().__init__()
        self.centres = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, embedding)))
        self.register_buffer("weight", weight, persistent=False)
        self.margin, self.scale, self.smoothing = margin, scale, smoothing

    @abstractmethod
    def with_margin(self, cosine: Tensor) -> Tensor:
        """Return the cosine of an image and its own class, reduced by the margin; any shape."""

    def logits(self, output: Output) -> Tensor:
        """Return scaled cosines without a margin, BxK: the logits used for prediction."""
        return self.scale * self._cosine(output.embedding)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Embeddings BxD and class numbers B or shares BxK -> scalar, the mean over the batch."""
        rows, classes, shares = labels_of(batch.target)
        cosine = self._cosine(output.embedding)
        own = self.with_margin(cosine[rows, classes])
        logits = self.scale * cosine[rows].scatter(1, classes[:, None], own[:, None])
        costs = functional.cross_entropy(logits, classes, self.weight, reduction="none", label_smoothing=self.smoothing)
        return (shares * costs).sum() / len(batch.target)

    def _cosine(self, embedding: Tensor) -> Tensor:
        # Autocast would compute the product in half precision.
        with torch.autocast(embedding.device.type, enabled=False):
            directions = functional.normalize(precise(embedding), eps=SHORTEST)
            return functional.linear(directions, functional.normalize(self.centres, eps=SHORTEST))


class ArcFace(MarginLoss):
    """Additive angular margin (Deng et al. 2019): cos(theta + m), m in radians, in place of cos(theta).

    Where theta + m would exceed pi and the cosine would rise again, cos(theta) - m sin(m) takes its place, as in the
    authors' code: the loss keeps falling as the angle shrinks.
    """

    def with_margin(self, cosine: Tensor) -> Tensor:
        """cos(theta) -> cos(theta + m)."""
        # Rounding can push cosines beyond 1, and the square root has an infinite slope at 0.
        sine = (1 - cosine**2).clamp(min=torch.finfo(cosine.dtype).eps).sqrt()
        shifted = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = cosine - self.margin * math.sin(self.margin)
        return torch.where(cosine > math.cos(math.pi - self.margin), shifted, beyond)


class CosFace(MarginLoss):
    """Additive cosine margin (Wang et al. 2018): cos(theta) - m in place of cos(theta)."""

    def with_margin(self, cosine: Tensor) -> Tensor:
        """cos(theta) -> cos(theta) - m."""
        return cosine - self.margin
