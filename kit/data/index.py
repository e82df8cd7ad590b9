"""The index: one row per sample, from which everything else starts."""

import codecs
import csv
import io
import re
import reprlib
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from kit.data.file_names import FileNames
from kit.errors import KitError, MisuseError
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

    def with_metadata(self, wanted: bool) -> "Index":
        """Return the index, without metadata unless `wanted`."""
        return self if wanted else self._but(metadata=())

    def with_groups(self, groups: Mapping[str, str], grouped_by: str) -> "Index":
        """Return the index with other groups; ids that the mapping lacks, or whose group is blank, have none."""
        found = [(groups.get(id_) or "").strip() or None for id_ in self.train["id"]]
        known = pd.Series(found, self.train.index, dtype=object)
        if known.notna().sum() == 0:
            raise KitError(
                f"none of the {len(self.train)} training ids has a group in {grouped_by}: is it the right file?"
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
            one = "a class number" if index.task.single_label else "a tuple of class numbers"
            good = f"{one} from 0 to {len(index.classes) - 1}"
            _refuse(index, split, frame, ~_classes_known(index, frame["target"]), "target", good)
    if len(index.train):
        _check_ids(index)
    _check_groups(index)


def _check_fields(index: Index) -> None:
    for name in ("classes", "metadata"):
        value = getattr(index, name)
        if not isinstance(value, (tuple, list)) or not all(isinstance(each, str) for each in value):
            raise MisuseError(f"the index's {name} is {reprlib.repr(value)}, not a tuple of texts")
        object.__setattr__(index, name, tuple(value))
    doubled = [name for number, name in enumerate(index.classes) if name in index.classes[:number]]
    if doubled:
        raise MisuseError(f"the index has two classes with the name {reprlib.repr(doubled[0])}")
    if len(index.train) and not index.task.fits(len(index.classes)):
        raise MisuseError(f"the index has {len(index.classes)} classes, which is not what a {index.task} task has")


def _check_ids(index: Index) -> None:
    """Check that rows with the same id (samples of one) have the same target: otherwise the last one would win."""
    ids, targets = index.train["id"], index.train["target"]
    first: dict[str, object] = {}
    other = [first.setdefault(id_, target) != target for id_, target in zip(ids, targets, strict=True)]
    good = "that of one image or of images with one target: give each an id of its own"
    _refuse(index, "training", index.train, np.array(other, bool), "id", good)


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
    return isinstance(value, (tuple, list)) and not any(map(_is_blank, value))


def _classes_known(index: Index, target: pd.Series) -> np.ndarray:
    count = len(index.classes)
    if index.task.single_label:
        values = pd.to_numeric(target, errors="coerce").to_numpy(np.float64)
        text = False if pd.api.types.is_numeric_dtype(target) else _each(target, lambda value: isinstance(value, str))
        return (values >= 0) & (values < count) & (values == np.floor(values)) & ~np.asarray(text)
    known = set(range(count))
    return np.fromiter((isinstance(row, tuple) and known.issuperset(row) for row in target), bool, len(target))


def _refuse(index: Index, split: str, frame: pd.DataFrame, bad: np.ndarray, column: str, good: str) -> None:
    if bad.any():
        row = frame[bad].iloc[0]
        name = row["files"][0] if _are_files(row["files"]) and row["files"] else row["id"]
        value = row[column].item() if isinstance(row[column], np.generic) else row[column]
        raise MisuseError(
            f"{index.root}: the {column} of the {split} image {name} is {reprlib.repr(value)}, not "
            f"{good} ({int(bad.sum())} such rows)"
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
