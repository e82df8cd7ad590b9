"""The index: one row per sample, from which everything else starts."""

import re
import reprlib
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from kit.data.file_names import FileNames
from kit.errors import KitError, MisuseError
from kit.image_files import bare, files_there, without_ending
from kit.paths import IMAGE
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
        classes: names of the classes, in the order of the outputs; of a regression those of the targets.
        train: one row per sample with the columns `id` (what is predicted and submitted), `files` (tuple of paths,
            relative to root, in the order in which `DatasetSpec.read` takes them; `kit.data.file_names.FileNames` makes
            them from a pattern and takes little memory), `target` (binary: 0 or 1;
            multiclass and ordinal: class number; multilabel: tuple of class numbers; regression: a number, or of
            several `classes` a tuple of numbers) and, where samples belong together, `group`
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
        """Check all that an index promises: whoever makes one wrongly learns so here, whatever the command.

        Raises:
            MisuseError: names the first row or field that is wrong.
        """
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "task", task_of(self.task))
        check_index(self)

    def _but(self, **changes: object) -> "Index":
        """Return the index with other fields, known to be right: checking 220,000 rows again takes a while."""
        made = copy(self)
        for name, value in changes.items():
            object.__setattr__(made, name, value)
        return made

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

    def target_figures(self) -> dict[str, dict[str, float]]:
        """Return of each target of a regression its lowest, mean and highest number and its quartiles, over ids."""
        targets = self.targets(self.labelled.drop_duplicates("id")).astype(np.float64)
        if self.task.has_classes or not len(targets):
            return {}
        quantiles = {"lowest": 0, "quartile 1": 0.25, "median": 0.5, "quartile 3": 0.75, "highest": 1}
        return {
            name: {
                "mean": float(column.mean()),
                **{figure: float(np.quantile(column, share)) for figure, share in quantiles.items()},
            }
            for name, column in zip(self.classes, targets.T, strict=True)
        }

    def with_ids(self, ids: pd.Series) -> "Index":
        """Return the index with these training ids alone."""
        return self._but(train=self.train[self.train["id"].isin(ids)])

    def with_metadata(self, wanted: bool) -> "Index":
        """Return the index, without metadata unless `wanted`."""
        return self if wanted else self._but(metadata=())

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
        return self._but(train=self.train.assign(group=known), grouped_by=grouped_by)


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
    if not any(map(IMAGE.search, chain(groups, ids))):
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
    """Say what of the training labels may be meant but seldom is: a single class or number, ids without any label."""
    if not index.task.has_classes:
        return [
            f"every training id has the {name} {figures['mean']:.4g}: there is nothing to learn of it"
            for name, figures in index.target_figures().items()
            if figures["lowest"] == figures["highest"]
        ]
    present = [name for name, count in index.class_counts().items() if count]
    odd = [f"every training id is {present[0]}: there is nothing to tell apart"] if len(present) == 1 else []
    if not index.task.single_label:
        frame = index.train.drop_duplicates("id")
        empty = frame["id"][frame["target"].map(len) == 0]
        if len(empty):
            count = f"{len(empty):,} of {len(frame):,} training ids have no label"
            odd.append(f"{count}, such as {empty.iloc[0]}: right where an image may show none, else correct the csv")
    return odd


def check_samples(index: Index) -> None:
    """Raise `KitError` if there is nothing to learn from."""
    if index.train.empty and index.controls.empty:
        raise KitError(
            f"{index.root} has {no_images(index, 'training')}: rename the files, or correct the ids in the table"
        )


