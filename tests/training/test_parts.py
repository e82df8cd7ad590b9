"""Too little memory for a batch: the same steps in more parts, as if the batch had been smaller from the start."""

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.little_memory import SAID, TEXT, in_training, out
from helpers.shared_training import Plain, learned, made
from helpers.training_runs import begin, go
from helpers.training_runs import learned as learned_files
from kit.console import Console
from kit.errors import KitError
from kit.model import distributed
from kit.model.network import Network
from kit.pixels.sampler import training_plan
from kit.run import Run
from kit.training import steps
from kit.training.interrupt import Interrupt
from kit.training.loop import train_fold
from kit.training.parts import Parts
from kit.training.stepper import Stepper
from kit.training.steps import Steps

# ------------------------------------------------------------------ plans


@pytest.mark.parametrize(
    ("count", "batch_size", "accumulate", "parts"),
    [(45, 8, 1, 2), (45, 8, 1, 4), (45, 8, 2, 2), (41, 8, 1, 2), (34, 8, 1, 4), (42, 12, 3, 2), (7, 16, 1, 4)],
)
def test_parts_are_the_plan_of_a_smaller_batch(count, batch_size, accumulate, parts):
    ours = training_plan(count, batch_size, (0,), accumulate, parts=parts)
    theirs = training_plan(count, batch_size // parts, (0,), accumulate * parts)
    for step, other in zip(ours, theirs, strict=True):
        for (rows, seeds), (own, others) in zip(step, other, strict=True):
            assert rows.tolist() == own.tolist()
            assert seeds.tolist() == others.tolist()


@pytest.mark.parametrize("min_rows", [2, 4])
@pytest.mark.parametrize("parts", [1, 2, 4, 8, 16])
@pytest.mark.parametrize(("count", "batch_size", "accumulate"), [(46, 15, 1), (46, 7, 2), (33, 32, 1), (31, 5, 3)])
def test_parts_have_the_rows_and_seeds_of_their_step(count, batch_size, accumulate, parts, min_rows):
    whole = training_plan(count, batch_size, (0,), accumulate, min_rows=min_rows)
    divided = training_plan(count, batch_size, (0,), accumulate, min_rows=min_rows, parts=parts)
    for step, own in zip(whole, divided, strict=True):
        for one, other in zip(zip(*step, strict=True), zip(*own, strict=True), strict=True):
            assert np.concatenate(one).tolist() == np.concatenate(other).tolist()
        sizes = [len(rows) for rows, _ in own]
        assert min(sizes) >= min_rows
        assert max(sizes) <= max(-(-batch_size // parts) + 1, 2 * min_rows - 1)


# ------------------------------------------------------------------ training


def trained(folder: Path, settings: dict, parts: Parts | None = None, most: int | None = None) -> dict:
    folder.mkdir(exist_ok=True)
    job, rows = made(settings, folder, parts, most)
    with Interrupt("") as interrupt:
        return learned(job, rows, train_fold(job, interrupt, Console(silent=True)))


def same(ours: dict, theirs: dict, exactly: bool = True) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if exactly and name not in ("valid loss", "probabilities"):  # validation has batches of another size
            assert torch.equal(value, theirs[name]), name
        else:
            torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)


def stop_after(patch: pytest.MonkeyPatch, step: int) -> None:
    """Ask to stop once a step of the first epoch is taken."""
    take = Steps.take

    def stopping(self, number, rate):
        total = take(self, number, rate)
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)
        return total

    patch.setattr(Steps, "take", stopping)


RECIPES = {
    "plain": {},
    "twice": {"batch_size": 16},
    "momentum": {"momentum": 0.9},
    "accumulated": {"accumulate": 2},
    "balanced": {"sampler": "balanced"},
    "clip": {"clip": 0.1},
    "ema": {"ema": 0.9},
    "margin": {"centred": True},
    "workers": {"workers": 1},
    "norm": {"norm": True},
    "norm, ema": {"norm": True, "ema": 0.9},
    "mixup": {"mixup": 0.4},
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_batch_that_does_not_fit_learns_as_a_smaller_one(tmp_path, recipe):
    """To the bit as with half the batch and twice the accumulation; without batch norm and draws as with the whole."""
    parts = Parts()
    ours = trained(tmp_path / "ours", recipe, parts, most=4)
    assert parts.count == recipe.get("batch_size", 8) // 4
    smaller = {"batch_size": 4, "accumulate": parts.count * recipe.get("accumulate", 1)}
    same(ours, trained(tmp_path / "smaller", {**recipe, **smaller}))
    if not recipe.keys() & {"norm", "mixup"}:
        same(ours, trained(tmp_path / "whole", recipe), exactly=False)


def test_validation_that_does_not_fit_is_the_same_and_divides_no_batch(tmp_path, capsys):
    whole = trained(tmp_path / "whole", {"norm": True})
    (tmp_path / "ours").mkdir()
    parts = Parts()
    job, rows = made({"norm": True}, tmp_path / "ours", parts)
    network, forward, asked = job.model.network, job.model.network.forward, []

    def limited_to_validation(images, metadata=None):
        asked.append(len(images))
        if not network.training and not network.norm.training and len(images) > 5:
            raise out()
        return forward(images, metadata)

    network.forward = limited_to_validation
    with Interrupt("") as interrupt:
        ours = learned(job, rows, train_fold(job, interrupt, Console()))
    assert capsys.readouterr().err.count("too little memory") == 1
    assert asked.count(16) == 1
    assert parts.count == 1
    same(ours, whole)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(7, 1), (11, 1), (7, 3)])
