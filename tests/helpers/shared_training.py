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
from kit.hooks.registry import Registry
from kit.hooks.specs import DatasetSpec, LossRequest
from kit.model import distributed
from kit.model.build import Model, seed_everything
from kit.model.checkpoint import Checkpoints
from kit.model.device import Runtime
from kit.model.losses import build_loss, loss_terms
from kit.model.network import Output
from kit.pixels.batches import Normalize
from kit.pixels.samples import Samples
from kit.task import BINARY
from kit.training.forecast import Forecast
from kit.training.interrupt import Interrupt
from kit.training.job import FoldJob
from kit.training.loop import train_fold

COUNT, SIZE = 45, 12


class Plain(nn.Module):
    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3) if norm else nn.Identity()
        convolution = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.body = nn.Sequential(convolution, nn.Linear(200, 6), nn.ReLU())
        self.head = nn.Module()
        self.head.classifier = nn.Linear(6, 1)

    def forward(self, images: torch.Tensor, metadata: torch.Tensor | None) -> Output:
        embedding = self.body(self.norm(images))
        return Output(self.head.classifier(embedding), embedding)


class Rows:
    """A tracker that keeps the last row."""

    def log(self, step: int, values: dict) -> None:
        self.last = values

    def close(self) -> None:
        pass


def main(out: Path, settings: dict) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
    frame = pd.DataFrame({"id": [str(n) for n in range(COUNT)], "files": [(str(n),) for n in range(COUNT)]})
    frame["target"] = (np.arange(COUNT) % 3 == 0).astype(int)
    index = Index(Path(), "binary", ("no", "yes"), frame, frame[["id", "files"]])
    spec = DatasetSpec("memory", 3, index=lambda root: index, read=lambda files: pixels[int(files[0].name)])
    samples = Samples.of(index, frame, spec, SIZE)
    seed_everything(0)
    values = {"loss": "bce", **settings}
    network = Plain(values.pop("norm", False))
    config = TrainConfig(
        competition="c",
        dataset="memory",
        size=SIZE,
        batch_size=8,
        epochs=2,
        optimizer="sgd",
        momentum=0,
        schedule="constant",
        lr=0.05,
        rot90=True,
        **values,
    )
    registry = Registry()
    loss = build_loss(loss_terms(config.loss, registry, "binary"), LossRequest(config, index, 6))
    model = Model(network, loss, Normalize([0.5] * 3, [0.5] * 3), Runtime.choose("off"), BINARY)
    console, rows = Console(silent=True), Rows()
    with tempfile.TemporaryDirectory() as folder, Interrupt("") as interrupt, contextlib.ExitStack() as stack:
        stack.enter_context(distributed.joined())
        job = FoldJob(
            config=config,
            fold=0,
            model=model,
            train=samples,
            valid=samples,
            augment=config,
            metrics=(registry.metrics.get("accuracy"),),
            checkpoints=Checkpoints(Path(folder)),
            history=Path(folder) / "history.csv",
            ids=np.arange(len(samples)),
            valid_ids=np.arange(len(samples)),
            trackers=(rows,),
            classes=index.classes,
            forecast=Forecast(1, 0, 0, console),
        )
        result = train_fold(job, interrupt, console)
        row = {key: torch.tensor(rows.last[key]) for key in ("train loss", "valid loss")}
        learned = {**model.network.state_dict(), **row, "probabilities": torch.from_numpy(result.probabilities)}
        save_file(
            {key: value.contiguous() for key, value in learned.items()}, out / f"{distributed.rank()}.safetensors"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
