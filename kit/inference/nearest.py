"""Prediction by the nearest class: the embedding of an image beside the mean embedding of each class.

As in metric learning (Deng et al. 2019, ArcFace), which classifies faces that the classifier has not seen so: what
counts is the angle between embeddings. The centres are made of the images that a fold's network has learned from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kit.inference.forward import forward
from kit.model.build import Model
from kit.model.network import Output
from kit.pixels.batches import Loader

SCALE = 30.0  # of the cosine, before the softmax, as the margin losses have it


def embedding(output: Output) -> Tensor:
    """The direction of the embedding, BxD of length 1."""
    return functional.normalize(output.embedding.float(), dim=1)


@dataclass(frozen=True)
class Centres:
    """The mean direction of each class, KxD, and which classes have one."""

    directions: Tensor
    known: Tensor

    @classmethod
    def of(cls, model: Model, learned: Loader, classes: int, batch_size: int) -> "Centres":
        """The centres of a multiclass task from the samples that the network has learned from, not augmented."""
        found = torch.from_numpy(
            forward(model, learned, batch_size, has_targets=False, output_of=embedding).probabilities
        )
        target = torch.tensor(learned.samples.targets)
        sums = torch.zeros(classes, found.shape[1]).index_add_(0, target, found)
        known = torch.bincount(target, minlength=classes) > 0
        return cls(functional.normalize(sums, dim=1).to(model.runtime.device), known.to(model.runtime.device))

    def probabilities(self, output: Output) -> Tensor:
        """BxK: the softmax of the scaled cosines; a class without a centre has 0."""
        cosines = SCALE * embedding(output) @ self.directions.T
        return cosines.masked_fill(~self.known, -torch.inf).softmax(1)