def check_index(index: Index) -> None:
    """Raise `MisuseError` for the first thing in an index that no command can work with.

    Datasets name file and value of what they read; this is for what one of them lets pass, or makes of it.
    """
    _check_fields(index)
    both = ("id", "files", *index.metadata)
    frames = (
        ("train", "training", index.train),
        ("test", "test", index.test),
        ("external", "external", index.external),
    )
    for name, split, frame in frames:
        if not isinstance(frame, pd.DataFrame):
            raise MisuseError(f"the index's {name} is {type(frame).__name__}, not a pandas.DataFrame")
        needed = both if name == "test" else (*both, "target")
        absent = [column for column in needed if column not in frame.columns]
        if absent and (name != "external" or len(frame)):
            known = ", ".join(map(str, frame.columns))
            raise MisuseError(f"the index's {name} frame lacks the column {absent[0]!r} (it has {known})")
        if not frame.columns.is_unique:
            twice = frame.columns[frame.columns.duplicated()][0]
            raise MisuseError(f"the index's {name} frame has the column {twice!r} twice")
        if not len(frame):
            continue
        if not isinstance(frame["files"].array, FileNames):
            good = "a tuple of paths, each a text"
            _refuse(index, split, frame, ~_each(frame["files"], _are_files), "files", good)
        _refuse(index, split, frame, _each(frame["id"], _is_blank), "id", "a text")
        for column in index.metadata:
            values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
            _refuse(index, split, frame, ~np.isfinite(values), column, "a finite number")
        if name != "test":
            count = len(index.classes)
            right = index.task.known(frame["target"], count)
            _refuse(index, split, frame, ~right, "target", index.task.good_target(count))
    _check_groups(index)
    for column in ("target", "group"):
        _refuse_two(index, column)


def _refuse_two(index: Index, column: str) -> None:
    """Raise `MisuseError` if samples of one id have different targets or groups: the first would win unseen."""
    ids = index.train["id"]
    again = ids.duplicated(keep=False)
    if column not in index.train or not again.any():
        return
    values = index.train.loc[again, column].map(lambda value: "" if value is None or value != value else value)
    two = values.groupby(ids[again]).nunique() > 1
    if two.any():
        raise MisuseError(
            f"{index.root}: the id {two.idxmax()} has two different values of {column} ({int(two.sum())} such ids): "
            "correct the csv that they come from, or give each image an id of its own"
        )


def _check_fields(index: Index) -> None:
    for name in ("classes", "metadata"):
        value = getattr(index, name)
        if not isinstance(value, (tuple, list)) or not all(isinstance(each, str) for each in value):
            raise MisuseError(f"the index's {name} is {reprlib.repr(value)}, not a tuple of texts")
        object.__setattr__(index, name, tuple(value))
    what = "classes" if index.task.has_classes else "targets"
    doubled = [name for number, name in enumerate(index.classes) if name in index.classes[:number]]
    if doubled:
        raise MisuseError(f"the index has two {what} with the name {reprlib.repr(doubled[0])}")
    if len(index.train) and not index.task.fits(len(index.classes)):
        raise MisuseError(f"the index has {len(index.classes)} {what}, which is not what a {index.task} task has")


def _check_groups(index: Index) -> None:
    if index.grouped_by and len(index.train) and "group" not in index.train:
        raise MisuseError(f"the index is grouped by {index.grouped_by}, but its train frame has no column 'group'")
    if "group" in index.train:
        wrong = _each(index.train["group"], lambda group: not _is_group(group))
        _refuse(index, "training", index.train, wrong, "group", "a text, or None where it is unknown")


def _each(column: pd.Series, holds: Callable[[object], bool]) -> np.ndarray:
    return np.fromiter((holds(value) for value in column), bool, len(column))


def _is_group(value: object) -> bool:
    """Return whether a value is the name or number of a group, or missing."""
    return bool(value.strip()) if isinstance(value, str) else bool(pd.api.types.is_scalar(value))


def _is_blank(value: object) -> bool:
    return not isinstance(value, str) or not value.strip()


def _are_files(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) > 0 and not any(map(_is_blank, value))


def _refuse(index: Index, split: str, frame: pd.DataFrame, bad: np.ndarray, column: str, good: str) -> None:
    if bad.any():
        row = frame[bad].iloc[0]
        name = row["files"][0] if _are_files(row["files"]) else row["id"]
        value = row[column].item() if isinstance(row[column], np.generic) else row[column]
        raise MisuseError(
            f"{index.root}: the {column} of the {split} image {name} is {reprlib.repr(value)}, not "
            f"{good} ({int(bad.sum())} such rows)"
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
