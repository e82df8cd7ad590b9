"""Prepare a training run: check everything that can be checked, then write the run's directory."""

import contextlib
import platform
import shutil
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from kit.config import TrainConfig
from kit.console import Console
from kit.data.external import FILE as EXTERNAL
from kit.data.external import left_out, with_external, write_left_out
from kit.data.folds import Folds, groups_spanning_folds, made_folds
from kit.data.index import Index, odd_labels, rows_of
from kit.data.open_run import OpenRun, data_facts
from kit.data.store import Store
from kit.errors import KitError, nearest
from kit.files import need_writable
from kit.hooks.learning import FUSED_STEPS
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, MetricSpec
from kit.model import distributed
from kit.model.build import build_model, normalization_of
from kit.model.device import Runtime
from kit.paths import runs_dir
from kit.pixels.augment import load_pipeline
from kit.pixels.statistics import check_normalize
from kit.pixels.steps import chosen_steps
from kit.record import Normalization
from kit.run import Run, WriteFile
from kit.runs import find_run
from kit.training.graphs import why_no_graphs
from kit.training.rows import check_rows, limited

PIPELINE = "augment.json"


def folds_for(store: Store, index: Index, count: int, console: Console) -> Folds:
    """Return the saved folds of this number; make and save them if there are none."""
    folds = made_folds(store, index, count, console)
    if folds.ignores:
        console.warn(
            f"the folds ignore {folds.ignores}: samples of one appear in several folds, so scores are optimistic"
        )
    elif groups_spanning_folds(index, folds):
        raise KitError(
            f"groups span folds in the saved {count} folds: kit folds {store.competition.name} --folds {count}"
        )
    return folds


def check_batch(config: TrainConfig) -> None:
    """Raise `KitError` if a batch is too small for each process to have two images of it, which batch norm needs."""
    processes = distributed.world_size()
    if config.batch_size < 2 * processes:
        why = (
            f"batch norm can't learn from a batch of {config.batch_size} image"
            if processes == 1
            else f"{processes} processes can't share {config.batch_size} images"
        )
        raise KitError(f"{why}: --batch-size {2 * processes} or more")


def check_trackers(config: TrainConfig, registry: Registry) -> None:
    """Raise `KitError` if a tracker of the configuration is unknown, or can't work here."""
    for name in config.trackers:
        tracker = registry.trackers.get(name)
        if tracker.check is not None:
            tracker.check()


def check_names(config: TrainConfig, registry: Registry) -> None:
    """Raise `KitError` if a tracker, the optimiser or a step of augmentation is unknown, or can't be what is asked."""
    check_trackers(config, registry)
    chosen_steps(config, registry)
    registry.optimizers.get(config.optimizer)


def idle_settings(config: TrainConfig) -> list[str]:
    """Return a line for each setting that changes nothing, as what it acts on is off."""
    off = [step for step in config.probabilities if step in FUSED_STEPS and not getattr(config, step)]
    lines = [
        f"probabilities: {step} is off, so how often it is applied changes nothing (--set {step}=...)" for step in off
    ]
    if config.steps and config.augment:
        lines.append(f"steps ({', '.join(config.steps)}) change nothing: the pipeline of augment replaces all steps")
    if config.track_network and not config.trackers:
        lines.append("track_network shows nothing without a tracker: --set trackers=tensorboard")
    # Not `Runtime.choose`, which looks at the card: with Ray, others train.
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.graphs and (why := why_no_graphs(device)):
        lines.append(f"graphs changes nothing, since {why}")
    if config.pixels == "gpu" and device.type == "cpu":
        lines.append("pixels=gpu changes nothing, since there is no GPU here")
    elif config.pixels == "gpu" and (not config.pack or config.limit or config.external or config.augment):
        lines.append("pixels=gpu changes nothing: with pack=false, limit, external or augment the host makes batches")
    return lines


def start_run(
    registry: Registry,
    store: Store,
    config: TrainConfig,
    sources: Mapping[str, str],
    only_fold: int | None,
    console: Console,
) -> Run:
    """Check everything that can be checked before training, then write a new run's directory."""
    check_batch(config)
    need_writable(runs_dir(), "set KIT_RUNS to a folder where runs can be written")
    index = store.index().with_metadata(config.metadata)
    check_normalize(index, config.normalize)
    for what, names in index.missing.items():
        if names:
            console.warn(f"{len(names)} {what}, e.g. {names[0]}: left out (kit check {store.competition.name})")
    for odd in odd_labels(index):
        console.warn(odd)
    learned_from = data_facts(store, index)
    folds = folds_for(store, index, config.folds, console)
    config, index, external_out, planned = _settle(store, index, folds, config, only_fold, console)
    index, folds = limited(index, folds, config, console)
    own_external = [len(index.external) - int(left) for left in external_out.sum(0)]
    check_rows(index, folds, planned, own_external, config, registry.metrics.get(store.competition.metric), console)
    normalization = normalization_of(config, registry, store.dataset, index, console)
    check_names(config, registry)
    for idle in idle_settings(config):
        console.warn(idle)
    epoch_metrics(registry, store.competition)
    registry.submissions.get(store.competition.submission)
    _try_model(config, registry, store, index, normalization)
    files: dict[str, WriteFile] = {"folds.csv": lambda path: path.write_bytes(folds.csv())}
    if len(index.external):
        files[EXTERNAL] = partial(write_left_out, index, external_out)
    if config.augment is not None:
        load_pipeline(Path(config.augment))
        files[PIPELINE] = partial(shutil.copyfile, config.augment)
        config = config.model_copy(update={"augment": PIPELINE})
    return Run.create(
        config,
        {
            "competition": store.competition.name,
            "slug": store.competition.slug,
            "origin": store.origin,
            "classes": list(index.classes),
            "sources": dict(sources),
            "normalization": normalization,
            "folds": folds.facts,
            "planned": planned,
            "external": {"ids": len(index.external), "left_out": external_out.sum(0).tolist()}
            if len(index.external)
            else None,
            "left_out": {what: len(names) for what, names in index.missing.items()},
            "data": learned_from,
            "versions": _versions(),
        },
        files,
    )


