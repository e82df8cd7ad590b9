"""A step on a card: it learns what the CPU learns, in every precision, with every option, and never waits."""

import contextlib
import time
from collections.abc import Iterator

import pytest
import torch

from helpers.device_runs import CPU, Learner, apart, config_of, made
from kit.model.build import _compiles
from kit.training.optim import freeze_body

pytestmark = pytest.mark.gpu

STEPS = {"rot90": True, "rotate": 20, "zoom": 0.1, "brightness": 0.1}
# In float32; mixing, dropout and the plan draw from torch's generator of the CPU. Rounding is all that differs.
RECIPES = {
    "plain": {},
    "augmented": STEPS,
    "average": {"ema": 0.9},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "both": {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1},
    "focal": {"loss": "focal"},
    "arcface": {"loss": "arcface"},
    "sum with cosface": {"loss": "0.7*cross_entropy+0.3*cosface", "margin": 0.2},
    "accumulate": {"accumulate": 2, "batch_size": 16},
    "clip": {"clip": 0.1},
    "sgd": {"optimizer": "sgd", "nesterov": True},
    "depth": {"lr": "1e-4..1e-3"},
}


@pytest.fixture
def data(tmp_path):
    return made(tmp_path / "pixels")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_an_option_learns_on_the_card_what_it_learns_on_the_cpu(data, device, recipe):
    config = config_of(**{"lr": 1e-3} | recipe)
    ours, theirs = (Learner(data, config, place) for place in (device, CPU))
    found, expected = ours.steps(6), theirs.steps(6)
    assert found == pytest.approx(expected, rel=2e-2, abs=2e-2)
    assert found[0] == pytest.approx(expected[0], rel=1e-3, abs=1e-3), "before weights have moved apart"
    # Adam moves each weight by about `lr` a step, also where its gradient is but rounding.
    assert apart(ours, theirs) < 0.1


def test_multilabel_and_binary_losses_are_those_of_the_cpu(tmp_path, device):
    data = made(tmp_path / "pixels", task="binary")
    for loss in ("bce", "focal"):
        found, expected = (Learner(data, config_of(loss=loss), place).steps(4) for place in (device, CPU))
        assert found == pytest.approx(expected, rel=1e-2, abs=1e-2)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("ordinal", {"loss": "coral"}),
        ("ordinal", {"loss": "corn", "mixup": 0.4}),
        ("ordinal", {"loss": "ordinal_smooth_l1"}),
        ("regression", {"loss": "0.5*mse+0.5*mae", "mixup": 0.4, "ema": 0.9}),
        ("regression", {"loss": "bce", "bounds": "-5..10"}),
    ],
)
def test_grades_and_numbers_are_those_of_the_cpu(tmp_path, device, task, settings):
    data = made(tmp_path / "pixels", task=task)
    ours, theirs = (Learner(data, config_of(**settings), place) for place in (device, CPU))
    found, expected = ours.steps(4), theirs.steps(4)
    assert found == pytest.approx(expected, rel=2e-2, abs=2e-2)
    assert apart(ours, theirs) < 0.1


