"""What kit's training loop costs beside a bare PyTorch loop over the same batches: a ratio of seconds, 1.00 is none.

Both train the same network from the same start on the same batches from the same `Loader` (packed pixels, the steps of
a configuration), in turn, several times in one process; the ratio is the median over the pairs. Progress, history,
interrupt handling, the schedule, seeding and the loss reading are kit's; the bare loop has none of them.

A network with little work a step shows it most.

    python benchmarks/loop_overhead.py [MODEL ...]        two minutes for mobilenet_v3_small on two cores
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import machine
import numpy as np
import pandas as pd
import torch
from one_fold import history_of

from kit.config import TrainConfig
from kit.data.index import Index
from kit.hooks.registry import Registry
from kit.hooks.specs import DatasetSpec
from kit.model.build import Model, build_model, seed_everything
from kit.pixels.batches import Loader
from kit.pixels.pack import Packed
from kit.pixels.pack_workers import Layout
from kit.pixels.sampler import training_plan
from kit.pixels.samples import Samples
from kit.pixels.warp import Steps

IMAGES, PAIRS = 1280, 9
STEPS = {"rot90": True, "rotate": 20, "zoom": 0.1, "brightness": 0.15, "contrast": 0.15}


def make(config: TrainConfig, count: int, folder: Path) -> tuple[Samples, Index]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, config.size, config.size, 3), np.uint8)
    pixels.tofile(folder / "pixels")
    pack = Packed(folder / "pixels", "train", Layout(count, config.size, 3), "")
    frame = pd.DataFrame({"id": [str(n) for n in range(count)], "files": [(str(n),) for n in range(count)]})
    frame["target"] = np.arange(count) % 2
    index = Index(Path(), "binary", ("no", "yes"), frame, frame[["id", "files"]])
    spec = DatasetSpec("memory", 3, index=lambda root: index, read=lambda files: pixels[int(files[0].name)])
    return Samples.of(index, frame, spec, config.size, {config.size: pack}), index


def build(config: TrainConfig, samples: Samples, index: Index) -> Model:
    seed_everything(0)
    halves = {"mean": [0.5] * 3, "std": [0.5] * 3}
    return build_model(config, Registry(), samples.dataset, index, halves, pretrained=False)


def bare(config: TrainConfig, samples: Samples, index: Index) -> float:
    model = build(config, samples, index)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=config.lr, fused=True)
    loader = Loader(samples, Steps(config), 0, model.runtime.device, model.normalize)
    model.network.train()
    began = time.monotonic()
    for batch in loader.batches([step[0] for step in training_plan(len(samples), config.batch_size, (0, 0, 0))]):
        loss = model.loss(model.network(batch.images, batch.metadata), batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return time.monotonic() - began


def ours(config: TrainConfig, samples: Samples, index: Index) -> float:
    return float(history_of(config, build(config, samples, index), samples, index)[0]["seconds"] or 0)


def compare(name: str, folder: Path) -> dict[str, Any]:
    config = TrainConfig(
        competition="c",
        dataset="memory",
        loss="bce",
        model=name,
        epochs=1,
        size=96,
        workers=0,
        schedule="constant",
        **STEPS,
    )
    samples, index = make(config, IMAGES, folder)
    bare(config, samples, index)
    ours(config, samples, index)
    pairs = []
    for number in range(PAIRS):
        # Each goes first in every other pair, so that a drift of the machine's speed favours neither.
        first, second = (ours, bare) if number % 2 else (bare, ours)
        seconds = {first: first(config, samples, index), second: second(config, samples, index)}
        pairs.append((seconds[ours], seconds[bare]))
    return {
        "ratio": round(statistics.median(a / b for a, b in pairs), 4),
        "kit_seconds": [round(a, 3) for a, _ in pairs],
        "bare_seconds": [round(b, 3) for _, b in pairs],
    }


def main() -> None:
    results = {}
    for name in sys.argv[1:] or ["mobilenet_v3_small"]:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = compare(name, Path(folder))
    machine.write("loop_overhead", {"images": IMAGES, "size": 96, "batch": 32, "steps": STEPS, "models": results})


if __name__ == "__main__":
    main()
