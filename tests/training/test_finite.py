"""A number that is no longer finite ends training in one line with its rows, its cause and what to look at first."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.shared_training import made
from helpers.training_runs import begin, go
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.pixels.samples import Samples
from kit.pixels.statistics import ChannelStatistics
from kit.run import Run
from kit.training import finite, validator
from kit.training.interrupt import Interrupt
from kit.training.loop import train_fold
from kit.training.stepper import Stepper

SHORT = ("epochs=1", "model=small_cnn")


def refused(store, *settings: str) -> tuple[Run, str, dict]:
    run = begin(store, *SHORT, *settings, only_fold=0)
    with pytest.raises(KitError) as caught:
        go(store, run)
    return run, str(caught.value), json.loads((run.fold_dir(0) / finite.FILE).read_text())


@pytest.mark.parametrize("more", [(), ("save_every=1",)], ids=["validated", "saved every step"])
def test_a_loss_that_is_not_finite_names_its_rows(kit, store, more):
    run, said, noted = refused(store, "loss=3e38*bce", "optimizer=sgd", *more)
    assert "fold 0: the loss is" in said
    assert "a smaller --lr than" in said
    assert str(run.fold_dir(0) / finite.FILE) in said
    assert 1 <= len(noted["ids"]) <= 120
    assert set(noted["ids"]) <= set(store.index().train["id"])
    assert said.count("\n") == 0
    assert Run.open(run.path).state == "failed"
    # Resumed, it says the same again, not a traceback.
    again = kit("train", "--resume", run.id, code=2).err.splitlines()[-1]
    assert "a smaller --lr" in again


def test_an_output_that_is_not_finite_names_its_rows(store, monkeypatch):
    predict = validator.forward

    def broken(*arguments, **options):
        result = predict(*arguments, **options)
        result.probabilities[[3, 7]] = np.nan
        return result

    monkeypatch.setattr(validator, "forward", broken)
    run, said, noted = refused(store)
    assert "the network's output for 2 of 120 validation images is not a number" in said
    index, folds = store.index(), OpenRun(Registry(), run).folds
    assert noted["ids"] == index.train["id"][folds.of(index.train) == 0].iloc[[3, 7]].tolist()


def test_ctrl_c_after_a_nan_saves_no_nan(store, monkeypatch):
    check = Interrupt.check

    def stops(self: Interrupt) -> None:
        self.requested = True
        check(self)

    monkeypatch.setattr(Interrupt, "check", stops)
    run = begin(store, *SHORT, "std=[1e-44,1e-44,1e-44]", only_fold=0)
    with pytest.raises(KitError, match=r"a std that is 0 or not finite|smaller --lr"):
        go(store, run)
    assert not (run.fold_dir(0) / "checkpoint.json").exists()


@pytest.mark.parametrize(("every", "step"), [({"validate_every": 5}, 8), ({"save_every": 3}, 8), ({}, 3), ({}, 12)])
def test_a_loss_that_is_read_late_names_its_own_rows(tmp_path, monkeypatch, every, step):
    """Beside a GPU a look reads what the look before asked for; before validating, saving and ending all is read."""
    job, _ = made({"batch_size": 4, **every}, tmp_path)
    start, gradients, taken = finite._Reading.start, Stepper.gradients, []

    def spoil(stepper, *given):
        total = gradients(stepper, *given)
        taken.append(1)
        if len(taken) == step:
            stepper.loss_sum += np.nan
            stepper.learning[0].grad.fill_(np.nan)
            total = total + np.nan
        return total

    late = SimpleNamespace(synchronize=lambda: None)
    monkeypatch.setattr(finite._Reading, "start", lambda *given: start(*given)._replace(done=late))
    monkeypatch.setattr(Stepper, "gradients", spoil)
    number = (step - 1) % len(job.plan((0,))) + 1
    with Interrupt("") as interrupt, pytest.raises(KitError, match=f"the loss is nan at step {number} of an epoch"):
        train_fold(job, interrupt, Console(silent=True))
    rows = np.concatenate([rows for rows, _ in job.plan((0, 0, (step - 1) // len(job.plan((0,)))))[number - 1]])
    assert json.loads((tmp_path / finite.FILE).read_text())["ids"] == [str(row) for row in rows]


def spoiled(samples: Samples, what: str) -> Samples:
    bad = {
        "target": lambda: replace(samples, targets=np.where(samples.targets > 0, np.nan, samples.targets)),
        "statistics": lambda: replace(
            samples,
            statistics=ChannelStatistics(
                np.full((len(samples), 3), np.nan, np.float32), np.ones((len(samples), 3), np.float32)
            ),
        ),
    }
    return bad[what]()


@pytest.mark.parametrize(
    ("what", "said"), [("target", "the target of id"), ("statistics", "the statistics that normalise")]
)
def test_the_cause_is_the_input_where_it_is(store, monkeypatch, what, said):
    from kit.training import train as module

    samples = module._samples

    def spoiling(*arguments):
        train, *others = samples(*arguments)
        return spoiled(train, what), *others

    monkeypatch.setattr(module, "_samples", spoiling)
    _, text, noted = refused(store)
    assert said in text
    assert said in noted["cause"]
    assert "--lr" not in text
