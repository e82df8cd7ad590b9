"""A run opened with its data: where every command after training begins."""

import hashlib
from functools import cached_property

import numpy as np

from kit.console import Console
from kit.data.checksums import ChangedData
from kit.data.folds import Folds, folds_of_run
from kit.data.index import Index
from kit.data.store import Store
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, MetricSpec, SubmissionSpec
from kit.record import DataFacts
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
        self.changed = ""  # what of the data is other than when the run started, once the index is read
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
        try:
            index = self.store.index().with_metadata(self.config.metadata)
        except ChangedData as error:
            # Which id is new or gone says more.
            if isinstance(error.content, Index):
                self.folds.of(error.content.train)
            raise
        if list(index.classes) != self.run.record.get("classes"):
            raise KitError(f"the data's classes are not those of run {self.run.id}: train again on this data")
        self.changed = self._changed(index)
        if self.changed:
            Console().warn(f"{self.changed}: what is computed here may not fit it")
        return index

    def _changed(self, index: Index) -> str:
        """Say what of the training data is no longer what the run learned from; empty if nothing is known to be."""
        then = self.run.record.get("data")
        if then is None:
            return ""
        now = data_facts(self.store, index)
        # Data that was added since (kit download --add) leaves what was there before.
        if then["arrived"] and not set(then["arrived"].split("+")) <= set(now["arrived"].split("+")):
            return f"the data in {self.store.root} is not the archive that run {self.run.id} learned from"
        if then["labels"] != now["labels"]:
            return f"the labels in {self.store.root} are not those that run {self.run.id} learned from"
        return ""

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


def data_facts(store: Store, index: Index) -> DataFacts:
    """Return what tells the data that a run learns from: digests of its archives and of its labels and file names."""
    digest = hashlib.sha256()
    for frame in (index.train, index.external):
        for id_, files, target in zip(frame["id"], frame["files"], frame["target"], strict=True):
            digest.update(f"{id_}\0{chr(0).join(files)}\0{target}\n".encode())
    if index.metadata:
        digest.update(index.metadata_of(index.train).tobytes())
    return {"arrived": store.note.get("digest", ""), "labels": digest.hexdigest(), "pixels": {}}
