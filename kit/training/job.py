"""The inputs of one fold's training."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from kit.config import TrainConfig
from kit.console import Console
from kit.hooks.specs import MetricSpec
from kit.hooks.trackers import Tracker
from kit.model import distributed
from kit.model.build import Model
from kit.model.checkpoint import Checkpoints
from kit.pixels import resident
from kit.pixels.batches import Augment, Loader
from kit.pixels.sampler import Plan, balanced_weights, training_plan
from kit.pixels.samples import Samples
from kit.training.forecast import Forecast
from kit.training.parts import Parts


@dataclass(frozen=True)
class FoldJob:
    """Everything that one fold's training needs; the model is new and belongs to this fold alone.

    Args:
        config: configuration of the run.
        fold: number of the fold.
        model: the model to train.
        train, valid: training and validation images.
        augment: augmentation of the training images.
        metrics: computed at each validation, the competition's first.
        checkpoints: checkpoints of this fold.
        history: path of history.csv.
        ids, valid_ids: id of each training and validation image.
        trackers: receive the numbers of each validation.
        classes: names of all classes.
        forecast: estimate for the whole run.
        parts: in how many parts batches are computed.
    """

    config: TrainConfig
    fold: int
    model: Model
    train: Samples
    valid: Samples
    augment: Augment | None
    metrics: tuple[MetricSpec, ...]
    checkpoints: Checkpoints
    history: Path
    ids: np.ndarray
    valid_ids: np.ndarray
    trackers: tuple[Tracker, ...]
    classes: tuple[str, ...]
    forecast: Forecast
    parts: Parts = field(default_factory=Parts)

    @cached_property
    def _weights(self) -> np.ndarray | None:
        return balanced_weights(self.train.targets) if self.config.sampler == "balanced" else None

    def plan(self, seed: tuple[int, ...]) -> Sequence[Plan]:
        """Return the plan of an epoch: for each step its batches of (rows, seeds), over all processes."""
        config, min_rows, parts = self.config, 2 * distributed.world_size(), self.parts.count
        return training_plan(
            len(self.train), config.batch_size, seed, config.accumulate, self._weights, min_rows, parts
        )

    def keep_pixels(self, console: Console) -> None:
        """Let packed pixels lie on the GPU, as configured."""
        # Batches that mix two packs, or go through a pipeline, are made by the host.
        packs = () if self.train.external_packs or self.config.augment else self.train.packs.values()
        resident.keep(packs, self.model.runtime.device, self.config.pixels, console)

    def train_loader(self, size: int) -> Loader:
        """Return the loader of augmented training images with this side, pixels."""
        return self._loader(replace(self.train, size=size), self.augment)

    def valid_loader(self, size: int) -> Loader:
        """Return the loader of validation images with this side, pixels."""
        return self._loader(replace(self.valid, size=size), None)

    def _loader(self, samples: Samples, augment: Augment | None) -> Loader:
        return Loader(samples, augment, self.config.workers, self.model.runtime.device, self.model.normalize)
