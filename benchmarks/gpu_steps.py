"""Training steps on a GPU: kit's loop with its loader beside a bare loop whose batches lie on the GPU already.

resnet18 and resnet50 at 96 and 224 px, mixed precision, random pixels, new weights. kit gathers bytes, copies them,
warps and normalises them on the GPU, and runs its whole training loop (history, progress, interrupt, loss reading); the
bare loop has one normalised batch and nothing else. Given are images/s of the second epoch (kit) and of as many steps
(bare), in turn, medians over rounds, and the share of kit's epoch in which the GPU had finished a step and waited until
the next batch was there (CUDA events). Without a GPU the result says so and holds no number.

    python benchmarks/gpu_steps.py [ROUNDS]        3 rounds: some five minutes
"""

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import machine
import numpy as np
import pandas as pd
import torch
from loop_overhead import build
from one_fold import history_of
from torch.optim.optimizer import register_optimizer_step_post_hook

from kit.config import TrainConfig
from kit.data.index import Index
from kit.hooks.specs import DatasetSpec
from kit.model.build import Model
from kit.pixels.batches import Batch, Loader
from kit.pixels.pack import Packed
from kit.pixels.pack_workers import Layout
from kit.pixels.sampler import training_plan
from kit.pixels.samples import Samples
from kit.pixels.warp import DeviceWarp

IMAGES = {96: 16_384, 224: 6_144}
MODELS, BATCH = ("resnet18", "resnet50"), 128
STEPS = {"flip": True, "rot90": True, "rotate": 20, "zoom": 0.1, "brightness": 0.1, "contrast": 0.1}


def make(folder: Path, size: int, count: int) -> tuple[Samples, Index]:
    np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8).tofile(folder / "pixels")
    frame = pd.DataFrame({"id": [str(n) for n in range(count)], "files": [(str(n),) for n in range(count)]})
    frame["target"] = np.arange(count) % 2
    index = Index(folder, "binary", ("no", "yes"), frame, frame[["id", "files"]].iloc[:0])
    spec = DatasetSpec("random", 3, lambda root: index, lambda files: np.zeros((size, size, 3), np.uint8))
    pack = Packed(folder / "pixels", "train", Layout(count, size, 3), "")
    return Samples.of(index, frame, spec, size, {size: pack}), index


class Idle:
    """The time between a step's last work on the GPU and the moment at which the next batch's bytes are there."""

    def __init__(self, model: Model) -> None:
        self.ready: list[Any] = []
        self.ended: list[Any] = []
        self.network = model.network

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Note an event in front of each warp of a training batch and behind each step of an optimiser."""
        forward = DeviceWarp.forward

        def noting(warp: DeviceWarp, *given: Any) -> torch.Tensor:
            if self.network.training:
                self.ready.append(self.event())
            return forward(warp, *given)

        DeviceWarp.forward = noting
        after = register_optimizer_step_post_hook(lambda *_: self.ended.append(self.event()))
        try:
            yield
        finally:
            DeviceWarp.forward = forward
            after.remove()

    def event(self) -> Any:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def share(self, steps: int) -> float:
        """The waiting share of the last `steps` steps."""
        torch.cuda.synchronize()
        ready, ended = self.ready[-steps:], self.ended[-steps:]
        whole = ready[0].elapsed_time(ended[-1])
        # In the stream's order: ended[n] comes right before ready[n + 1].
        waits = [max(0.0, end.elapsed_time(begin)) for end, begin in zip(ended[:-1], ready[1:], strict=True)]
        return sum(waits) / whole


def bare(config: TrainConfig, samples: Samples, index: Index) -> float:
    """Images a second of steps on one batch."""
    model = build(config, samples, index)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-5, fused=True)
    scaler, device = model.runtime.scaler(), model.runtime.device
    plan = [step[0] for step in training_plan(len(samples), BATCH, (0,))]
    loader = Loader(samples, config, None, device, model.normalize)
    batch = Batch(*(part.clone() for part in next(loader.batches(plan))))
    model.network.train()

    def steps(count: int) -> None:
        for _ in range(count):
            with model.runtime.autocast():
                loss = model.loss(model.network(batch.images, batch.metadata), batch)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        torch.cuda.synchronize()

    steps(10)
    began = time.perf_counter()
    steps(len(plan))
    return len(plan) * BATCH / (time.perf_counter() - began)


def ours(config: TrainConfig, samples: Samples, index: Index) -> tuple[float, float]:
    """Images a second of kit's second epoch, and the share in which the GPU waited."""
    model = build(config, samples, index)
    idle = Idle(model)
    with idle.watching():
        history = history_of(config, model, samples, index)
    return float(history[1]["images/s"] or 0), idle.share(len(samples) // BATCH)


def compare(name: str, size: int, rounds: int) -> dict[str, Any]:
    config = TrainConfig(
        competition="c",
        dataset="random",
        loss="bce",
        model=name,
        epochs=2,
        size=size,
        batch_size=BATCH,
        lr=1e-5,
        schedule="constant",
        **STEPS,
    )
    kits, bares, idles = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        samples, index = make(Path(folder), size, IMAGES[size])
        for turn in range(rounds):
            for side in ("kit", "bare") if turn % 2 else ("bare", "kit"):
                if side == "bare":
                    bares.append(bare(config, samples, index))
                else:
                    speed, idle = ours(config, samples, index)
                    kits.append(speed)
                    idles.append(idle)
    return {
        "ratio": round(statistics.median(a / b for a, b in zip(kits, bares, strict=True)), 3),
        "share_waiting": round(statistics.median(idles), 4),
        "kit_images_per_second": [round(speed) for speed in kits],
        "bare_images_per_second": [round(speed) for speed in bares],
    }


def main(rounds: int = 3) -> None:
    if not torch.cuda.is_available():
        machine.write("gpu_steps", {"gpu": None, "not measured": "no GPU on this machine"})
        return
    results = {f"{name} {size} px": compare(name, size, rounds) for name in MODELS for size in IMAGES}
    machine.write("gpu_steps", {"gpu": torch.cuda.get_device_name(), "batch": BATCH, "steps": STEPS, **results})


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
