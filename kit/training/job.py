"""What one fold's training is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from kit.config import TrainConfig
from kit.hooks.specs import MetricSpec, Tracker
from kit.model import distributed
from kit.model.build import Model
from kit.model.checkpoint import Checkpoints
from kit.pixels.batches import Augment, Loader
from kit.pixels.sampler import Plan, balanced_weights, training_plan
from kit.pixels.samples import Samples
from kit.training.forecast import Forecast


@dataclass(frozen=True)
class FoldJob:
    """All that one fold's training needs; the model is new and belongs to this fold alone.

    Args:
        config: of the run.
        fold: its number.
        model: to train.
        train, valid: what is learned from, and what judges.
        augment: of training images.
        metrics: of each validation, the competition's first.
        checkpoints: of this fold.
        history: path of history.csv.
        trackers: that receive the numbers.
        classes: names of all classes.
        forecast: of the whole run.
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
    trackers: tuple[Tracker, ...]
    classes: tuple[str, ...]
    forecast: Forecast

    @cached_property
    def _weights(self) -> np.ndarray | None:
        return balanced_weights(self.train.targets) if self.config.sampler == "balanced" else None

    def plan(self, seed: tuple[int, ...]) -> Sequence[Plan]:
        """An epoch: for each step its batches of (rows, seeds), over all processes."""
        config, min_rows = self.config, 2 * distributed.world_size()
        return training_plan(len(self.train), config.batch_size, seed, config.accumulate, self._weights, min_rows)

    def train_loader(self, size: int) -> Loader:
        """Augmented training images of one side, pixels."""
        return self._loader(replace(self.train, size=size), self.augment)

    def valid_loader(self, size: int) -> Loader:
        """Validation images of one side, pixels."""
        return self._loader(replace(self.valid, size=size), None)

    def _loader(self, samples: Samples, augment: Augment | None) -> Loader:
        return Loader(samples, augment, self.config.workers, self.model.runtime.device, self.model.normalize)
