"""Validate a fold while it trains: forward pass, metrics, a row of history, trackers."""

import math

import torch
from torch import Tensor

from kit.console import Console
from kit.hooks.trackers import ImageTracker, NetworkTracker
from kit.inference.forward import Forward, forward
from kit.model import distributed
from kit.model.build import Model
from kit.model.memory import AtOnce
from kit.pixels.batches import Loader
from kit.training.batch_norm import is_unsettled, settle, settling_plan
from kit.training.finite import need_finite_output
from kit.training.history import History
from kit.training.interrupt import Interrupt
from kit.training.job import FoldJob
from kit.training.previews import previews
from kit.training.state import TrainState


class Validator:
    """Validates the predicting model (the network or the average of its weights), records the result in the state."""

    def __init__(
        self, job: FoldJob, predictor: Model, steps_per_epoch: int, interrupt: Interrupt, console: Console
    ) -> None:
        self.job, self.predictor, self.steps_per_epoch = job, predictor, steps_per_epoch
        self.interrupt, self.console = interrupt, console
        self.history = History(job.history, console)
        self.metric = job.metrics[0]
        self.unsettled = is_unsettled(predictor.network, steps_per_epoch)
        self._settling: Loader | None = None  # of the training images, at the size validated last
        # Apart: what validation has no room for must not divide the batches over which batch norm averages.
        self.at_once, self._settling_at_once = AtOnce(console), AtOnce(console)

    def validate(self, loader: Loader, state: TrainState, train_loss: float, rate: float) -> Forward:
        """Predict the validation images and score them.

        Args:
            loader: loader of the validation images.
            state: receives the row of history, and the step and score of the best validation.
            train_loss: mean loss per training image of the epoch so far.
            rate: learning rate of the last step.
        """
        job, task = self.job, self.predictor.task
        self._settle(state, loader.samples.size)
        result = self._forward(loader)
        need_finite_output(job, result)
        scores = {
            metric.label or metric.name: metric.score(task, result.targets, result.probabilities)
            for metric in job.metrics
        }
        self._note_best(state, next(iter(scores.values())), result.loss)
        row = {
            "epoch": round(state.step / self.steps_per_epoch, 3),
            "train loss": train_loss,
            "valid loss": result.loss,
            **scores,
            "lr": rate,
            "seconds": state.seconds,
            "images/s": state.images / max(state.seconds, 1e-9),
        }
        state.history = self.history.add(state.history, row)
        state.validated = state.step
        for tracker in job.trackers:
            tracker.log(state.step, row)
            if isinstance(tracker, ImageTracker):
                tracker.images(state.step, previews(job.valid, result, task, job.classes))
            if job.config.track_network and isinstance(tracker, NetworkTracker):
                tracker.network(state.step, self.predictor.network, *self._example())
        return result

    def last(self, state: TrainState) -> tuple[float | None, float | None]:
        """Return the metric and the loss of the last validation."""
        row = state.history[-1]
        return row[self.metric.label or self.metric.name], row["valid loss"]

    def _example(self) -> tuple[Tensor, Tensor]:
        """Return a black image, and metadata of 0, as the network takes them."""
        valid, size, device = self.job.valid, self.job.config.size, self.predictor.runtime.device
        images = torch.zeros(1, valid.dataset.channels, size, size, device=device)
        return images, torch.zeros(1, valid.metadata.shape[1], device=device)

    def _note_best(self, state: TrainState, metric: float, loss: float) -> None:
        """Note the step if it is the best so far; while what decides is undefined, the newest is."""
        by_loss = self.job.config.checkpoint == "best_loss"
        decisive = loss if by_loss else metric
        sign = 1 if self.metric.higher_is_better and not by_loss else -1
        if state.best_score is None or (math.isfinite(decisive) and sign * decisive > sign * state.best_score):
            state.best_step, state.best_score = state.step, decisive if math.isfinite(decisive) else None

    def _settle(self, state: TrainState, size: int) -> None:
        """Re-estimate the statistics of batch normalisation if an epoch has too few steps for their averages."""
        if not self.unsettled:
            return
        # A loader of its own: that of training may be in the middle of an epoch.
        if self._settling is None or self._settling.samples.size != size:
            self._settling = self.job.train_loader(size)
        plan = settling_plan(self.job.plan((self.job.config.seed, self.job.fold, state.epoch)))
        settle(self.predictor, self._settling, plan, lambda images: self._check(), self._settling_at_once)

    def _check(self) -> None:
        if distributed.world_size() == 1:  # other processes may have more or fewer batches
            self.interrupt.check()

    def _forward(self, loader: Loader) -> Forward:
        # Batch normalisation has seen different images in each process.
        distributed.broadcast(self.predictor.network.buffers())
        with self.console.progress(f"fold {self.job.fold} validation", len(self.job.valid)) as bar:

            def after_batch(images: int) -> None:
                bar.advance(images * distributed.world_size())
                self._check()

            batch_size = self.job.config.batch_size * 2
            return forward(self.predictor, loader, batch_size, after_batch=after_batch, at_once=self.at_once)
