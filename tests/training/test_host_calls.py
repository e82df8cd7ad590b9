"""What the host does for a step beside a GPU, counted on a device that is none: a step must not be bound by it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from helpers.fake_gpu import FakeGpu, nowhere
from helpers.leaf_images import Leaves
from helpers.loss_cases import INDEX, built
from helpers.warp_cases import EVERY, config
from kit.config import validate
from kit.hooks.registry import Registry
from kit.model.build import Model
from kit.model.device import Runtime
from kit.model.network import Output
from kit.model.targets import ScaledTargets
from kit.pixels import on_device, resident
from kit.pixels.augment import make_augment
from kit.pixels.batches import Batch, Loader, Normalize
from kit.pixels.steps import DeviceSteps, chosen_steps
from kit.task import BINARY, MULTICLASS, MULTILABEL, ORDINAL, REGRESSION
from kit.training.ema import Ema
from kit.training.finite import LossWatch
from kit.training.stepper import Stepper

BATCHES = 50


class Net(nn.Module):
    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(6, outputs)

    def forward(self, images, metadata=None):
        embedding = self.body(images).flatten(1)
        return Output(self.head(embedding), embedding)


def plan() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.arange(6).repeat(2)[n % 6 :][:4], np.arange(4) + n) for n in range(BATCHES)]


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(resident, "_held", {})
    monkeypatch.setattr(on_device, "BLOCK", 40)  # ten batches
    return FakeGpu(monkeypatch)


def loader_on(gpu: FakeGpu, tmp_path, held: bool, **steps) -> Loader:
    samples = Leaves(tmp_path).samples(20, True)
    if held:
        resident._held[resident._key(samples.pack, gpu.device)] = torch.tensor(samples.pack.pixels)
    normalize = Normalize([0.5] * 3, [0.25] * 3)
    return Loader(samples, make_augment(config(size=20, **steps), None, Registry()), 0, gpu.device, normalize)


@pytest.mark.parametrize("held", [False, True])
def test_a_batch_costs_a_fixed_number_of_calls_and_no_memory(gpu, tmp_path, held):
    loader = loader_on(gpu, tmp_path, held, **EVERY)
    with gpu:
        first = sum(len(batch.rows) for batch in loader.batches(plan()))
        gpu.calls.clear()
        gpu.log.clear()
        assert sum(len(batch.rows) for batch in loader.batches(plan())) == first
    blocks = 5
    assert gpu.calls["pinned allocations"] == 0
    assert gpu.calls["values read"] == 0
    # The plan in two arrays a block; the bytes of a batch, where they do not lie there.
    assert gpu.calls["copies"] == 2 * blocks + (0 if held else BATCHES)
    assert gpu.calls["waits for an event"] == gpu.calls["copies"]
    # gather, float, three of the warp, round, four of the shade, layout, two of the normalisation
    assert gpu.calls["launches"] <= (13 + held) * BATCHES + 10 * blocks


FURTHER = {"hue": 0.1, "saturation": 0.5, "stain": 0.1, "cutout": 0.3, "blur": 1.0, "noise": 0.1}


def test_further_steps_read_no_value_and_copy_nothing_more(gpu, tmp_path):
    loader = loader_on(gpu, tmp_path, True, **EVERY, steps=FURTHER, probabilities={"stain": 0.5, "blur": 0.5})
    with gpu:
        list(loader.batches(plan()))
        gpu.calls.clear()
        list(loader.batches(plan()))
    assert gpu.calls["values read"] == gpu.calls["pinned allocations"] == 0
    assert gpu.calls["copies"] == 2 * 5
    assert gpu.calls["launches"] <= 150 * BATCHES


@pytest.mark.parametrize("step", FURTHER)
def test_no_step_waits_for_a_device(monkeypatch, step):
    """On the meta device, where reading a value is an error, and so is a tensor of another device."""
    (chosen,) = chosen_steps(config(steps={step: FURTHER[step]}, probabilities={step: 0.5}), Registry())
    drawn = chosen.draw(np.arange(4), 16, 3)
    steps = DeviceSteps([chosen], 16, 3)
    with nowhere(monkeypatch) as device:
        found = steps(torch.zeros(4, 3, 16, 16).to(device), torch.from_numpy(drawn.packed).to(device))
    assert found.shape == (4, 3, 16, 16)
    assert found.device.type == "meta"


def test_memory_is_written_again_only_after_it_was_read_and_read_only_after_it_was_written(gpu, tmp_path):
    loader = loader_on(gpu, tmp_path, False, **EVERY)
    with gpu:
        list(loader.batches(plan()))
    (slots,) = loader._there._idle
    for slot in slots:
        copied, read = slot.copied.name, slot.read.name
        own = [line for line in gpu.log if copied in line.split(" after ")[0] or read in line.split(" after ")[0]]
        # The first write has new memory, which may have been another's.
        start = [f"host waits for {copied}", f"{read} after compute"]
        turn = [
            f"copies waits for {read}",
            f"{copied} after copies",
            f"compute waits for {copied}",
            f"{read} after compute",
            f"host waits for {copied}",
        ]
        whole = BATCHES // len(slots)
        assert own[: 2 + 5 * whole - 1] == (start + turn * whole)[: 2 + 5 * whole - 1]
    waits = [n for n, line in enumerate(gpu.log) if line.startswith("host waits")]
    assert len(slots) == 3, "one is read, one is copied, one is gathered"
    assert waits


def test_a_step_of_training_reads_no_value_and_launches_what_a_bare_one_does(gpu, tmp_path):
    """Beside forward and backward pass: the sums of the loss, and one launch for all averages, one for all counters."""
    loader = loader_on(gpu, tmp_path, True, **EVERY)
    runtime = Runtime(gpu.device, None)
    settings = validate({"competition": "c", "dataset": "d", "loss": "bce", "ema": 0.9, "clip": 1.0})
    model = Model(Net(), built("bce", "binary"), loader.normalize, runtime, BINARY)
    stepper, ema = Stepper(settings, model, 2), Ema(model, 0.9)
    job = SimpleNamespace(history=tmp_path / "history.csv")
    watch = LossWatch(job, 0)
    batches = loader.batches(plan())
    ours, bare = [], []
    with gpu:
        for step in range(BATCHES):
            batch = next(batches)
            gpu.calls.clear()
            total = stepper.step(iter([batch]), 1, 4, 1e-3)
            ema.update(step + 1)
            watch.note(step, [(np.arange(4), np.arange(4))], total, 1e-3)
            assert gpu.calls["values read"] + gpu.calls["pinned allocations"] + gpu.calls["copies"] == 0
            assert gpu.calls["waits for an event"] == 0
            ours.append(gpu.calls["launches"])
            gpu.calls.clear()
            loss = model.loss(model.network(batch.images, batch.metadata), batch)
            stepper.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(stepper.learning, 1.0)
            stepper.optimizer.step()
            bare.append(gpu.calls["launches"])
    assert max(ours[1:]) <= bare[-1] + 12


def test_losses_are_read_one_look_late_beside_a_gpu_and_all_of_them_at_the_end(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    watch = LossWatch(SimpleNamespace(history=tmp_path / "history.csv"), 0)
    one = [(np.arange(4), np.arange(4))]
    said = []
    for step in range(4):
        watch.note(step, one, torch.tensor(4.0 * step, dtype=torch.float64), 0.1)
        said.append(watch.check(torch.tensor(4.0 * step, dtype=torch.float64), 4, wait=step == 3))
    assert said == ["", "loss 0.0000", "loss 1.0000", "loss 3.0000"]
    assert [row["loss"] for row in watch.losses.rows] == [0, 1, 2, 3]
    assert gpu.calls["waits for an event"] == 4


CASES = [
    *((name, "binary", BINARY, 1) for name in ("bce", "focal")),
    *((name, "multiclass", MULTICLASS, 4) for name in ("cross_entropy", "arcface", "0.5*cross_entropy+0.5*cosface")),
    *((name, "multilabel", MULTILABEL, 4) for name in ("bce", "focal", "lovasz", "0.7*bce+0.3*soft_f1")),
    *((name, "ordinal", ORDINAL, outputs) for name, outputs in (("coral", 1), ("corn", 3), ("ordinal_mse", 1))),
    *((name, "regression", REGRESSION, 1) for name in ("mse", "0.5*smooth_l1+0.5*mae")),
]


@pytest.mark.parametrize(("loss", "kind", "task", "outputs"), CASES)
@pytest.mark.parametrize("more", [{}, {"mixup": 0.4, "cutmix": 1.0, "clip": 1.0, "class_weights": "balanced"}])
def test_no_loss_and_no_mixing_reads_a_value_from_the_device(monkeypatch, loss, kind, task, outputs, more):
    with nowhere(monkeypatch) as device:
        settings = validate({"competition": "c", "dataset": "d", "loss": loss, "ema": 0.9, **more})
        own = built(loss, kind, **more)
        if task is REGRESSION:
            own = ScaledTargets.of(own, settings, INDEX[kind])
        model = Model(Net(outputs).to(device), own.to(device), None, Runtime(device, None), task)
        stepper, ema = Stepper(settings, model, 4), Ema(model, 0.9)
        target = torch.zeros(8, dtype=torch.int64) if task.softmax else torch.zeros(8, outputs)
        batch = Batch(torch.zeros(8, 3, 9, 9), target, torch.zeros(8, 0), torch.arange(8))
        batch = Batch(*(each.to(device) for each in batch[:3]), batch.rows)
        for step in range(1, 4):
            total = stepper.step(iter([batch, batch]), 2, 16, 1e-3)
            ema.update(step)
        with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
            float(total)  # what the test relies on
