"""`compile=true` changes no number, and compiles a handful of times however many folds and validations there are.

Dynamo traces and guards as it always does; the backend `eager` then runs the traced operations as they are, so what is
learned must be the same bytes. One slow test takes the real compiler.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from helpers.training_runs import begin, go, learned, read_history
from kit.model import build
from kit.model.network import Network
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.training.interrupt import Interrupt, Interrupted
from kit.training.validator import Validator


@pytest.fixture
def compilations(monkeypatch):
    """How many graphs Dynamo has made so far, in a process that has none at first."""
    module, function = nn.Module.compile, torch.compile
    monkeypatch.setattr(nn.Module, "compile", lambda network: module(network, backend="eager"))
    monkeypatch.setattr(torch, "compile", lambda network, **given: function(network, **{"backend": "eager"} | given))
    monkeypatch.setattr(build, "_compiles", lambda device: True)
    torch._dynamo.reset()
    counters.clear()
    yield lambda: counters["stats"]["unique_graphs"]
    assert not counters["graph_break"]
    torch._dynamo.reset()


SMALL = ["model=small_cnn", "pretrained=false"]
# 120 images a fold in batches of 16, the last of 8: once for the one size, once for any.
RECIPES = {
    "within epochs": (["validate_every=3"], 2),
    "freeze, average": (["freeze_epochs=1", "ema=0.9"], 4),
    "sizes": (['size="16,32"'], 4),
    "mixup, accumulate, clip": (["mixup=0.4", "cutmix=1", "accumulate=2", "clip=1", "head_dropout=0.5"], 2),
}


# The quick one freezes and averages; `make test-slow` has all.
SLOW = {name: () if name == "freeze, average" else pytest.mark.slow for name in RECIPES}


@pytest.mark.parametrize(
    ("recipe", "most"), [pytest.param(*each, id=name, marks=SLOW[name]) for name, each in RECIPES.items()]
)
def test_a_compiled_network_learns_the_same(store, compilations, recipe, most):
    eager, compiled = begin(store, *SMALL, *recipe), begin(store, *SMALL, *recipe, "compile=true")
    go(store, eager)
    assert compilations() == 0
    go(store, compiled)
    assert learned(compiled) == learned(eager)
    assert 0 < compilations() <= most, "more folds and epochs compile nothing anew"


def test_a_stopped_run_is_resumed_to_the_same_bytes(store, compilations, monkeypatch):
    whole = begin(store, *SMALL, only_fold=0)
    stopped = begin(store, *SMALL, "compile=true", only_fold=0)
    go(store, whole)
    looks, check = [0], Interrupt.check

    def stopping(self):
        looks[0] += 1
        if looks[0] == 4:
            self.on_stop()
            raise Interrupted("stopped")
        check(self)

    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "check", stopping)
        with pytest.raises(Interrupted):
            go(store, stopped)
    go(store, stopped)
    assert learned(stopped) == learned(whole)
    assert Run.open(stopped.path).state == "finished"


def test_prediction_compiles_once_for_all_folds_and_views(store, kit, compilations):
    run = begin(store, *SMALL, "folds=3", "epochs=1")
    go(store, run)
    found = []
    for on in ("false", "true"):
        kit("predict", run.id, "--tta", 4, "--set", f"compile={on}")
        found.append(Predictions.load(run.path / "test.npz").values)
    np.testing.assert_array_equal(*found)
    assert 0 < compilations() <= 2


def test_training_leaves_the_network_itself_as_it_is(store, compilations, monkeypatch):
    """Validation, averages, previews and explanations get the plain one."""
    seen = []
    monkeypatch.setattr(
        Validator,
        "_forward",
        lambda self, loader, real=Validator._forward: seen.append(self.predictor.network) or real(self, loader),
    )
    go(store, begin(store, *SMALL, "compile=true", "epochs=1", only_fold=0))
    [network] = seen
    assert isinstance(network, Network)
    assert network._compiled_call_impl is None
    assert compilations() == 2


@pytest.mark.slow
def test_the_compiler_itself_learns_nearly_the_same(store):
    """Inductor fuses operations, so sums are rounded elsewhere; a small rate keeps that from growing."""
    torch._dynamo.reset()
    counters.clear()
    build._compiles.cache_clear()
    if not build._compiles("cpu"):
        pytest.skip("torch can't compile here")
    runs = [begin(store, *SMALL, "lr=1e-4", f"compile={on}", only_fold=0) for on in ("false", "true")]
    for run in runs:
        go(store, run)
    (plain, compiled) = ([row["train loss"] for row in read_history(run, 0)] for run in runs)
    np.testing.assert_allclose(compiled, plain, rtol=1e-3)
    assert counters["stats"]["unique_graphs"] == 3, "what asks whether it can compile, one size, any size"