def _versions() -> dict[str, str]:
    """Return the versions of what a run is computed with; only a pipeline of one's own needs albumentations."""
    versions = {"python": platform.python_version()}
    for name in ("torch", "torchvision", "timm", "albumentations", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _settle(
    store: Store, index: Index, folds: Folds, config: TrainConfig, only_fold: int | None, console: Console
) -> tuple[TrainConfig, Index, np.ndarray, list[int]]:
    """Complete the configuration and the index, and choose the folds to train.

    Returns:
        The configuration with absolute paths, the index with external images, which of them are left out of which fold
        (m x folds), and the folds to train.
    """
    external_out = np.zeros((len(index.external), folds.count), bool)
    if config.external is not None:
        path = Path(config.external).absolute()
        config = config.model_copy(update={"external": str(path)})
        own, index = len(index.external), with_external(store, index, path, console)
        external_out = left_out(store, index, folds, console)
        console.say(
            f"external: {len(index.external) - own} images from {config.external}; near-duplicates of "
            f"validation images, left out per fold: {', '.join(map(str, external_out.sum(0)))}"
        )
    chosen = rows_of(index.train, config.only)
    if not len(chosen):
        column, _, value = (config.only or "").partition("=")
        known = sorted(set(index.train[column].astype(str)))
        raise KitError(f"only = {config.only!r}: no training row has that {column}: {nearest(value, known)}")
    fold_of_row = folds.of(index.train)[index.train.index.get_indexer(chosen.index)]
    planned = np.unique(fold_of_row).tolist() if only_fold is None else [valid_fold(only_fold, config.folds)]
    if only_fold is None and len(planned) < config.folds:
        console.warn(f"only {config.only}: it appears in folds {', '.join(map(str, planned))} alone")
    if config.init is not None:
        start = _init_run(config, folds, index, planned)
        config = config.model_copy(update={"init": str(start.path.absolute())})
    return config, index, external_out, planned


def _try_model(
    config: TrainConfig, registry: Registry, store: Store, index: Index, normalization: Normalization
) -> None:
    """Find a wrong model, head or loss, and weights that are not available, before a directory exists.

    Not on this machine's GPU: with Ray, others train.
    """
    build_model(config, registry, store.dataset, index, normalization, config.pretrained, Runtime.plain())


def training_index(opened: OpenRun, console: Console) -> Index:
    """Return the index that a run learns from, with its external images."""
    index, external = opened.index, opened.config.external
    return index if external is None else with_external(opened.store, index, Path(external), console)


def _init_run(config: TrainConfig, folds: Folds, index: Index, planned: list[int]) -> Run:
    """Return the run from whose weights training starts (`init`).

    It must have the same folds: networks of other folds have seen some of its validation images.
    """
    start = find_run(config.init)
    if start.record["folds"]["digest"] != folds.digest or start.record.get("classes") != list(index.classes):
        raise KitError(
            f"init = {start.id}: it was trained on other folds or classes: "
            f"kit train {config.competition} --folds {config.folds} trains one to start from"
        )
    if untrained := sorted(set(planned) - set(start.trained_folds)):
        raise KitError(f"init = {start.id}: its fold {untrained[0]} is not trained: kit train --resume {start.id}")
    for key in ("model", "head", "head_batch_norm", "two_units", "metadata", "bounds"):
        if (own := getattr(start.config, key)) != getattr(config, key):
            raise KitError(
                f"init = {start.id} has {key} = {own}: --model, head, head_batch_norm, two_units, metadata and "
                "bounds must be the same"
            )
    return start


def valid_fold(fold: int, count: int) -> int:
    """Return the number of a fold; raise if there is no such fold."""
    if not 0 <= fold < count:
        raise KitError(f"there is no fold {fold} of {count}: give --fold 0 to --fold {count - 1}")
    return fold


def epoch_metrics(registry: Registry, competition: Competition) -> tuple[MetricSpec, ...]:
    """Return the metrics of each validation: the competition's own, by which it is scored, comes first."""
    names = dict.fromkeys((competition.metric, *competition.epoch_metrics))
    metrics = tuple(registry.metrics.get(name) for name in names)
    for metric in metrics:
        if competition.task not in metric.tasks:
            raise KitError(
                f"metric {metric.name} is for {', '.join(metric.tasks)} tasks, {competition.name} is "
                f"{competition.task}: name another metric in the plugin of {competition.name}"
            )
    return metrics
