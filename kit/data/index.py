"""The index: one row per sample, from which everything else starts."""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.image_files import ENDING, bare, files_there, without_ending
from kit.tables import read_table
from kit.task import Task, task_of

MOST_SAID = 3  # kinds of what does not match, in an error


def _empty_frame() -> pd.DataFrame:
    return pd.DataFrame({"id": [], "files": [], "target": []}, dtype=object)


@dataclass(frozen=True)
class Index:
    """The samples of a competition on this disk.

    Args:
        root: the folder that the file paths are relative to.
        task: a `kit.task.Task`, or its name.
        classes: names of the classes, in the order of the outputs.
        train: one row per sample with the columns `id` (what is predicted and submitted), `files` (tuple of paths,
            relative to root, in the order in which `DatasetSpec.read` takes them; `kit.data.file_names.FileNames` makes
            them from a pattern and takes little memory), `target` (binary: 0 or 1;
            multiclass: class number; multilabel: tuple of class numbers) and, where samples belong together, `group`
            (a string; missing where unknown), and, where folds are stratified by something other than the target,
            `stratum`. Several samples (two sites of a well) may share an id; a column `sample` then tells them apart.
        test: likewise, without `target` and `group`.
        metadata: names of numeric columns of both frames that the network takes as input too.
        grouped_by: what `group` is, for messages (`slide`, `lesion`); empty without groups.
        missing: what does not match, e.g. {"labels without an image": (id, ...)}; those rows are left out.
        external: further rows like those of `train` (`kit train --external`, or controls): in every training set.
        controls: samples for figures and normalisation, neither predicted nor trained on unless they are in `external`
            too. Columns as in `test`, and `negative`: whether they are untreated.
        controlled_by: the column that joins controls with the samples that they normalise; empty without controls.
    """

    root: Path
    task: Task
    classes: tuple[str, ...]
    train: pd.DataFrame
    test: pd.DataFrame
    metadata: tuple[str, ...] = ()
    grouped_by: str = ""
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    external: pd.DataFrame = field(default_factory=_empty_frame)
    controls: pd.DataFrame = field(default_factory=_empty_frame)
    controlled_by: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", task_of(self.task))
        for name, frame, needed in (
            ("train", self.train, ("id", "files", "target", *self.metadata)),
            ("test", self.test, ("id", "files", *self.metadata)),
            ("external", self.external, ("id", "files", "target", *self.metadata) if len(self.external) else ()),
        ):
            absent = [column for column in needed if column not in frame.columns]
            if absent:
                raise ValueError(f"the index's {name} frame lacks the column {absent[0]!r}")

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return len(self.output_names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The classes with an output of their own."""
        return self.task.outputs(self.classes)

    def rows_of_ids(self, ids: np.ndarray) -> pd.DataFrame:
        """Return the first training row of each id, in the order of `ids`."""
        frame = self.train.drop_duplicates("id")
        return frame.iloc[pd.Index(frame["id"]).get_indexer(pd.Index(ids))]

    def targets_of(self, ids: np.ndarray) -> np.ndarray:
        """Return the targets of training ids, in the order of `ids` and in the form of `targets`."""
        return self.targets(self.rows_of_ids(ids))

    def targets(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the targets of rows, in the form of the task (`kit.task`)."""
        return self.task.targets(frame["target"], len(self.classes))

    def metadata_of(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the metadata of rows, float32 nxE (E is 0 without metadata)."""
        return frame[list(self.metadata)].to_numpy(np.float32)

    def paths(self, frame: pd.DataFrame) -> list[tuple[Path, ...]]:
        """Return the files of each row as paths, absolute or relative to the working directory."""
        return [tuple(self.root / name for name in files) for files in frame["files"]]

    @property
    def labelled(self) -> pd.DataFrame:
        """`id` and `target` of all training and external rows."""
        return pd.concat(
            [frame[["id", "target"]] for frame in (self.train, self.external) if len(frame)] or [self.train]
        )

    def class_counts(self) -> dict[str, int]:
        """Return the number of training ids per class, by class name."""
        frame = self.labelled.drop_duplicates("id")
        counts = self.task.class_counts(self.targets(frame), len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}

    def with_metadata(self, wanted: bool) -> "Index":
        """Return the index, without metadata unless `wanted`."""
        return self if wanted else replace(self, metadata=())

    def with_groups(self, groups: Mapping[str, str], grouped_by: str) -> "Index":
        """Return the index with other groups; ids that the mapping lacks, or whose group is blank, have none."""
        found = [(group or "").strip() or None for group in _looked_up(groups, self.train["id"])]
        known = pd.Series(found, self.train.index, dtype=object)
        if len(known) and known.notna().sum() == 0:
            ids = (
                f"whose ids are such as {next(iter(groups))!r}, not {self.train['id'].iat[0]!r}"
                if groups
                else "which has none"
            )
            raise KitError(
                f"none of the {len(self.train)} training ids has a group in {grouped_by}, {ids}: is it the right file?"
            )
        return replace(self, train=self.train.assign(group=known), grouped_by=grouped_by)


def rows_of(frame: pd.DataFrame, only: str | None) -> pd.DataFrame:
    """Return the rows of a frame that `column=value` selects (several values: `a,b`); all rows for None."""
    if only is None:
        return frame
    column, _, value = only.partition("=")
    if column not in frame:
        known = [name for name in frame if name not in ("id", "files", "target")]
        mend = f"give --set only=COLUMN=VALUE, COLUMN one of {', '.join(known)}" if known else "it has none, drop only"
        raise KitError(f"only = {only!r}: the data has no column {column!r}: {mend}")
    return frame[frame[column].astype(str).isin(value.split(","))]


def _looked_up(groups: Mapping[str, str], ids: pd.Series) -> list[str | None]:
    """Return the group of each id; where either side has endings of files, ids without them count too."""
    if not any(map(ENDING.search, chain(groups, ids))):
        return [groups.get(id_) for id_ in ids]
    keys = pd.Series(list(groups), dtype=object)
    by_bare = groups_of(
        without_ending(keys), pd.Series(list(groups.values()), dtype=object), Path("the file of groups")
    )
    return [groups.get(id_) or by_bare.get(bare(id_)) for id_ in ids]


def no_images(index: Index, split: str) -> str:
    """Say that there are no `training` or `test` images: what was sought, what is there and how they differ."""
    sought = [(what, str(ids[0]), len(ids)) for what, ids in index.missing.items() if ids]
    said = [f"{count:,} {what}, such as {reprlib.repr(first)}" for what, first, count in sought[:MOST_SAID]]
    example = re.split(r": | \(", sought[0][1])[0] if sought else ""
    return f"no {split} images ({'; '.join([*said, files_there(index.root, example)])})"


def odd_labels(index: Index) -> list[str]:
    """Say what of the training labels may be meant but seldom is: a single class, ids without any label."""
    present = [name for name, count in index.class_counts().items() if count]
    odd = [f"every training id is {present[0]}: there is nothing to tell apart"] if len(present) == 1 else []
    if not index.task.single_label:
        frame = index.train.drop_duplicates("id")
        empty = frame["id"][frame["target"].map(len) == 0]
        if len(empty):
            count = f"{len(empty):,} of {len(frame):,} training ids have no label"
            odd.append(f"{count}, such as {empty.iloc[0]}: right where an image may show none, else correct the csv")
    return odd


def check_values(index: Index) -> None:
    """Raise `KitError` if there is nothing to learn from, or for the first row that no network can learn from.

    Such a row has no id, class or finite number. Datasets name file and value of what they read; this is for what one
    of them lets pass.
    """
    if index.train.empty and index.controls.empty:
        raise KitError(
            f"{index.root} has {no_images(index, 'training')}: rename the files, or correct the ids in the table"
        )
    for split, frame in (("training", index.train), ("test", index.test), ("external", index.external)):
        if not len(frame):
            continue
        _refuse(index, split, frame, frame["id"].map(_is_blank).to_numpy(bool), "id", "a text")
        for column in index.metadata:
            values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
            _refuse(index, split, frame, ~np.isfinite(values), column, "a finite number")
        if split != "test":
            good = f"made of numbers below {len(index.classes)}, those of the classes"
            _refuse(index, split, frame, ~_classes_known(index, frame["target"]), "target", good)
    for column in ("target", "group"):
        _refuse_two(index, column)


def _refuse_two(index: Index, column: str) -> None:
    """Raise `KitError` if samples of one id have different targets or groups: the first would win unseen."""
    ids = index.train["id"]
    again = ids.duplicated(keep=False)
    if column not in index.train or not again.any():
        return
    values = index.train.loc[again, column].map(lambda value: "" if value is None or value != value else value)
    two = values.groupby(ids[again]).nunique() > 1
    if two.any():
        raise KitError(
            f"{index.root}: the id {two.idxmax()} has two different values of {column} ({int(two.sum())} such ids): "
            "correct the csv that they come from"
        )


def _is_blank(value: object) -> bool:
    return not isinstance(value, str) or not value.strip()


def _classes_known(index: Index, target: pd.Series) -> np.ndarray:
    count = len(index.classes)
    if index.task.single_label:
        values = pd.to_numeric(target, errors="coerce").to_numpy(np.float64)
        return (values >= 0) & (values < count) & (values == np.floor(values))
    known = set(range(count))
    return np.fromiter((isinstance(row, tuple) and known.issuperset(row) for row in target), bool, len(target))


def _refuse(index: Index, split: str, frame: pd.DataFrame, bad: np.ndarray, column: str, good: str) -> None:
    if bad.any():
        row = frame[bad].iloc[0]
        raise KitError(
            f"{index.root}: the {column} of the {split} image {row['files'][0]} is {reprlib.repr(row[column])}, not "
            f"{good} ({int(bad.sum())} such rows): correct the csv that it comes from"
        )


def read_groups(path: Path) -> dict[str, str]:
    """Read the groups from a csv whose first column is the id and whose last is the group; a blank one is none."""
    frame = read_table(path, (), "give a csv with an id and a group per row")
    named = frame[[name for name in frame if not name.startswith("Unnamed: ")]]  # what numbers the rows has no name
    if len(named.columns) < 2:
        raise KitError(f"{path} has only one column: give a csv with an id and a group per row")
    return groups_of(named.iloc[:, 0], named.iloc[:, -1].str.strip(), path)


def groups_of(ids: pd.Series, groups: pd.Series, path: Path) -> dict[str, str]:
    """Return the group of each id, blank ones left out; raise `KitError`, which names the csv, for an id with two."""
    ids, groups = ids[groups != ""], groups[groups != ""]
    found = dict(zip(ids, groups, strict=True))
    twice = groups != ids.map(found)
    if twice.any():
        raise KitError(f"{path}: {reprlib.repr(ids[twice].iloc[0])} has two groups: leave it one")
    return found
