"""Which rows each fold learns from and which it validates on, and what can be said of them before training."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from kit.config import TrainConfig
from kit.console import Console
from kit.data.folds import Folds
from kit.data.index import Index, rows_of
from kit.errors import KitError
from kit.hooks.specs import MetricSpec
from kit.model import distributed


def fold_rows(index: Index, folds: Folds, fold: int, only: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the data that a fold learns from, and those that it validates on."""
    fold_of_row = folds.of(index.train)
    train, valid = (rows_of(index.train[own], only) for own in (fold_of_row != fold, fold_of_row == fold))
    return train, valid


def limited(index: Index, folds: Folds, config: TrainConfig, console: Console) -> tuple[Index, Folds]:
    """Return index and folds with `limit` training ids alone; both as they are without a limit.

    The ids are drawn with the run's seed, evenly from the folds and, where a row has one class, from the classes: each
    gives the same share, and at least one where the limit has room for all.

    Raises:
        KitError: the limit is too small to give each fold an id.
    """
    frame = rows_of(index.train, config.only).drop_duplicates("id")
    if config.limit is None or config.limit >= len(frame):
        return index, folds
    fold = folds.of_ids(frame["id"].to_numpy(object))
    if config.limit < len(np.unique(fold)):
        raise KitError(
            f"limit = {config.limit} can't give each of {folds.count} folds an image: --limit {2 * folds.count} or more"
        )
    by_class = index.task.single_label and index.task.has_classes
    parts = pd.DataFrame({"fold": fold, "class": frame["target"].to_numpy() if by_class else 0})
    random = np.random.default_rng((config.seed, config.limit))
    parts = parts.iloc[random.permutation(len(parts))]
    groups = parts.groupby(["fold", "class"])
    rank, size = groups.cumcount(), groups["fold"].transform("size")
    # The share of a part that is drawn once its row is; a first row goes first if there is room for one of each.
    key = (rank + 0.5) / size
    if groups.ngroups <= config.limit:
        key = key.where(rank > 0, 0)
    else:
        key = key.where(parts.groupby("fold").cumcount() > 0, 0)
    chosen = set(frame["id"].to_numpy(object)[key.sort_values(kind="stable").index[: config.limit]])
    evenly = "folds and classes" if by_class else "folds"
    console.say(f"limit: {len(chosen):,} of {len(frame):,} training ids, drawn evenly from {evenly}")
    table = folds.table[folds.table["id"].isin(chosen)].reset_index(drop=True)
    return index.with_ids(table["id"]), replace(folds, table=table)


def check_rows(
    index: Index,
    folds: Folds,
    planned: Sequence[int],
    external: Sequence[int],
    config: TrainConfig,
    metric: MetricSpec,
    console: Console,
) -> None:
    """Refuse a fold that would learn from too few images; warn of one that can't be scored, or learns one class.

    Args:
        index, folds: of the run.
        planned: the folds to train.
        external: number of external images of each fold.
        config: of the run.
        metric: the competition's.
        console: for the warnings.
    """
    need = 2 * distributed.world_size()  # batch norm can't learn from one image in a process
    for fold in planned:
        train, valid = fold_rows(index, folds, fold, config.only)
        images = len(train) + external[fold]
        if images < need:
            raise KitError(
                f"fold {fold} would learn from {images} image{'' if images == 1 else 's'}, and batch norm needs {need} "
                f"or more: {_more(index, folds, config)}"
            )
        if index.task.single_label and train["target"].nunique() == 1 and not external[fold]:
            console.warn(f"fold {fold} learns from {_alone(index, train)}: {_other_folds(index, folds, config)}")
        if not _is_defined(index, valid, metric):
            what = f"the images that validate it leave {metric.name} undefined"
            if index.task.single_label and valid["target"].nunique() == 1:
                what = f"it validates on {_alone(index, valid)}, for which {metric.name} is undefined"
            console.warn(f"fold {fold}: {what}: {_other_folds(index, folds, config)}")


def _alone(index: Index, frame: pd.DataFrame) -> str:
    """Say that rows have one class or number alone."""
    text = index.task.label_text(index.classes, index.targets(frame.head(1))[0])
    return f"one {'class' if index.task.has_classes else 'number'} alone ({text})"


def _is_defined(index: Index, valid: pd.DataFrame, metric: MetricSpec) -> bool:
    """Return whether a metric has a value for these rows, tried with random probabilities."""
    values = np.random.default_rng(0).uniform(0.01, 0.99, (len(valid), index.outputs)).astype(np.float32)
    if index.task.softmax:
        values /= values.sum(1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = metric.score(index.task, index.targets(valid), values)
    return bool(np.isfinite(value))


def _units(index: Index, folds: Folds, frame: pd.DataFrame) -> int:
    """Return how many folds rows could be spread over: one per group."""
    ids = frame.drop_duplicates("id")
    return len(np.unique(folds.groups(ids))) if folds.grouped_by else len(ids)


def _more(index: Index, folds: Folds, config: TrainConfig) -> str:
    """Say what gives a fold more images to learn from."""
    if config.limit is not None:
        return f"--limit {2 * config.limit} or more"
    if config.only is not None:
        return "choose more rows with --set only=COLUMN=VALUE,VALUE"
    if _units(index, folds, index.train) > folds.count:
        return f"--folds {folds.count + 1} leaves more to learn from"
    return "add images (--external FILE)"


def _other_folds(index: Index, folds: Folds, config: TrainConfig) -> str:
    """Say what brings the rarest class into every fold."""
    if config.limit is not None:
        return f"--limit {2 * config.limit} or more may bring the others"
    frame = rows_of(index.train, config.only)
    if not (index.task.single_label and index.task.has_classes):
        return "give a smaller --folds, or add images (--external FILE)"
    rarest = frame["target"].value_counts().index[-1]
    units = _units(index, folds, frame[frame["target"] == rarest])
    name, kind = index.classes[int(rarest)], folds.grouped_by or "id"
    if frame["target"].nunique() == 1:
        return f"all rows are {name}: add images of other classes"
    if units < 2:
        return f"only one {kind} has {name}: add images of it to the data"
    if units < folds.count:
        return f"only {units} {kind}s have {name}: give --folds {units}"
    return f"make other folds (kit folds {config.competition} --folds {folds.count} --seed {folds.seed + 1})"
