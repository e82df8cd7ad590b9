"""A run opened with its data: where every command after training begins."""

import hashlib
from functools import cached_property

import numpy as np

from kit.config import TrainConfig
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
        config: its configuration, with what this command sets otherwise (`kit.resolve.on_this_machine`).

    Raises:
        KitError: there is no data, or it is other data, or has other classes, than the run was trained on.
    """

    def __init__(self, registry: Registry, run: Run, config: TrainConfig | None = None) -> None:
        self.registry, self.run, self.config = registry, run, config or run.config
        self.changed = ""  # what of the data is other than when the run started, once the index is read
        self.store = Store.of(registry, self.config.competition, self.config.dataset)
        if self.store.origin is None or "data" not in run.record:
            self._refuse_other_origin()

    def _refuse_other_origin(self, index: Index | None = None) -> None:
        """Raise `KitError` for data of another origin, unless its index shows that it is what the run learned from.

        The same data may have come by another way. A run without a record of it tells real data from a miniature alone.
        """
        run, now = self.run, self.store.origin
        then = run.record["origin"]
        if now is None or now == then:
            same = now is not None
        elif index is None:
            same = "miniature" not in (then, now)
        else:
            same = same_labels(run.record["data"], data_facts(self.store, index))
        if not same:
            other = "nothing" if now is None else now if index is None else f"{now} with other ids or labels"
            raise KitError(
                f"run {run.id} was trained on data of origin {then}, {self.store.root} now holds {other}: "
                "restore the former data or start a new run"
            )

    @property
    def competition(self) -> Competition:
        """The facts of the run's competition."""
        return self.store.competition

    @cached_property
    def index(self) -> Index:
        """The data's index, with the metadata that the configuration feeds to the network, and the run's ids."""
        try:
            index = self.store.index().with_metadata(self.config.metadata)
        except ChangedData as error:
            # Which id is new or gone says more.
            if isinstance(error.content, Index):
                try:
                    self.folds.of(error.content.train)
                except KitError as misfit:
                    raise KitError(f"{misfit}; {error}") from None
            raise
        if list(index.classes) != self.run.record.get("classes"):
            what = "classes" if index.task.has_classes else "targets"
            raise KitError(f"the data's {what} are not those of run {self.run.id}: train again on this data")
        if "data" in self.run.record:
            self._refuse_other_origin(index)
        self.changed = self._changed(index)
        if self.changed:
            Console().warn(f"{self.changed}: what is computed here may not fit it")
        # A run with a limit has the ids of its folds alone.
        return index if self.config.limit is None else index.with_ids(self.folds.table["id"])

    def _changed(self, index: Index) -> str:
        """Say what of the training data is no longer what the run learned from; empty if nothing is known to be."""
        then = self.run.record.get("data")
        if then is None:
            return ""
        now = data_facts(self.store, index)
        # Data that was added since (kit download --add) leaves what was there before; folders have no digest.
        both = then["arrived"] and now["arrived"]
        if both and not set(then["arrived"].split("+")) <= set(now["arrived"].split("+")):
            return f"the data in {self.store.root} is not the archive that run {self.run.id} learned from"
        if not same_labels(then, now):
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
        return self.metric.score(self.index.task, target, prediction)


def data_facts(store: Store, index: Index) -> DataFacts:
    """Return what tells the data that a run learns from: digests of its archives, labels, file names and ids."""
    labels, targets = hashlib.sha256(), hashlib.sha256()
    for frame in (index.train, index.external):
        for id_, files, target in zip(frame["id"], frame["files"], frame["target"], strict=True):
            labels.update(f"{id_}\0{chr(0).join(files)}\0{target}\n".encode())
            targets.update(f"{id_}\0{target}\n".encode())
    if index.metadata:
        for digest in (labels, targets):
            digest.update(index.metadata_of(index.train).tobytes())
    arrived = "" if store.origin == "folder" else store.note.get("digest", "")
    return {"arrived": arrived, "labels": labels.hexdigest(), "targets": targets.hexdigest(), "pixels": {}}


def same_labels(then: DataFacts, now: DataFacts) -> bool:
    """Return whether two records are of the same ids and labels; their files may lie in other folders by now."""
    return then["labels"] == now["labels"] or ("targets" in then and then["targets"] == now.get("targets"))