def test_an_odd_batch_learns_as_a_whole_one(tmp_path, batch_size, accumulate):
    settings, parts = {"batch_size": batch_size, "accumulate": accumulate}, Parts()
    ours = trained(tmp_path / "ours", settings, parts, -(-batch_size // 2))
    assert parts.count == 2
    same(ours, trained(tmp_path / "whole", settings), exactly=False)


@pytest.mark.parametrize("settings", [{"norm": True}, {"norm": True, "ema": 0.9, "accumulate": 2}])
def test_what_the_failed_attempt_moved_does_not_count(tmp_path, monkeypatch, settings):
    """From the third step on: to the bit as a run that was stopped there and went on in two parts."""
    forward, calls = Plain.forward, [0]
    before = 2 * settings.get("accumulate", 1)

    def counted(self, images, metadata=None):
        calls[0] += self.training
        self.most = 4 if calls[0] > before + settings.get("accumulate", 1) - 1 else None
        return forward(self, images, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(Plain, "forward", counted)
        parts = Parts()
        ours = trained(tmp_path / "ours", settings, parts)
    assert parts.count == 2
    folder = tmp_path / "stopped"
    folder.mkdir()
    job, _ = made(settings, folder)
    with monkeypatch.context() as patch, Interrupt("") as interrupt:
        stop_after(patch, 1)
        with pytest.raises(KitError, match="interrupted"):
            train_fold(job, interrupt, Console(silent=True))
    divided = Parts()
    divided.count = 2
    same(ours, trained(folder, settings, divided))


@pytest.mark.parametrize(("pixels", "count"), [("auto", 1), ("host", 2)])
def test_packed_pixels_leave_the_gpu_before_a_batch_is_divided(tmp_path, monkeypatch, pixels, count):
    parts = Parts()
    job, _ = made({"pixels": pixels}, tmp_path, parts, most=4)

    def free(device: torch.device) -> bool:
        had, job.model.network.most = job.model.network.most is not None, None
        return had

    monkeypatch.setattr(steps.resident, "release", free)
    with Interrupt("") as interrupt:
        train_fold(job, interrupt, Console(silent=True))
    assert parts.count == count


@pytest.mark.parametrize(
    ("where", "most", "settings", "said"),
    [
        ("gradients", 1, {}, "for 2 images at once, too few to divide: "),
        ("update", None, {"batch_size": 16}, "--batch-size 8 --set accumulate=2 (the same steps in less memory)"),
        ("update", None, {"batch_size": 7}, "a smaller --batch-size and a larger accumulate"),
    ],
)
def test_what_can_not_be_divided_or_repeated_ends_in_one_line(tmp_path, monkeypatch, where, most, settings, said):
    job, _ = made(settings, tmp_path, most=most)
    before = [value.clone() for value in job.model.network.parameters()]

    def full(self, rate):
        raise torch.OutOfMemoryError(TEXT)

    if where == "update":
        monkeypatch.setattr(Stepper, "update", full)
    with Interrupt("") as interrupt, pytest.raises(KitError) as caught:
        train_fold(job, interrupt, Console(silent=True))
    assert caught.value.code == 5
    assert said in str(caught.value)
    assert str(caught.value).startswith("the GPU has too little memory (CUDA out of memory. Tried to allocate 2.00 GiB")
    assert not list(tmp_path.glob("*.safetensors"))
    assert all(map(torch.equal, before, job.model.network.parameters()))


def test_one_process_of_several_ends_and_notes_the_parts_for_the_next_start(store, monkeypatch, tmp_path):
    """The others wait for it in their backward pass, so it can't repeat its own."""
    run = begin(store, *SHORT)
    (tmp_path / "job").mkdir()
    job, _ = made({"batch_size": 16}, tmp_path / "job", Parts(run), most=4)
    stepper = Stepper(job.config, job.model, 2)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    with pytest.raises(KitError) as caught:
        Steps(job, stepper, job.train_loader(job.config.size), 0).take(0, 0.1)
    assert caught.value.code == 5
    assert re.fullmatch(
        r"process 1 of 2: the GPU has too little memory \(.*\) for 8 images at once, its share of a batch: each will "
        r"be computed in 2 parts, a step stays the same \(from the start: --batch-size 8 --set accumulate=2\); "
        r"let all processes end",
        str(caught.value),
    )
    assert Run.open(run.path).record["parts"] == 2
    assert Parts(Run.open(run.path)).count == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 9 TiB"), "there is too little memory (Unable to allocate 9 TiB)"),
        (
            RuntimeError("CUDA error: out of memory\nCompile with"),
            "the GPU has too little memory (CUDA error: out of memory)",
        ),
        (
            RuntimeError("[enforce fail at a.cpp:1] err == 0. DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            "there is too little memory (DefaultCPUAllocator: can't allocate memory: 9 bytes)",
        ),
    ],
    ids=["numpy", "CUDA", "torch"],
)
def test_any_kind_of_too_little_memory_divides_the_batch(tmp_path, monkeypatch, capsys, error, said):
    gradients, parts = Stepper.gradients, Parts(console=Console())
    job, _ = made({}, tmp_path, parts)

    def fails_whole(self, batches, count, images):
        if count == 1:
            raise error
        return gradients(self, batches, count, images)

    monkeypatch.setattr(Stepper, "gradients", fails_whole)
    with Interrupt("") as interrupt:
        train_fold(job, interrupt, Console(silent=True))
    assert parts.count == 2
    assert capsys.readouterr().err == (
        f"warning: {said} for 8 images at once: each batch is computed in 2 parts, a step is the same "
        "(from the start: --batch-size 4 --set accumulate=2)\n"
    )


def test_other_errors_are_raised_as_they_are(tmp_path, monkeypatch):
    job, _ = made({}, tmp_path)

    def fails(self, batches, count, images):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Stepper, "gradients", fails)
    with Interrupt("") as interrupt, pytest.raises(RuntimeError, match="mat1"):
        train_fold(job, interrupt, Console(silent=True))


# ------------------------------------------------------------------ whole runs


TINY = ["--folds", 2, "--epochs", 1, "--size", 32, "--model", "small_cnn", "--no-pretrained", "--batch-size", 8]


SHORT = ["epochs=1", "model=small_cnn", "pretrained=false"]


def weights(run: Run) -> list[torch.Tensor]:
    files = sorted(run.path.glob("fold-*/*.safetensors"))
    assert files
    return [value for file in files for _, value in sorted(load_file(file).items())]


LINE = f"warning: {SAID} for 16 images at once: each batch is computed in 2 parts, a step is the same (from the start: "


def test_a_run_is_divided_once_for_all_its_folds_and_says_so_once(store, capsys, monkeypatch):
    run, smaller = begin(store, *SHORT), begin(store, *SHORT, "batch_size=8", "accumulate=2")
    go(store, smaller)
    monkeypatch.setattr(Network, "forward", in_training(8))
    capsys.readouterr()
    go(store, run)
    err = capsys.readouterr().err
    assert err.count(LINE + "--batch-size 8 --set accumulate=2)\n") == 1
    assert err.count("too little memory") == 1
    assert err.count("too little") == (run.path / "log.txt").read_text().count("too little")
    assert Run.open(run.path).record["parts"] == 2
    assert [result["parts"] for result in Run.open(run.path).results.values()] == [2, 2]
    for ours, theirs in zip(weights(run), weights(smaller), strict=True):
        assert torch.equal(ours, theirs)


def test_a_resumed_run_begins_divided(store, capsys, monkeypatch):
    whole, stopped = begin(store, *SHORT, only_fold=0), begin(store, *SHORT, only_fold=0)
    monkeypatch.setattr(Network, "forward", in_training(8))
    go(store, whole)
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(KitError, match="interrupted"):
            go(store, stopped)
    assert Run.open(stopped.path).record["parts"] == 2
    capsys.readouterr()
    go(store, stopped)
    assert "too little" not in capsys.readouterr().err
    assert learned_files(stopped) == learned_files(whole)


def test_too_little_for_anything_is_one_line_with_the_way_on(kit, store, monkeypatch):
    monkeypatch.setattr(Network, "forward", in_training(0))
    err = kit("train", "histo", *TINY, code=5).err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in err
    assert lines[0].startswith(f"error: {SAID} for 2 images at once, too few to divide: ")
    assert re.search(r", then kit train --resume histopathology-[-0-9]+ goes on$", lines[0])
