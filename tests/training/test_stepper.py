"""One optimisation step: against one written out by hand, with a scaler, clipping and accumulation."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from kit.config import validate
from kit.model.build import Model
from kit.model.device import Runtime
from kit.model.network import Output
from kit.pixels.batches import Batch, Normalize
from kit.task import MULTICLASS
from kit.training import bench, loop, lr_find
from kit.training.stepper import Stepper


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, images, metadata=None):
        embedding = self.body(images.flatten(1)).relu()
        return Output(self.head(embedding), embedding)


class Centred(nn.Module):
    """A loss with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(5, 3))

    def forward(self, output, batch):
        return nn.functional.cross_entropy(output.logits + 9 * output.embedding @ self.centres, batch.target)


def model_of(loss: nn.Module | None = None) -> Model:
    torch.manual_seed(0)
    own = loss or Centred()
    return Model(Plain(), own, Normalize([0], [1]), Runtime(torch.device("cpu"), None), MULTICLASS)


def config_of(**values):
    base = {"competition": "c", "dataset": "d", "loss": "x", "optimizer": "sgd", "momentum": 0, "weight_decay": 0}
    return validate(base | values)


def batch_of(rows: int, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(rows, 1, 2, 2, generator=random)
    return Batch(images, torch.arange(rows) % 3, torch.zeros(rows, 0), torch.arange(rows))


def weights(model: Model) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in (*model.network.parameters(), *model.loss.parameters())]


def by_hand(model: Model, batches: list[Batch], rate: float, clip: float | None) -> list[torch.Tensor]:
    """Plain gradient descent on the mean loss of all rows."""
    model = replace(model, network=deepcopy(model.network), loss=deepcopy(model.loss))
    parameters = [*model.network.parameters(), *model.loss.parameters()]
    rows = sum(len(batch.rows) for batch in batches)
    total = sum(model.loss(model.network(b.images), b) * len(b.rows) for b in batches) / rows
    gradients = torch.autograd.grad(total, parameters)
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    scale = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
    return [(p - rate * scale * g).detach() for p, g in zip(parameters, gradients, strict=True)]


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("sizes", [(6,), (4, 3)])
def test_a_step_is_that_of_the_formula(clip, scaled, sizes):
    """Over all weights: those of the loss are clipped with those of the network."""
    model, config = model_of(), config_of(clip=clip)
    batches = [batch_of(rows, seed) for seed, rows in enumerate(sizes)]
    wanted = by_hand(model, batches, 0.5, clip)
    stepper = Stepper(config, model, 3)
    if scaled:  # as on a card without bf16
        stepper.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    total = stepper.step(iter(batches), len(batches), sum(sizes), rate=0.5)
    for found, expected in zip(weights(model), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert stepper.loss_sum == total
    stepper.step(iter([batch_of(6)]), 1, 6, rate=0.0)
    assert stepper.loss_sum > total


def test_a_gradient_that_is_not_finite_is_passed_over_by_the_scaler():
    """A step of half precision whose gradients overflow moves nothing and lowers the scale."""

    class Overflowing(Centred):
        def forward(self, output, batch):
            return super().forward(output, batch) * float("inf")

    model = model_of(Overflowing())
    before = weights(model)
    stepper = Stepper(config_of(), model, 3)
    stepper.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    stepper.step(iter([batch_of(6)]), 1, 6, rate=0.5)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    assert stepper.scaler.get_scale() == 2


@pytest.mark.parametrize("module", [loop, lr_find, bench])
def test_all_that_steps_takes_this_step(module):
    """Backward, zero_grad and the scaler stand in one file."""
    assert module.Stepper is Stepper
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert not any(word in text for word in (".backward(", "zero_grad", "scaler.scale(", "optimizer.step("))
