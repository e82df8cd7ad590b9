"""A run opened with its data: where every command after training begins."""

from functools import cached_property

import numpy as np

from kit.data.folds import Folds, folds_of_run
from kit.data.index import Index
from kit.data.store import Store
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, MetricSpec, SubmissionSpec
from kit.run import Run


class OpenRun:
    """A run with its store, index, folds and metric, each read on first use.

    Args:
        registry: where to find competition, dataset, metric and network.
        run: the run.

    Raises:
        KitError: the origin or the classes of the data are not those the run was trained on.
    """

    def __init__(self, registry: Registry, run: Run) -> None:
        self.registry, self.run, self.config = registry, run, run.config
        self.store = Store.of(registry, self.config.competition, self.config.dataset)
        if self.store.origin != run.record["origin"]:
            raise KitError(
                f"run {run.id} was trained on data of origin {run.record['origin']}, {self.store.root} now holds "
                f"{self.store.origin or 'nothing'}: restore the former data or start a new run"
            )

    @property
    def competition(self) -> Competition:
        """The facts of the run's competition."""
        return self.store.competition

    @cached_property
    def index(self) -> Index:
        """The data's index, with the metadata that the configuration feeds to the network."""
        index = self.store.index().with_metadata(self.config.metadata)
        if list(index.classes) != self.run.record["classes"]:
            raise KitError(f"the data's classes are not those of run {self.run.id}: train again on this data")
        return index

    @cached_property
    def folds(self) -> Folds:
        """The folds that the run was trained on."""
        return folds_of_run(self.run)

    @cached_property
    def metric(self) -> MetricSpec:
        """The competition's metric."""
        return self.registry.metrics.get(self.competition.metric)

    @cached_property
    def submission(self) -> SubmissionSpec:
        """The competition's submission format."""
        return self.registry.submissions.get(self.competition.submission)

    def score(self, target: np.ndarray, prediction: np.ndarray) -> float:
        """Return the competition's metric of targets (as `Index.targets` returns them) and probabilities nxK."""
        task = self.index.task
        return self.metric.compute(task.flat(target), task.flat(prediction))
