"""Optimisers, schedules, averages and mixing against torch's own and the formulas."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from kit.config import TrainConfig
from kit.errors import KitError
from kit.model.network import Network
from kit.pixels.batches import Batch
from kit.pixels.sampler import balanced_weights, training_plan
from kit.task import BINARY
from kit.training.ema import Ema
from kit.training.mix import cutmix, mix, mixup
from kit.training.optim import depth_groups, freeze_body, make_optimizer
from kit.training.schedule import is_frozen, learning_rate, out_of_patience, plateau_drops, stage_size


def config(**values) -> TrainConfig:
    return TrainConfig.model_validate({"competition": "c", "dataset": "d", "loss": "bce", **values})


def network(shared: bool = False) -> Network:
    torch.manual_seed(0)
    body = nn.Sequential(*[layer for n in range(4) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))])
    if shared:
        body[6].weight = body[2].weight
    return Network(body, 3, 2, "linear", 0)


# ------------------------------------------------------------------ schedules


@pytest.mark.parametrize("total", [10, 97, 1000])
def test_one_cycle_is_that_of_torch(total):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total, cycle_momentum=False)
    for step in range(total):
        ours = learning_rate(config(lr=0.01, epochs=1), step, total)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < total - 1:
            theirs.step()


@pytest.mark.parametrize("schedule", ["one_cycle", "constant", "step", "cosine", "plateau"])
@pytest.mark.parametrize("total", [1, 2, 3])
def test_every_schedule_of_a_few_steps_stays_in_range(schedule, total):
    rates = [learning_rate(config(lr=0.01, epochs=1, schedule=schedule), step, total) for step in range(total)]
    assert all(0 < rate <= 0.01 for rate in rates)


def test_constant_and_step_by_hand():
    assert {learning_rate(config(lr=0.3, schedule="constant"), step, 10) for step in range(10)} == {0.3}
    rates = [learning_rate(config(lr=1, schedule="step", drops=4, epochs=1), step, 10) for step in range(10)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4])


def test_cosine_is_that_of_torch_after_its_warm_up():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=9)
    half = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 90)
    theirs = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, half], [10])
    for step in range(100):
        ours = learning_rate(config(lr=0.01, epochs=1, schedule="cosine", warmup=0.1), step, 100)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-12)
        optimizer.step()
        theirs.step()


def test_plateau_is_that_of_torch():
    losses = np.abs(np.random.default_rng(0).normal(1, 0.3, 80)).tolist()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5, min_lr=1e-8, eps=0)
    for epoch, loss in enumerate(losses):
        theirs.step(loss)
        ours = learning_rate(config(lr=0.01, schedule="plateau", epochs=100), 0, 10, losses[: epoch + 1])
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])
    assert plateau_drops(losses) > 3
    assert learning_rate(config(lr=0.01, schedule="plateau"), 0, 10, [1.0] * 1000) == 1e-8


def test_a_frozen_phase_has_a_cycle_of_its_own_and_lower_rates_follow():
    it = config(lr=0.01, epochs=5, freeze_epochs=2)
    rates = [learning_rate(it, step, 50) for step in range(250)]
    assert max(rates[:100]) == pytest.approx(0.01)
    assert max(rates[100:]) == pytest.approx(0.005)
    assert rates[100] == pytest.approx(0.005 / 25)
    assert [is_frozen(it, epoch) for epoch in range(5)] == [True, True, False, False, False]


def test_sizes_share_the_epochs():
    it = config(size="32,48,64", epochs=7)
    assert (it.size, it.sizes) == (64, (32, 48, 64))
    assert [stage_size(it, epoch) for epoch in range(7)] == [32, 32, 32, 48, 48, 64, 64]
    assert stage_size(config(size=40), 0) == 40


def test_patience_by_hand():
    it = config(patience=2)
    assert not out_of_patience(it, [0.5, 0.6], True)
    assert not out_of_patience(it, [0.5, 0.4, 0.6], True)
    assert out_of_patience(it, [0.6, 0.5, 0.6], True)
    assert out_of_patience(it, [0.6, None, 0.5, None, 0.4], True)
    assert out_of_patience(it, [0.5, 0.6, 0.7], False)
    assert not out_of_patience(config(), [0.6, 0.5, 0.4], True)


@pytest.mark.parametrize(
    "scores", [[None], [None] * 9, [0.6, None, None, None], [None, None, 0.6, 0.5], [None, 0.5, 0.6]]
)
@pytest.mark.parametrize("higher", [True, False])
def test_an_undefined_metric_never_counts_as_worse(scores, higher):
    assert not out_of_patience(config(patience=2), scores, higher)
    assert not out_of_patience(config(patience=1), [None, None, 0.5], higher)


def test_an_undefined_loss_neither_drops_the_rate_nor_counts_as_better():
    losses = [1.0, 1.1, 1.1, 1.1, 1.1, 1.1]
    assert plateau_drops(losses) == plateau_drops([1.0, None, *losses[1:], None]) == 0
    assert plateau_drops([*losses, 1.1]) == plateau_drops([*losses, None, 1.1]) == 1
    assert plateau_drops([None] * 30) == 0


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine", "step"])
def test_decay_divides_by_the_steps_taken(schedule):
    """Keras: lr * 1 / (1 + decay * iterations), iterations from 0."""
    plain, decayed = config(schedule=schedule, epochs=3), config(schedule=schedule, epochs=3, decay=1e-2)
    for step in range(30):
        wanted = learning_rate(plain, step, 10) / (1 + 1e-2 * step)
        assert learning_rate(decayed, step, 10) == pytest.approx(wanted, rel=1e-12)
    # By hand, for Adam(lr=1e-3, decay=1e-6) after 1,000,000 iterations: half.
    assert learning_rate(config(schedule="constant", lr=1e-3, decay=1e-6), 10**6, 100) == pytest.approx(5e-4)


# ------------------------------------------------------------------ optimisers


def test_norms_and_biases_are_not_decayed():
    net = network()
    groups = make_optimizer(config(weight_decay=0.1), net, nn.Identity()).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for p in net.parameters() if p.ndim > 1}
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))


def test_rates_rise_geometrically_by_depth():
    net = network()
    optimizer = make_optimizer(config(lr="1e-5..1e-3"), net, nn.Identity())
    scales = list(dict.fromkeys(group["scale"] for group in optimizer.param_groups))
    assert scales == pytest.approx([1e-2, 10**-1.5, 1e-1, 10**-0.5, 1])
    first = next(g for g in optimizer.param_groups if any(p is net.body[0].weight for p in g["params"]))
    head = next(g for g in optimizer.param_groups if any(p is net.head.classifier.weight for p in g["params"]))
    assert (first["scale"], head["scale"]) == pytest.approx((1e-2, 1))
    assert {g["scale"] for g in make_optimizer(config(), net, nn.Identity()).param_groups} == {1}


def test_the_loss_of_a_margin_trains_with_the_head():
    loss = nn.Linear(3, 2)
    assert loss.weight in set(depth_groups(network(), loss)[-1])


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("adamw", torch.optim.AdamW, {"weight_decay": 0.1}),
        ("adam", torch.optim.Adam, {"weight_decay": 0.1}),
        ("sgd", torch.optim.SGD, {"weight_decay": 0.1, "momentum": 0.8, "nesterov": True}),
    ],
)
def test_optimisers_are_those_of_torch(name, kind, options):
    ours, theirs = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)
    theirs.load_state_dict(ours.state_dict())
    mine = make_optimizer(
        config(optimizer=name, lr=0.01, weight_decay=0.1, momentum=0.8, nesterov=True), ours, nn.Identity()
    )
    reference = kind(theirs.parameters(), lr=0.01, **options)
    for _ in range(5):
        images = torch.randn(8, 4)
        for net, optimizer in ((ours, mine), (theirs, reference)):
            optimizer.zero_grad()
            net(images).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_weights_that_are_thawed_move_as_in_torchs_plain_loop(name, shared):
    # In eval mode: in front of batch norm a bias has no gradient but rounding, which Adam would blow up.
    nets = [network(shared).eval(), network(shared).eval()]
    ours = make_optimizer(config(optimizer=name, lr=0.01, weight_decay=0, momentum=0.9), nets[0], nn.Identity())
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}[name]
    options = {"momentum": 0.9} if name == "sgd" else {"weight_decay": 0}
    theirs = kind(nets[1].parameters(), lr=0.01, foreach=False, **options)
    for step in range(6):
        images = torch.randn(4, 3, 8, 8)
        for net, optimizer in zip(nets, (ours, theirs), strict=True):
            freeze_body(net, step < 3)
            optimizer.zero_grad()
            net(images).logits.square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(nets[0].state_dict(), nets[1].state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_frozen_body_does_not_move(name):
    net = network()
    before = deepcopy(net.state_dict())
    optimizer = make_optimizer(config(optimizer=name, lr=0.1), net, nn.Identity())
    for frozen in (True, False):
        freeze_body(net, frozen)
        optimizer.zero_grad(set_to_none=True)
        net(torch.randn(4, 3, 8, 8)).logits.sum().backward()
        optimizer.step()
        assert torch.equal(net.body[0].weight, before["body.0.weight"]) is frozen
        assert not torch.equal(net.head.classifier.weight, before["head.classifier.weight"])
    with pytest.raises(KitError, match="freeze_epochs=0"):
        freeze_body(nn.Linear(2, 2), True)


# ------------------------------------------------------------------ plans


@pytest.mark.parametrize(
    ("count", "batch_size", "accumulate"), [(40, 4, 3), (25, 4, 3), (26, 4, 3), (13, 4, 3), (5, 8, 2)]
)
def test_accumulated_steps_hold_every_row_once(count, batch_size, accumulate):
    plan = training_plan(count, batch_size, (0,), accumulate)
    sizes = [[len(rows) for rows, _ in step] for step in plan]
    assert sorted(row for step in plan for rows, _ in step for row in rows) == list(range(count))
    assert all(1 < size <= batch_size + 1 for step in sizes for size in step)
    whole = training_plan(count, batch_size * accumulate, (0,))
    for ours, theirs in zip(plan, whole, strict=True):
        assert np.concatenate([rows for rows, _ in ours]).tolist() == theirs[0][0].tolist()


def test_balanced_drawing_gives_every_class_the_same_share():
    targets = np.array([0] * 900 + [1] * 90 + [2] * 10)
    weights = balanced_weights(targets)
    assert [weights[targets == k].sum() for k in range(3)] == pytest.approx([1 / 3] * 3)
    rows = np.concatenate([rows for step in training_plan(1000, 50, (0,), 1, weights) for rows, _ in step])
    assert len(rows) == 1000
    assert np.bincount(targets[rows]) == pytest.approx([333] * 3, abs=60)
    binary = balanced_weights(np.array([[0.0]] * 90 + [[1.0]] * 10, np.float32))
    assert binary[:90].sum() == pytest.approx(0.5)
    multilabel = balanced_weights(np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.float32))
    assert multilabel[2] / multilabel[0] == pytest.approx(3)
    assert multilabel.sum() == pytest.approx(1)


# ------------------------------------------------------------------ mixing and averaging


def test_mixup_and_cutmix_by_hand():
    images, others = torch.zeros(2, 1, 10, 10), torch.ones(2, 1, 10, 10)
    mixed, share = mixup(images, others, 0.3)
    assert share == 0.3
    torch.testing.assert_close(mixed, torch.full((2, 1, 10, 10), 0.7))
    torch.manual_seed(0)
    for wanted in (0.0, 0.2, 0.5, 0.9, 1.0):
        mixed, share = cutmix(images, others, wanted)
        assert set(mixed.unique().tolist()) <= {0.0, 1.0}
        assert share == pytest.approx(1 - mixed[0].mean().item())
        assert share >= wanted - 0.15


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_mixed_targets_have_the_shares_of_the_pixels(way):
    torch.manual_seed(1)
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 16, 16).contiguous()
    batch = Batch(images, torch.arange(4), torch.zeros(4, 0), torch.arange(4))
    mixed = mix(config(**{way: 1.0}), batch, 4)
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(4))
    torch.testing.assert_close(mixed.images.mean((1, 2, 3)), mixed.target @ torch.arange(4.0))
    assert mix(config(), batch, 4) is batch
    binary = mix(config(**{way: 1.0}), batch._replace(target=torch.tensor([[0.0], [1.0], [1.0], [0.0]])), 1)
    assert binary.target.shape == (4, 1)


@pytest.mark.parametrize("shared", [False, True])
def test_the_average_is_the_formula(shared):
    from kit.model.build import Model

    net = network(shared)
    model = Model(net, nn.Identity(), None, None, BINARY)
    ema = Ema(model, 0.9)
    expected = {name: value.double().clone() for name, value in net.state_dict().items()}
    for step in range(1, 200):
        with torch.no_grad():
            for value in {value.data_ptr(): value for value in net.state_dict().values()}.values():
                value.add_(torch.randn_like(value.float()).to(value.dtype) if value.is_floating_point() else 1)
        ema.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            average = decay * expected[name] + (1 - decay) * value.double()
            expected[name] = average if value.is_floating_point() else value.double().clone()
    for name, value in ema.model.network.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in ema.model.network.parameters())
