"""Predict the nearest class: compare the embedding of an image with the mean embedding of each class.

What counts is the angle between embeddings, as in metric learning (Deng et al. 2019, ArcFace), where it classifies
faces that the classifier has never seen. The centres come from the training images of a fold's network.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kit.inference.forward import forward
from kit.model.build import Model
from kit.model.memory import AtOnce
from kit.model.network import Output
from kit.pixels.batches import Loader

SCALE = 30.0  # of the cosine before the softmax, as in the margin losses


def embedding(output: Output) -> Tensor:
    """Return the direction of the embedding, BxD of length 1."""
    return functional.normalize(output.embedding.float(), dim=1)


@dataclass(frozen=True)
class Centres:
    """The mean direction of each class, KxD, and which classes have one."""

    directions: Tensor
    known: Tensor

    @classmethod
    def of(
        cls, model: Model, learned: Loader, classes: int, batch_size: int, at_once: AtOnce | None = None
    ) -> "Centres":
        """Compute the centres of a multiclass task from the network's training samples, not augmented."""
        found = torch.from_numpy(
            forward(model, learned, batch_size, has_targets=False, output_of=embedding, at_once=at_once).probabilities
        )
        target = torch.tensor(learned.samples.targets)
        sums = torch.zeros(classes, found.shape[1]).index_add_(0, target, found)
        known = torch.bincount(target, minlength=classes) > 0
        return cls(functional.normalize(sums, dim=1).to(model.runtime.device), known.to(model.runtime.device))

    def probabilities(self, output: Output) -> Tensor:
        """Return the softmax of the scaled cosines, BxK; a class without a centre has 0."""
        cosines = SCALE * embedding(output) @ self.directions.T
        return cosines.masked_fill(~self.known, -torch.inf).softmax(1)
