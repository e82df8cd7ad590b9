"""Trains one fold in memory, alone or under torchrun, and saves what it has learned: shared_training.py OUT {...}

The network has no batch normalisation, whose statistics are those of each process's own images; with "norm" it has one
before its first layer, which sees the same images whatever the network learns.
"""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from kit.config import TrainConfig
from kit.console import Console
from kit.data.index import Index
from kit.hooks.learning import LossRequest
from kit.hooks.registry import Registry
from kit.hooks.specs import DatasetSpec
from kit.inference.forward import Forward
from kit.model import distributed
from kit.model.build import Model, seed_everything
from kit.model.checkpoint import Checkpoints
from kit.model.device import Runtime
from kit.model.losses import build_loss, loss_terms
from kit.model.network import Output
from kit.model.targets import ScaledTargets
from kit.pixels.augment import make_augment
from kit.pixels.batches import Batch, Normalize
from kit.pixels.samples import Samples
from kit.training.forecast import Forecast
from kit.training.interrupt import Interrupt
from kit.training.job import FoldJob
from kit.training.loop import train_fold
from kit.training.parts import Parts

COUNT, SIZE = 45, 12
TASKS = {
    "binary": (("no", "yes"), (np.arange(COUNT) % 3 == 0).astype(int)),
    "ordinal": (("low", "middle", "high"), np.arange(COUNT) % 3),
    "regression": (("height",), np.arange(COUNT) * 10.0 + 500),
}


class Plain(nn.Module):
    """A network into which `most` images fit in training, if given."""

    def __init__(self, norm: bool, most: int | None = None) -> None:
        super().__init__()
        self.most = most
        self.norm = nn.BatchNorm2d(3) if norm else nn.Identity()
        convolution = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.body = nn.Sequential(convolution, nn.Linear(200, 6), nn.ReLU())
        self.head = nn.Module()
        self.head.classifier = nn.Linear(6, 1)

    def forward(self, images: torch.Tensor, metadata: torch.Tensor | None) -> Output:
        normed = self.norm(images)
        if self.training and self.most is not None and len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has none")
        embedding = self.body(normed)
        return Output(self.head.classifier(embedding), embedding)


class Centred(nn.Module):
    """A loss with weights of its own, as margin losses have."""

    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.linspace(-1, 1, 6))

    def forward(self, output: Output, batch: Batch) -> torch.Tensor:
        logits = output.logits + (output.embedding @ self.centre)[:, None]
        return nn.functional.binary_cross_entropy_with_logits(logits, batch.target)


class Rows:
    """A tracker that keeps the last row."""

    def log(self, step: int, values: dict) -> None:
        self.last = values

    def close(self) -> None:
        pass


def made(settings: dict, folder: Path, parts: Parts | None = None, most: int | None = None) -> tuple[FoldJob, Rows]:
    """Return a fold's job in memory, and the tracker that keeps its last row; `most` images fit into its network."""
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
    frame = pd.DataFrame({"id": [str(n) for n in range(COUNT)], "files": [(str(n),) for n in range(COUNT)]})
    values = {"loss": "bce", "batch_size": 8, "momentum": 0, **settings}
    task = values.pop("task", "binary")
    classes, frame["target"] = TASKS[task]
    index = Index(Path(), task, classes, frame, frame[["id", "files"]])
    spec = DatasetSpec("memory", 3, index=lambda root: index, read=lambda files: pixels[int(files[0].name)])
    samples = Samples.of(index, frame, spec, SIZE)
    seed_everything(0)
    network, centred = Plain(values.pop("norm", False), most), values.pop("centred", False)
    config = TrainConfig(
        competition="c",
        dataset="memory",
        size=SIZE,
        epochs=2,
        optimizer="sgd",
        schedule="constant",
        lr=0.05,
        rot90=True,
        **values,
    )
    registry = Registry()
    loss = Centred() if centred else build_loss(loss_terms(config.loss, registry, task), LossRequest(config, index, 6))
    if task == "regression":
        loss = ScaledTargets.of(loss, config, index)
    model = Model(network, loss, Normalize([0.5] * 3, [0.5] * 3), Runtime.choose("off"), index.task, index.outputs)
    rows = Rows()
    job = FoldJob(
        config=config,
        fold=0,
        model=model,
        train=samples,
        valid=samples,
        augment=make_augment(config, folder, registry),
        metrics=(registry.metrics.get("rmse" if task == "regression" else "accuracy"),),
        checkpoints=Checkpoints(folder),
        history=folder / "history.csv",
        ids=np.arange(len(samples)),
        valid_ids=np.arange(len(samples)),
        trackers=(rows,),
        classes=index.classes,
        forecast=Forecast(1, 0, 0, Console(silent=True)),
        parts=parts or Parts(),
    )
    return job, rows


def learned(job: FoldJob, rows: Rows, result: Forward) -> dict[str, torch.Tensor]:
    """Return what a fold has learned, by name."""
    row = {key: torch.tensor(rows.last[key]) for key in ("train loss", "valid loss")}
    weights = {**job.model.network.state_dict(), **job.model.loss.state_dict(prefix="loss.")}
    return {**weights, **row, "probabilities": torch.from_numpy(result.probabilities)}


def main(out: Path, settings: dict) -> None:
    with tempfile.TemporaryDirectory() as folder, Interrupt("") as interrupt, contextlib.ExitStack() as stack:
        stack.enter_context(distributed.joined())
        job, rows = made(settings, Path(folder))
        found = learned(job, rows, train_fold(job, interrupt, Console(silent=True)))
        save_file({key: value.contiguous() for key, value in found.items()}, out / f"{distributed.rank()}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
