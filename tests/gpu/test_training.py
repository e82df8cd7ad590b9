"""Whole trainings on a card: stopped and resumed, in less memory than they need, with pixels that live on it."""

import contextlib
import gc
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from helpers.device_runs import Learner, config_of, made, on
from helpers.little_memory import in_training
from helpers.training_runs import begin, go, learned, read_history
from kit.errors import KitError
from kit.model.checkpoint import Checkpoints
from kit.model.network import Network
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.training.interrupt import Interrupt

pytestmark = pytest.mark.gpu

SMALL = ["model=small_cnn", "pretrained=false", "lr=1e-3", "batch_size=16"]  # 120 images a fold, 8 steps an epoch
RECIPES = {
    "plain": [],
    "ema, mixup, clip": ["ema=0.9", "mixup=0.4", "clip=1"],
    "freeze, accumulate": ["freeze_epochs=1", "accumulate=2"],
    "sgd, sizes": ["optimizer=sgd", 'size="16,32"'],
}


@contextlib.contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    """Ask to stop after that many looks at the interrupt: one a step, and one a batch of a validation."""
    looks, check = [0], Interrupt.check

    def counting(self: Interrupt) -> None:
        looks[0] += 1
        self.requested = self.requested or looks[0] == steps
        check(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interrupt, "check", counting)
        yield


def stopped_and_resumed(store, recipe: list[str], steps: int = 5) -> Run:
    run = begin(store, *SMALL, *recipe, only_fold=0)
    with stopped_after(steps), pytest.raises(KitError, match="--resume"):
        go(store, run)
    state = Checkpoints(run.fold_dir(0)).content["state"]
    assert state["step"] % 8 > 0, "in the middle of an epoch"
    go(store, run)
    return run


@pytest.mark.parametrize("recipe", [[], ["ema=0.9", "mixup=0.4"]], ids=["plain", "ema, mixup"])
def test_a_resumed_run_ends_near_one_that_never_stopped(store, recipe):
    """In the precision of the card. Sums come in any order there, so: losses to 0.02, probabilities to 0.05."""
    whole = begin(store, *SMALL, *recipe, only_fold=0)
    go(store, whole)
    stopped = stopped_and_resumed(store, recipe)
    ours, theirs = (read_history(run, 0)[-1] for run in (stopped, whole))
    for column in ("train loss", "valid loss"):
        assert ours[column] == pytest.approx(theirs[column], abs=0.02)
    ours, theirs = (Predictions.load(run.path / "fold-0" / "oof.npz").values for run in (stopped, whole))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.05)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_resumed_run_ends_with_the_same_bytes_where_algorithms_are_deterministic(store, deterministic, recipe):
    whole = begin(store, *SMALL, *recipe, only_fold=0)
    go(store, whole)
    assert learned(stopped_and_resumed(store, recipe)) == learned(whole)


def test_the_scale_of_half_precision_survives_a_stop(store, device, deterministic):
    half = torch.float16 if device.type == "cuda" else torch.bfloat16
    with pytest.MonkeyPatch.context() as patch, on(device, half) as runtime:
        if device.type == "cpu":  # bfloat16 in a rehearsal, with the scaler of float16
            patch.setattr(type(runtime), "scaler", lambda self: torch.amp.GradScaler("cpu", growth_interval=6))
        whole = begin(store, *SMALL, only_fold=0)
        go(store, whole)
        stopped = stopped_and_resumed(store, [])
    states = [Checkpoints(run.fold_dir(0)).content["state"]["scaler"] for run in (whole, stopped)]
    assert states[0]["scale"] > 0
    assert states[0] == states[1]
    assert learned(stopped) == learned(whole)


def test_what_deterministic_algorithms_cost(tmp_path, device, figure):
    """Noted, not judged: seconds of the same steps, deterministic by not."""
    data, seconds = made(tmp_path / "pixels", 512, 64), {}
    for exact in (False, True, False, True):
        torch.use_deterministic_algorithms(exact)
        try:
            config = (
                config_of(model="resnet18", batch_size=128, size=64) if device.type == "cuda" else config_of(size=64)
            )
            learner = Learner(data, config, device, "bf16")
            learner.steps(2)
            began = time.perf_counter()
            learner.steps(20 if device.type == "cuda" else 4)
            seconds.setdefault(exact, []).append(time.perf_counter() - began)
        finally:
            torch.use_deterministic_algorithms(False)
    assert min(map(len, seconds.values())) == 2
    figure("deterministic algorithms: seconds of a step by those without", min(seconds[True]) / min(seconds[False]))


# ------------------------------------------------------------------ less memory than needed


def free(device: torch.device) -> None:
    """Forget what earlier tests took."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


@contextlib.contextmanager
def too_little_memory(device: torch.device, peak: int) -> Iterator[None]:
    """Leave this process 0.7 of the bytes that it took before; in a rehearsal more than 30 images are too many."""
    if device.type == "cuda":
        whole = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(0.7 * peak / whole, device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "forward", in_training(30))
        yield


def test_a_batch_too_large_for_the_card_is_halved(store, kit, device):
    # A network whose activations take most of the memory: a training batch more than twice that of validation.
    large = ["model=resnet50", "size=224"] if device.type == "cuda" else ["model=small_cnn", "size=32"]
    settings = ["pretrained=false", "batch_size=60", "epochs=2", *large]
    # Once before: in its first epoch cuDNN tries algorithms with memory of their own.
    go(store, begin(store, *settings, "epochs=1", only_fold=0))
    free(device)
    whole = begin(store, *settings, only_fold=0)
    go(store, whole)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    limited = begin(store, *settings, only_fold=0)
    free(device)
    with too_little_memory(device, peak):
        done = kit("train", "--resume", limited.id)
    said = " ".join(done.err.split())
    assert said.count("each batch is computed in") == 1
    assert Run.open(limited.path).record["parts"] >= 2
    states = [Checkpoints(run.fold_dir(0)).content["state"] for run in (limited, whole)]
    assert states[0]["step"] == states[1]["step"] == 4, "the same global batches"
    assert all(np.isfinite(row["train loss"]) for row in states[0]["history"])


# ------------------------------------------------------------------ pixels that live on the card


@pytest.mark.parametrize("recipe", [["rotate=20", "brightness=0.2", "rot90=true"], ["normalize=image"], ["crop=0.75"]])
def test_pixels_on_the_card_train_the_same_as_pixels_on_the_host(store, device, deterministic, recipe):
    runs = [begin(store, *SMALL, *recipe, f"pixels={place}", only_fold=0) for place in ("host", "gpu", "auto")]
    for run, stays in zip(runs, (False, True, True), strict=True):
        go(store, run)
        said = "stay on the GPU" in (run.path / "log.txt").read_text()
        assert said == (stays and device.type == "cuda")
    assert learned(runs[1]) == learned(runs[0])
    assert learned(runs[2]) == learned(runs[0])
