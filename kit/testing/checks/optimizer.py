"""Checks of an optimiser: on a few weights."""

import math
from copy import deepcopy
from typing import Any

import torch

from kit.config import validate
from kit.hooks.learning import OptimizerRequest
from kit.testing.check import Skipped, check, need, suppose
from kit.testing.subject import Subject

RATE, DECAY, STEPS = 0.05, 0.1, 200
SCALES = (1.0, 0.1)


@check("optimizer/builds", "return a torch.optim.Optimizer of request.groups")
def builds(subject: Subject) -> None:
    """It is an optimiser."""
    found = _build(subject)
    need(isinstance(found, torch.optim.Optimizer), f"build() returns {type(found).__name__}, not an Optimizer")


@check("optimizer/keeps-groups", "give it request.groups as they are")
def keeps_groups(subject: Subject) -> None:
    """It keeps the groups and all their weights."""
    groups = _groups()
    found = _built(subject, groups)
    need(len(found.param_groups) == len(groups), f"of {len(groups)} groups it keeps {len(found.param_groups)}")
    for given, kept in zip(groups, found.param_groups, strict=True):
        same = {id(each) for each in given["params"]} == {id(each) for each in kept["params"]}
        need(same, "a group has other weights than it was given")


@check("optimizer/keeps-scale", "leave `scale` in each group: the schedule multiplies the learning rate by it")
def keeps_scale(subject: Subject) -> None:
    """Every group keeps its `scale`."""
    found = _built(subject)
    scales = [group.get("scale") for group in found.param_groups]
    need(scales == list(SCALES), f"the groups' scales are {scales}, not {list(SCALES)}")


@check("optimizer/learning-rate", "give it lr=request.lr, times the group's scale or not")
def learning_rate(subject: Subject) -> None:
    """It has the learning rate that it is given, or the group's share of it."""
    for group in _built(subject).param_groups:
        rates = (RATE, RATE * group.get("scale", 1.0))
        near = any(math.isclose(group.get("lr", math.nan), rate, rel_tol=1e-6) for rate in rates)
        need(near, f"its learning rate is {group.get('lr')}, not {RATE}")


@check("optimizer/heeds-learning-rate", "read group['lr'] in each step: the schedule changes it")
def heeds_rate(subject: Subject) -> None:
    """A learning rate of 0 changes no weight, and a larger one more than a smaller one."""
    moved = []
    for rate in (0.0, 1e-4, 1e-2):
        groups = _groups()
        found = _built(subject, groups)
        for group in found.param_groups:
            group["lr"] = rate
        before = groups[0]["params"][0].detach().clone()
        for _ in range(3):
            _step(found, groups)
        moved.append(float((groups[0]["params"][0].detach() - before).abs().max()))
    need(moved[0] == 0, f"with a learning rate of 0 it changes a weight by {moved[0]:.2g}")
    need(moved[2] > moved[1], f"a learning rate of 0.01 changes weights by {moved[2]:.2g}, of 0.0001 by {moved[1]:.2g}")


@check("optimizer/weight-decay", "heed each group's weight_decay: biases and norms have none")
def weight_decay(subject: Subject) -> None:
    """It keeps each group's weight decay."""
    decays = [group.get("weight_decay") for group in _built(subject).param_groups]
    need(decays == [DECAY, 0.0], f"the groups' weight decays are {decays}, not {[DECAY, 0.0]}")


@check("optimizer/descends", "step against the gradient")
def descends(subject: Subject) -> None:
    """It finds the bottom of a bowl."""
    groups = _groups(decay=0.0)
    found = _built(subject, groups)
    first = _step(found, groups)
    for _ in range(STEPS):
        last = _step(found, groups)
    need(last < first / 2, f"after {STEPS} steps down a bowl it stands at {last:.3g}, from {first:.3g}")


@check("optimizer/comes-back", "keep all that it remembers in its state: training resumes from state_dict()")
def comes_back(subject: Subject) -> None:
    """It goes on alike after its state was saved and loaded."""
    groups = _groups()
    found = _built(subject, groups)
    for _ in range(3):
        _step(found, groups)
    others = _groups()
    for given, copied in zip(groups, others, strict=True):
        for one, other in zip(given["params"], copied["params"], strict=True):
            other.data.copy_(one.data)
    again = _built(subject, others)
    again.load_state_dict(deepcopy(found.state_dict()))
    for each, weights in ((found, groups), (again, others)):
        for _ in range(2):
            _step(each, weights)
    one, other = groups[0]["params"][0], others[0]["params"][0]
    need(torch.allclose(one, other, atol=1e-7), "after its state was saved and loaded it goes another way")


@check("optimizer/step-without-gradient", "skip weights whose grad is None: frozen layers have none")
def without_gradient(subject: Subject) -> None:
    """It passes over weights without a gradient."""
    groups = _groups()
    found = _built(subject, groups)
    found.zero_grad(set_to_none=True)
    before = groups[0]["params"][0].detach().clone()
    found.step()
    need(torch.equal(before, groups[0]["params"][0]), "it changes weights that have no gradient")


@check("optimizer/description", "give description=..., half a line for lists", "advice")
def description(subject: Subject) -> None:
    """It says what it is."""
    need(subject.spec.description.strip(), "it has no description")


def _groups(decay: float = DECAY) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    return [
        {"params": [torch.nn.Parameter(torch.randn(4, 3))], "weight_decay": decay, "scale": SCALES[0]},
        {"params": [torch.nn.Parameter(torch.randn(3))], "weight_decay": 0.0, "scale": SCALES[1]},
    ]


def _build(subject: Subject, groups: list[dict[str, Any]] | None = None) -> Any:
    config = validate({"competition": "conformance", "dataset": "conformance", "loss": "bce"})
    given = [dict(group) for group in (_groups() if groups is None else groups)]
    return subject.spec.build(OptimizerRequest(config, given, RATE))


def _built(subject: Subject, groups: list[dict[str, Any]] | None = None) -> Any:
    try:
        found = _build(subject, groups)
    except Exception:
        raise Skipped("it can't be built: see optimizer/builds") from None
    suppose(isinstance(found, torch.optim.Optimizer), "it is no optimiser: see optimizer/builds")
    return found


def _step(found: Any, groups: list[dict[str, Any]]) -> float:
    """Take one step down a bowl; return the height before it."""
    found.zero_grad()
    height = sum((each.square().sum() for group in groups for each in group["params"]), torch.zeros(()))
    height.backward()
    found.step()
    return float(height)
