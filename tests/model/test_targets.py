"""Numbers are scaled for the loss, whoever wrote it, and in their own unit for everybody else."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional

import kit_losses
from helpers.loss_cases import INDEX, batch, built, cost, index_of
from kit import testing
from kit.config import validate
from kit.data.index import Index
from kit.errors import KitError
from kit.hooks.manager import load_plugins
from kit.hooks.registry import Registry
from kit.model.build import build_model
from kit.model.losses import predicting_logits
from kit.model.network import Output
from kit.model.targets import ScaledTargets
from kit.plugin import LossSpec, hookimpl
from kit.training.mix import mix

TARGETS = [(2.0, 1000.0), (4.0, 3000.0), (9.0, 2000.0), (5.0, 6000.0)]


def numbers(targets: list) -> Index:
    train = pd.DataFrame({"id": list("abcd"), "files": [("x",)] * 4})
    train["target"] = pd.Series(targets, dtype=object)
    names = ("dry", "wet") if isinstance(targets[0], tuple) else ("dry",)
    return Index("", "regression", names, train, train[["id", "files"]])


class Stranger(nn.Module):
    """Keeps what it is given."""

    def forward(self, output, batch):
        self.given = output.logits, batch.target
        return functional.mse_loss(output.logits, batch.target)


class Plugin:
    @hookimpl
    def kit_losses(self):
        return [LossSpec("stranger", lambda request: Stranger())]


@pytest.fixture(scope="module")
def registry():
    plugins = load_plugins()
    plugins.add(Plugin(), "stranger", "test", "1")
    return Registry(plugins)


def model_of(registry, index, loss, **values):
    known = {"competition": "x", "dataset": "x", "loss": loss, "model": "small_cnn", "size": 16, **values}
    normalization = {"mean": [0.5] * 3, "std": [0.5] * 3}
    return build_model(validate(known), registry, SimpleNamespace(channels=3), index, normalization, False)


@pytest.mark.parametrize("loss", ["stranger", "2*stranger"])
def test_a_loss_sees_mean_0_and_deviation_1_and_predictions_are_in_their_own_unit(registry, loss):
    model = model_of(registry, numbers(TARGETS), loss)
    scaler = StandardScaler().fit(np.array(TARGETS))
    logits = torch.randn(4, 2)
    output = Output(logits, torch.zeros(4, 1))
    model.loss(output, batch(torch.tensor(TARGETS)))
    own = model.loss.loss if loss == "stranger" else model.loss.loss.losses[0]
    np.testing.assert_allclose(own.given[1], scaler.transform(np.array(TARGETS)), atol=1e-6)
    np.testing.assert_allclose(model.probabilities(output), scaler.inverse_transform(logits), rtol=1e-5)
    # Like every weight, the scale is saved, restored and copied.
    assert torch.equal(model.copy().probabilities(output), model.probabilities(output))
    assert {"centre", "scale"} <= set(model.loss.state_dict())


def test_with_bounds_a_loss_sees_shares_and_predictions_stay_between(registry):
    model = model_of(registry, numbers([5.0, 0.0, 20.0, 15.0]), "stranger", bounds="0..20")
    output = Output(torch.tensor([[-80.0], [0.0], [np.log(3)], [90.0]]), torch.zeros(4, 1))
    model.loss(output, batch(torch.tensor([[5.0], [0.0], [20.0], [10.0]])))
    shares, target = model.loss.loss.given
    torch.testing.assert_close(shares[:, 0], torch.tensor([0, 0.5, 0.75, 1]))
    assert target[:, 0].tolist() == [0.25, 0, 1, 0.5]
    torch.testing.assert_close(model.probabilities(output)[:, 0], torch.tensor([0.0, 10, 15, 20]))


@pytest.mark.parametrize(
    ("targets", "bounds", "start"),
    [
        ([1.0, 2.0, 3.0, 90.0], "0..100", [24.0]),
        ([0.0, 0.0, 0.0, 0.0], "0..100", [1.0]),  # where the sigmoid still learns
        ([(10.0, 90.0), (30.0, 90.0), (20.0, 60.0), (20.0, 80.0)], "0..100", [20.0, 80.0]),
        ([1.0, 2.0, 3.0, 90.0], None, [24.0]),
    ],
)
def test_a_network_that_knows_nothing_predicts_the_mean_target(registry, targets, bounds, start):
    model = model_of(registry, numbers(targets), "stranger", bounds=bounds)
    zero = Output(torch.zeros(2, len(start)), torch.zeros(2, 1))
    torch.testing.assert_close(model.probabilities(zero), torch.tensor([start] * 2), rtol=1e-5, atol=1e-4)
    copied = model_of(registry, numbers([tuple(start)] * 4 if len(start) > 1 else start * 4), "stranger", bounds=bounds)
    copied.loss.load_state_dict(model.loss.state_dict())
    torch.testing.assert_close(copied.probabilities(zero), model.probabilities(zero))


def test_targets_that_do_not_differ_keep_their_unit(registry):
    model = model_of(registry, numbers([3.0] * 4), "mse")
    zero = Output(torch.zeros(1, 1), torch.zeros(1, 1))
    assert model.probabilities(zero).tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("index", "values", "message"),
    [
        (numbers([5.0, 0.0, 21.0, 30.0]), {"bounds": "0..20"}, " of c is 21, outside the bounds 0..20 .2 such"),
        (numbers(TARGETS), {"bounds": "0,5000"}, "wet of d is 6000, outside the bounds 0..5000 .1 such"),
        (numbers(TARGETS), {"class_weights": "balanced"}, "class_weights is for classes.*--set class_weights=none"),
        (numbers(TARGETS), {"label_smoothing": 0.1}, "label_smoothing is for classes.*--set label_smoothing=0"),
        (numbers(TARGETS), {"sampler": "balanced"}, "sampler is for classes.*--set sampler=uniform"),
        (numbers([1.0, 2, 3, 4]), {"two_units": True}, "two_units is for classes.*--set two_units=false"),
        (numbers(TARGETS), {"loss": "bce"}, "bce takes numbers between bounds: --set bounds=LOW..HIGH"),
        (numbers(TARGETS), {"loss": "cross_entropy"}, "cross_entropy is for multiclass, ordinal tasks.*mse"),
        (INDEX["ordinal"], {"bounds": "0..3", "loss": "coral"}, "bounds are for numbers, and this task is ordinal"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(registry, index, values, message):
    with pytest.raises(KitError, match=message):
        model_of(registry, index, **{"loss": "mse", **values})


@pytest.mark.parametrize(("text", "wanted"), [("0..100", (0, 100)), ("-1..1", (-1, 1)), ("0,1", (0, 1)), (None, None)])
def test_bounds_are_read_like_other_ranges(text, wanted):
    assert validate({"competition": "x", "dataset": "x", "loss": "mse", "bounds": text}).bounds == wanted


@pytest.mark.parametrize("text", ["5..1", "1..1", "a..b", "1", "0..inf"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(KitError, match="bounds"):
        validate({"competition": "x", "dataset": "x", "loss": "mse", "bounds": text})


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e39, "3", None, True, (1.0, 2.0)])
def test_what_is_no_number_is_named(wrong):
    with pytest.raises(KitError, match=r"the target of the training image x is .*, not a finite number"):
        numbers([1.0, wrong, 2.0, 3.0])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mse", (1.5**2 + 0.5**2 + 0 + 3**2) / 4),
        ("mae", (1.5 + 0.5 + 0 + 3) / 4),
        ("smooth_l1", (1 + 0.125 + 0 + 2.5) / 4),
    ],
)
def test_losses_of_numbers_by_hand(name, wanted):
    found = cost(built(name, "regression"), [[1.5, 2.5], [0.0, 4.0]], [[0.0, 2.0], [0.0, 1.0]])
    assert found.item() == pytest.approx(wanted)


def test_the_cross_entropy_of_shares_is_that_of_the_formula():
    random = np.random.default_rng(0)
    p, y = random.uniform(0.001, 0.999, (2, 20, 3))
    wanted = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    loss = built("bce", "regression", bounds="0..1")
    assert cost(loss, torch.tensor(p), torch.tensor(y)).item() == pytest.approx(wanted, rel=1e-9)


NAMES = [spec.name for spec in kit_losses.kit_losses() if "regression" in spec.tasks]


@pytest.mark.parametrize("name", NAMES)
def test_losses_of_numbers_stay_finite_and_have_gradients(name):
    bounds = (0, 20) if name == "bce" else None
    loss = ScaledTargets(built(name, "regression", bounds=bounds), torch.zeros(1), torch.full((1,), 20.0), bool(bounds))
    target = batch(torch.tensor([[0.0], [20.0], [5.0]]))
    for scale in (0, 1, 1e4):
        for dtype in (torch.float32, torch.float16):
            logits = (torch.tensor([[-1.0], [1.0], [0.5]]) * scale).to(dtype).requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value = loss(Output(logits, logits), target)
                predicted = predicting_logits(loss, Output(logits, logits))
            value.backward()
            assert (value.dtype, predicted.dtype) == (torch.float32, torch.float32)
            assert all(tensor.isfinite().all() for tensor in (value, predicted, logits.grad))
    double = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    inner = built(name, "regression", bounds=bounds)
    shares = batch(torch.tensor([[0.1], [0.9], [0.4]], dtype=torch.float64))
    assert torch.autograd.gradcheck(
        lambda values: inner(Output(values.sigmoid() if bounds else values, values), shares), (double,)
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name != "bce"])
def test_losses_of_numbers_conform(name):
    spec = next(spec for spec in kit_losses.kit_losses() if spec.name == name)
    testing.check_loss(spec, index_of("regression", [1.0, 2.0, 5.0, 7.0]))


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_mixed_images_have_mixed_numbers(method):
    torch.manual_seed(0)
    config = validate({"competition": "x", "dataset": "x", "loss": "mse", method: 1})
    whole = batch(torch.tensor([[1.0, 10.0], [3.0, 30.0], [9.0, 90.0]]))._replace(
        images=torch.zeros(3, 1, 8, 8) + torch.tensor([1.0, 3.0, 9.0])[:, None, None, None], metadata=torch.zeros(3, 0)
    )
    mixed = mix(config, whole, 2)
    # Every number is that of the image: both are the same mean of two.
    torch.testing.assert_close(mixed.images.mean((1, 2, 3)), mixed.target[:, 0])
    torch.testing.assert_close(mixed.target[:, 0] * 10, mixed.target[:, 1])
    assert not torch.equal(mixed.target, whole.target)