@pytest.mark.parametrize("name", ["resnet50_cbam", "resnet50_bam"])
def test_attention_learns_on_the_card_what_it_learns_on_the_cpu(data, device, name):
    config = config_of(model=name, batch_size=16)
    found, expected = (Learner(data, config, place).steps(2) for place in (device, CPU))
    assert found == pytest.approx(expected, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_as_float32_does(data, device, precision):
    config = config_of(lr=2e-3, batch_size=16)
    half, full = Learner(data, config, device, precision), Learner(data, config, device)
    assert half.stepper.scaler.is_enabled() is (precision == "fp16")
    found, expected = half.steps(24), full.steps(24)
    assert found[0] == pytest.approx(expected[0], rel=2e-2, abs=2e-2)
    assert sum(found[-4:]) < 0.5 * sum(found[:4]), "it learns"
    assert sum(found[-8:]) / 8 == pytest.approx(sum(expected[-8:]) / 8, abs=0.1)


def test_an_overflow_of_half_precision_moves_nothing(data, device):
    learner = Learner(data, config_of(lr=1e-3), device, "fp16")
    learner.stepper.scaler = torch.amp.GradScaler(device.type, init_scale=2.0**126)
    learner.model.loss.register_forward_hook(lambda loss, given, value: value * 1e3)
    before = [parameter.detach().clone() for parameter in learner.model.network.parameters()]
    learner.steps(1)
    assert all(torch.equal(a, b) for a, b in zip(before, learner.model.network.parameters(), strict=True))
    assert learner.stepper.scaler.get_scale() == 2.0**125


def test_frozen_weights_stay_and_move_once_thawed(data, device):
    learner = Learner(data, config_of(optimizer="sgd"), device)
    learner.steps(1)
    body = [parameter.detach().clone() for parameter in learner.model.network.body.parameters()]
    for frozen in (True, False):
        freeze_body(learner.model.network, frozen)
        learner.stepper.prepare()
        learner.steps(2)
        moved = [not torch.equal(a, b) for a, b in zip(body, learner.model.network.body.parameters(), strict=True)]
        assert any(moved) is not frozen


# ------------------------------------------------------------------ compile and graphs


def test_a_compiled_step_learns_what_a_plain_one_learns(data, device, monkeypatch):
    """Other shapes, freezing and folds: tests/training/test_compile.py."""
    from torch._dynamo.utils import counters  # seconds to import

    if device.type == "cpu":  # in a rehearsal without the compiler, which takes minutes
        real = torch.compile
        monkeypatch.setattr(torch, "compile", lambda network, **given: real(network, backend="eager"))
    elif not _compiles(device.type):
        pytest.skip("torch can't compile on this machine")
    plain, compiled = (Learner(data, config_of(compile=on), device) for on in (False, True))
    torch._dynamo.reset()
    counters.clear()
    expected, found = plain.steps(8), compiled.steps(8)
    assert found == pytest.approx(expected, rel=2e-2, abs=2e-2)
    assert counters["stats"]["unique_graphs"] == 1
    torch._dynamo.reset()


GRAPHED = {
    "plain": {},
    "fp16": {"precision": "fp16"},
    "bf16": {"precision": "bf16"},
    "clip, average": {"clip": 0.1, "ema": 0.9},
    "accumulate": {"accumulate": 2, "batch_size": 20},
    "arcface": {"loss": "arcface", "weight_decay": 0},
    "mixup": {"mixup": 0.4, "cutmix": 1.0},
    "dropout": {"head_dropout": 0.5},
}


@pytest.mark.parametrize("recipe", GRAPHED.values(), ids=GRAPHED)
def test_a_replayed_step_learns_what_a_plain_one_learns(data, device, capsys, recipe):
    """Batches of 40, the last of an epoch of 8. Dropout is drawn anew in each replay, as the step's seed says."""
    precision, values = recipe.get("precision", "float32"), {k: v for k, v in recipe.items() if k != "precision"}
    learners = [
        Learner(data, config_of(**{"batch_size": 40, "graphs": on} | values), device, precision) for on in (0, 1)
    ]
    expected, found = (learner.steps(8) for learner in learners)
    assert "warning" not in capsys.readouterr().err
    if device.type == "cuda":
        assert learners[1].stepper._graphs._replayed is not None, "nothing was captured"
    assert found == pytest.approx(expected, rel=2e-2, abs=2e-2)
    assert apart(learners[1], learners[0]) < (0.1 if precision == "float32" else 0.5)


def test_graphs_follow_what_is_frozen(data, device):
    results = []
    for graphs in (False, True):
        learner = Learner(data, config_of(graphs=graphs, batch_size=40), device)
        losses = []
        for frozen in (True, False):
            freeze_body(learner.model.network, frozen)
            learner.stepper.prepare()
            losses += learner.steps(4)
        results.append((losses, learner))
    assert results[1][0] == pytest.approx(results[0][0], rel=2e-2, abs=2e-2)
    assert apart(results[1][1], results[0][1]) < 0.1


# ------------------------------------------------------------------ without waiting

UNWAITING = {
    "cross entropy": {},
    "augmented": STEPS,
    "bce": {"loss": "bce"},
    "focal": {"loss": "focal"},
    "arcface": {"loss": "arcface"},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "clip, average": {"clip": 0.1, "ema": 0.9},
    "accumulate": {"accumulate": 2, "batch_size": 16},
    "fp16": {"precision": "fp16"},
    "fp16, clip": {"precision": "fp16", "clip": 0.1},
    "bf16": {"precision": "bf16"},
    "graphs": {"graphs": True},
}


@contextlib.contextmanager
def waiting_is_an_error(device: torch.device) -> Iterator[None]:
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("recipe", UNWAITING.values(), ids=UNWAITING)
def test_a_step_never_waits_for_the_card(tmp_path, device, recipe):
    """From the loader's bytes to the optimiser; the numbers are read when all steps are done."""
    data = made(tmp_path / "pixels", task="binary" if recipe.get("loss") == "bce" else "multiclass")
    precision, values = recipe.get("precision", "float32"), {k: v for k, v in recipe.items() if k != "precision"}
    learner = Learner(data, config_of(**values), device, precision)
    learner.steps(4)  # lazy beginnings: the first batch of cuDNN, the optimiser's state, the capture of a graph
    mode, before = waiting_is_an_error(device), learner.done
    losses = []
    with mode:
        batches = iter(learner.batches(1))
        for _ in range(3):
            count = learner.config.accumulate
            losses.append(learner.stepper.step(batches, count, count * learner.config.batch_size, 1e-3))
            if learner.ema is not None:
                learner.ema.update(before + 1)
        batches.close()
    assert all(float(loss) > 0 for loss in losses)


def test_what_a_step_costs_the_host(data, device, figure):
    """Noted, not judged: it depends on the machine."""
    learner = Learner(data, config_of(batch_size=16), device)
    learner.steps(8)
    began = time.perf_counter()
    assert all(loss > 0 for loss in learner.steps(16))
    figure("milliseconds a step of small_cnn, 16 images of 32 px", round(1000 * (time.perf_counter() - began) / 16, 3))
