"""A loss by name, or a weighted sum of losses: `0.8*cross_entropy+0.2*arcface`."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kit.data.index import Index
from kit.errors import KitError, PluginError
from kit.hooks.foreign import at
from kit.hooks.learning import LossRequest, LossSpec
from kit.hooks.leash import has_foreign_frame, reason
from kit.hooks.registry import Registry
from kit.hooks.returns import shown
from kit.model.network import Output
from kit.pixels.batches import Batch


@dataclass(frozen=True)
class Term:
    """One loss of a sum, with its weight."""

    weight: float
    spec: LossSpec


def loss_terms(text: str, registry: Registry, task: str) -> list[Term]:
    """Parse the configuration's `loss`: names joined by `+`, each with a weight before it (`0.8*`) or without (1).

    Malformed sums, unknown names and losses that don't fit the task raise `KitError`.
    """
    terms = []
    for summand in text.split("+"):
        number, star, name = summand.rpartition("*")
        weight = _weight(number) if star else 1.0
        if not name.strip() or weight is None:
            raise KitError(
                f"loss {text!r}: {summand.strip()!r} is not a term of a sum (a weight above 0 and a name): "
                "write it as in 0.8*cross_entropy+0.2*arcface"
            )
        spec = registry.losses.get(name.strip())
        if task not in spec.tasks:
            fitting = ", ".join(other.name for other in registry.losses if task in other.tasks)
            raise KitError(
                f"loss {spec.name} is for {', '.join(spec.tasks)} tasks, this one is {task}: "
                f"--set loss=NAME, one of {fitting}"
            )
        terms.append(Term(weight, spec))
    return terms


def _weight(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if 0 < weight < math.inf else None


def loss_outputs(terms: list[Term], index: Index) -> int:
    """Return how many logits a network must have for the losses of a sum; raise `KitError` if they differ."""
    wanted = {
        term.spec.name: index.outputs if term.spec.outputs is None else term.spec.outputs(index) for term in terms
    }
    (first, number), *others = wanted.items()
    for name, other in others:
        if other != number:
            raise KitError(
                f"loss {first} needs {number} output{'s' if number > 1 else ''} of the network and {name} {other}: "
                "they can't be added, --set loss=NAME takes one of them"
            )
    return number


def build_loss(terms: list[Term], request: LossRequest) -> nn.Module:
    """Build the loss of `loss_terms` for one fold: a single loss as its plugin builds it, a weighted one as a sum."""
    losses = [term.spec.build(request) for term in terms]
    weights = [term.weight for term in terms]
    return losses[0] if weights == [1] else WeightedSum(losses, weights)


class WeightedSum(nn.Module):
    """The weighted sum of losses. The term with the largest weight (the first of equals) predicts."""

    def __init__(self, losses: list[nn.Module], weights: list[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = weights

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum, a scalar; every term takes the output and the batch."""
        values = [weight * loss_of(loss, output, batch) for weight, loss in zip(self.weights, self.losses, strict=True)]
        return torch.stack(values).sum()

    def logits(self, output: Output) -> Tensor:
        """Return the logits BxK of the heaviest term if it has its own, otherwise the network's."""
        own = getattr(self.losses[self.weights.index(max(self.weights))], "logits", None)
        logits: Tensor = output.logits if own is None else own(output)
        return logits


def loss_of(loss: nn.Module, output: Output, batch: Batch) -> Tensor:
    """Return the loss of a batch; raise `PluginError` if it is not a scalar, or takes something else."""
    try:
        value: Tensor = loss(output, batch)
    except (TypeError, AttributeError) as error:
        if has_foreign_frame(error):
            raise  # in a plugin's code, which is told by its place
        raise _wrong(loss, f"can't take an Output and a Batch ({reason(error)})") from error
    if not isinstance(value, Tensor) or value.ndim:
        raise _wrong(loss, f"returned {shown(value)}, not a scalar tensor, the mean over the batch")
    return value


def _wrong(loss: nn.Module, what: str) -> PluginError:
    return PluginError(
        f"the loss {type(loss).__module__}.{type(loss).__qualname__} {what}: correct it{at(type(loss).forward)}"
    )


def predicting_logits(loss: nn.Module, output: Output, outputs: int | None = None) -> Tensor:
    """Return the logits BxK to predict from: the loss's own if it has a method `logits`, otherwise the network's.

    Args:
        loss, output: of one model.
        outputs: K, the task's number of outputs; None: as many as the network has.
    """
    own = getattr(loss, "logits", None)
    logits: Tensor = output.logits if own is None else own(output)
    wanted = (len(output.logits), output.logits.shape[1] if outputs is None else outputs)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        what = "has no method logits, which must return" if own is None else f"returned the logits {shown(logits)}, not"
        raise _wrong(loss, f"{what} {wanted[0]}x{wanted[1]}")
    return logits
