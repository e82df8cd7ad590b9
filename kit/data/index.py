"""The index: one row per sample, from which everything else starts."""

import codecs
import csv
import io
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.task import Task, task_of

MOST_NAMED = 12  # columns in an error


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

    def with_ids(self, ids: pd.Series) -> "Index":
        """Return the index with these training ids alone."""
        return replace(self, train=self.train[self.train["id"].isin(ids)])

    def with_metadata(self, wanted: bool) -> "Index":
        """Return the index, without metadata unless `wanted`."""
        return self if wanted else replace(self, metadata=())

    def with_groups(self, groups: Mapping[str, str], grouped_by: str) -> "Index":
        """Return the index with other groups; ids that the mapping lacks, or whose group is blank, have none."""
        found = [(groups.get(id_) or "").strip() or None for id_ in self.train["id"]]
        known = pd.Series(found, self.train.index, dtype=object)
        if known.notna().sum() == 0:
            raise KitError(
                f"none of the {len(self.train)} training ids has a group in {grouped_by}: is it the right file?"
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


def check_values(index: Index) -> None:
    """Raise `KitError` for the first row that no network can learn from: without an id, a class or a finite number.

    Datasets name file and value of what they read; this is for what one of them lets pass.
    """
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


def read_table(path: Path, columns: tuple[str, ...], mend: str, numbers: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a csv of the raw data with every column as text.

    Blanks around the names of columns, and before values, are left out.

    Args:
        path: the csv.
        columns: those that it must have.
        mend: the end of an error: what to do.
        numbers: those of `columns` to read as float64; then no other columns are kept, since such tables are large.

    Raises:
        KitError: the file is not there or no csv in UTF-8, a column is missing, or a number is none or not finite.
    """
    if not path.is_file():
        raise KitError(f"{path} is {'no file' if path.exists() else 'not there'}: {mend}")
    try:
        content = path.read_bytes().lstrip(b"\r\n")
        names = _names(content)
        frame = pd.read_csv(
            io.BytesIO(content),
            header=0,
            names=names,
            dtype={
                name: "category" if numbers and name not in columns else str for name in names if name not in numbers
            },
            keep_default_na=False,
            skipinitialspace=True,
        )
    except (ValueError, OSError, csv.Error) as error:
        raise KitError(f"{path} can't be read ({error}): {mend}") from None
    if not isinstance(frame.index, pd.RangeIndex):
        more = frame.index[0] if isinstance(frame.index, pd.MultiIndex) else frame.index[:1]
        first = ",".join(map(str, (*more, *frame.iloc[0])))
        raise KitError(
            f"{path}: its rows have more fields than its header, the first is {reprlib.repr(first)}: is there a comma "
            "too many at the end?"
        )
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
        known = ", ".join(map(reprlib.repr, names[:MOST_NAMED])) + more
        raise KitError(f"{path} has no column {absent[0]!r} (it has {known}): {mend}")
    found = frame[list(columns)] if numbers else frame
    return found.assign(**{name: numbers_of(found, name, path, mend) for name in numbers})


def _names(content: bytes) -> list[str]:
    """Return the names of a csv's columns; raise `ValueError` for what is no text in UTF-8 or names a column twice."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise ValueError("it is UTF-16: save it as UTF-8")
    if b"\0" in content:
        raise ValueError(f"line {1 + content[: content.index(0)].count(10)} holds a NUL byte, so it is no text")
    if not content.isascii():
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"line {1 + content[: error.start].count(10)} is not UTF-8") from None
    first = re.split(rb"\r\n|\r|\n", content, maxsplit=1)[0].decode("utf-8-sig")
    if not first.strip():
        raise ValueError("it is empty")
    names = [name.strip() for name in next(csv.reader([first], skipinitialspace=True))]
    doubled = [name for number, name in enumerate(names) if name and name in names[:number]]
    if doubled:
        raise ValueError(f"two columns have the name {reprlib.repr(doubled[0])}")
    return [name or f"Unnamed: {number}" for number, name in enumerate(names)]


def numbers_of(
    table: pd.DataFrame,
    column: str,
    path: Path,
    mend: str,
    low: float = -np.inf,
    high: float = np.inf,
    unknown: tuple[str, ...] = (),
) -> np.ndarray:
    """Return a column of a table as float64, NaN for the texts in `unknown`.

    Raises:
        KitError: a value is no finite number, or outside `low` to `high`; it names file, row and value.
    """
    given = table[column]
    missing = given.isin(unknown).to_numpy(bool)
    values = pd.to_numeric(given, errors="coerce").to_numpy(np.float64)
    bad = ~missing & ~(np.isfinite(values) & (values >= low) & (values <= high))
    if bad.any():
        row = np.flatnonzero(bad)[0]
        limits = f" from {low:g} to {high:g}" if np.isfinite([low, high]).all() else f" of at least {low:g}"
        raise KitError(
            f"{path}: the {column} of {reprlib.repr(table.iloc[row, 0])} is {reprlib.repr(given.iloc[row])}, not a "
            f"finite number{limits if np.isfinite(low) else ''} ({int(bad.sum())} such rows): {mend}"
        )
    return np.where(missing, np.nan, values)


def read_groups(path: Path) -> dict[str, str]:
    """Read the groups from a csv whose first column is the id and whose last is the group; a blank one is none."""
    frame = read_table(path, (), "give a csv with an id and a group per row")
    if len(frame.columns) < 2:
        raise KitError(f"{path} has only one column: give a csv with an id and a group per row")
    return groups_of(frame.iloc[:, 0], frame.iloc[:, -1].str.strip(), path)


def groups_of(ids: pd.Series, groups: pd.Series, path: Path) -> dict[str, str]:
    """Return the group of each id; raise `KitError`, which names the csv at `path`, for an id with two."""
    found = dict(zip(ids, groups, strict=True))
    twice = groups != ids.map(found)
    if twice.any():
        raise KitError(f"{path}: {reprlib.repr(ids[twice].iloc[0])} has two groups: leave it one")
    return found
