"""Stopped anywhere and resumed, a run ends with the bytes of one that was not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from helpers.training_runs import begin, go, learned, loop_columns, read_history
from kit.errors import KitError
from kit.model.checkpoint import Checkpoints
from kit.run import Run
from kit.training.interrupt import Interrupt


@pytest.fixture
def stop_after(monkeypatch):
    """Ask to stop after a number of looks at the interrupt, which happens after each batch of any kind."""

    def arm(looks: int) -> None:
        count = [0]
        check = Interrupt.check

        def counting(self: Interrupt) -> None:
            count[0] += 1
            self.requested = self.requested or count[0] == looks
            check(self)

        monkeypatch.setattr(Interrupt, "check", counting)

    return arm


# 120 images a fold: 8 batches of training an epoch; a validation has 8 to settle batch norm and 4 to predict.
# At the start, in an epoch, at its end, after it, near the end of all; `make test-slow` has more places.
QUICK, MORE = (1, 8, 13, 30, 52), (5, 10, 12, 16, 20, 24, 33, 40)


@pytest.mark.parametrize(
    "looks", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in MORE)], ids=lambda n: f"after-{n}-batches"
)
def test_resume_equals_uninterrupted(store, stop_after, monkeypatch, looks):
    whole = begin(store, "validate_every=5")
    go(store, whole)
    stopped = begin(store, "validate_every=5")
    stop_after(looks)
    with pytest.raises(KitError, match=f"kit train --resume {stopped.id}") as caught:
        go(store, stopped)
    assert caught.value.code == 130
    assert Run.open(stopped.path).state == "interrupted"
    monkeypatch.undo()
    monkeypatch.setenv("KIT_DATA", str(store.root.parent))
    go(store, stopped)
    assert learned(stopped) == learned(whole)
    columns = [name for name in loop_columns(whole) if name not in ("seconds", "images/s")]
    for fold in (0, 1):
        ours, theirs = (read_history(run, fold) for run in (stopped, whole))
        assert [[row[c] for c in columns] for row in ours] == [[row[c] for c in columns] for row in theirs]
        ours, theirs = ((run.fold_dir(fold) / "steps.csv").read_bytes() for run in (stopped, whole))
        assert ours == theirs
        assert ours.count(b"\n") == 1 + 16


RECIPES = {
    "ema, freeze, depth, clip": ["ema=0.99", "freeze_epochs=1", 'lr="1e-4..1e-2"', "clip=1.0"],
    "accumulate, balanced, mixup, cutmix": ["accumulate=3", "sampler=balanced", "mixup=0.4", "cutmix=1.0"],
    "sizes, plateau, sgd": ['size="16,32"', "schedule=plateau", "optimizer=sgd", "nesterov=true"],
    "step, adam, best, keep": ["schedule=step", "optimizer=adam", "checkpoint=best", "keep=3", "save_every=2"],
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_resumes_to_the_same_bytes(store, stop_after, monkeypatch, recipe):
    whole, stopped = begin(store, *recipe, only_fold=0), begin(store, *recipe, only_fold=0)
    go(store, whole)
    for looks in (7, 6):
        stop_after(looks)
        with pytest.raises(KitError, match="--resume"):
            go(store, stopped)
        monkeypatch.undo()
        monkeypatch.setenv("KIT_DATA", str(store.root.parent))
    go(store, stopped)
    ours, theirs = learned(stopped), learned(whole)
    # Where several checkpoints are kept, a stop adds one of its own.
    common = set(ours) & set(theirs)
    assert {"oof.npz", "fold-0/oof.npz"} < common
    assert {name: ours[name] for name in common} == {name: theirs[name] for name in common}
    assert Checkpoints(stopped.fold_dir(0)).content["last"] == Checkpoints(whole.fold_dir(0)).content["last"]


def test_a_killed_process_is_resumed_to_the_same_bytes(store, kit):
    whole = begin(store, "epochs=3")
    go(store, whole)
    killed = begin(store, "epochs=3")
    process = subprocess.Popen(
        [sys.executable, "-m", "kit", "train", "--resume", killed.id], stdout=subprocess.DEVNULL, env=os.environ
    )
    deadline = time.monotonic() + 60
    while not (killed.fold_dir(0) / "checkpoint.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Run.open(killed.path).state == "stopped"
    kit("train", "--resume", killed.id)
    assert learned(killed) == learned(whole)
    assert Run.open(killed.path).state == "finished"


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_saves_and_says_how_to_go_on(store, workers):
    run = begin(store, "epochs=50", f"workers={workers}")
    process = subprocess.Popen(
        [sys.executable, "-m", "kit", "train", "--resume", run.id],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (run.fold_dir(0) / "checkpoint.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    # As a terminal does: to the process and its workers.
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"kit train --resume {run.id}" in said
    assert "Traceback" not in said
    assert Run.open(run.path).state == "interrupted"
    assert Checkpoints(run.fold_dir(0)).weights("last")
