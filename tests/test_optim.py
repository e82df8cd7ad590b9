"""Optimiser and schedule against torch's own."""

import pytest
import torch
from torch import nn

from kit.config import TrainConfig
from kit.training.optim import learning_rate, make_optimizer


def config(**values) -> TrainConfig:
    return TrainConfig(competition="c", dataset="d", loss="bce", **values)


@pytest.mark.parametrize("total", [10, 97, 1000])
def test_one_cycle_is_that_of_torch(total):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total, cycle_momentum=False)
    for step in range(total):
        assert learning_rate(config(lr=0.01), step, total) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < total - 1:
            theirs.step()


@pytest.mark.parametrize("total", [1, 2, 3])
def test_one_cycle_of_a_few_steps_stays_in_range(total):
    rates = [learning_rate(config(lr=0.01), step, total) for step in range(total)]
    assert all(0 < rate <= 0.01 for rate in rates)


def test_constant_is_constant():
    assert {learning_rate(config(lr=0.3, schedule="constant"), step, 10) for step in range(10)} == {0.3}


def test_norms_and_biases_are_not_decayed():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    groups = make_optimizer(config(weight_decay=0.1), [network]).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(network[0].weight), id(network[3].weight)}
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
