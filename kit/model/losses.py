"""A loss by name, or a weighted sum of losses: `0.8*cross_entropy+0.2*arcface`."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.hooks.specs import LossRequest, LossSpec
from kit.model.network import Output
from kit.pixels.batches import Batch


@dataclass(frozen=True)
class Term:
    """One loss of a sum and its weight."""

    weight: float
    spec: LossSpec


def loss_terms(text: str, registry: Registry, task: str) -> list[Term]:
    """Read the configuration's `loss`: names joined by `+`, each with a weight before it (`0.8*`) or without (1).

    Malformed sums, unknown names and losses that don't fit the task are a `KitError`.
    """
    terms = []
    for part in text.split("+"):
        number, star, name = part.rpartition("*")
        weight = _weight(number) if star else 1.0
        if not name.strip() or weight is None:
            raise KitError(
                f"loss {text!r}: {part.strip()!r} is no term of a sum (a weight above 0 and a name): "
                "write it as in 0.8*cross_entropy+0.2*arcface"
            )
        spec = registry.losses.get(name.strip())
        if task not in spec.tasks:
            fitting = ", ".join(other.name for other in registry.losses if task in other.tasks)
            raise KitError(
                f"loss {spec.name} is for {' and '.join(spec.tasks)} tasks, this one is {task}: "
                f"--set loss=NAME, of {fitting}"
            )
        terms.append(Term(weight, spec))
    return terms


def _weight(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if 0 < weight < math.inf else None


def build_loss(terms: list[Term], request: LossRequest) -> nn.Module:
    """The loss of `loss_terms` for one fold: a single loss as its plugin builds it, a weighted one as a sum."""
    losses = [term.spec.build(request) for term in terms]
    weights = [term.weight for term in terms]
    return losses[0] if weights == [1] else WeightedSum(losses, weights)


class WeightedSum(nn.Module):
    """The sum of losses, each by its weight. The term of the largest weight (the first of equals) predicts."""

    def __init__(self, losses: list[nn.Module], weights: list[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = weights

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Output and batch, as the terms take them -> scalar."""
        values = [weight * loss(output, batch) for weight, loss in zip(self.weights, self.losses, strict=True)]
        return torch.stack(values).sum()

    def logits(self, output: Output) -> Tensor:
        """BxK: of the heaviest term's own classifier where it has one, otherwise the network's."""
        return predicting_logits(self.losses[self.weights.index(max(self.weights))], output)


def predicting_logits(loss: nn.Module, output: Output) -> Tensor:
    """The logits BxK that predict: of the loss's own classifier where it has one, otherwise the network's."""
    own = getattr(loss, "logits", None)
    logits: Tensor = own(output) if own is not None else output.logits
    return logits
