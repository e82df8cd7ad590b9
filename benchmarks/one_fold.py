"""Train one fold of samples with kit's own loop, without a run around it."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kit.config import TrainConfig
from kit.console import Console
from kit.data.index import Index
from kit.hooks.registry import Registry
from kit.model.build import Model
from kit.model.checkpoint import Checkpoints
from kit.pixels.samples import Samples
from kit.training.forecast import Forecast
from kit.training.interrupt import Interrupt
from kit.training.job import FoldJob
from kit.training.loop import train_fold


def history_of(config: TrainConfig, model: Model, samples: Samples, index: Index) -> list[dict[str, Any]]:
    """Train on all samples, validate on two of them, and return the rows of the history, one an epoch."""
    console = Console(json=True)
    few = replace(samples, files=samples.files[:2], targets=samples.targets[:2], metadata=samples.metadata[:2])
    with tempfile.TemporaryDirectory() as folder, Interrupt("") as interrupt:
        checkpoints = Checkpoints(Path(folder))
        job = FoldJob(
            config=config,
            fold=0,
            model=model,
            train=samples,
            valid=few,
            augment=config,
            metrics=(Registry().metrics.get("accuracy"),),
            checkpoints=checkpoints,
            history=Path(folder) / "history.csv",
            ids=np.arange(len(samples)),
            valid_ids=np.arange(2),
            trackers=(),
            classes=index.classes,
            forecast=Forecast(len(samples), 0, 0, console),
        )
        train_fold(job, interrupt, console)
        history: list[dict[str, Any]] = checkpoints.content["state"]["history"]
        return history
