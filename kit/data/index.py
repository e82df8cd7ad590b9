"""The index: one row per sample, from which everything else starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.task import Task, task_of


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
        """Return the index with other groups; ids that the mapping lacks have none."""
        known = pd.Series([groups.get(id_) for id_ in self.train["id"]], self.train.index, dtype=object)
        if known.notna().sum() == 0:
            raise KitError(f"none of the {len(self.train)} training ids is in {grouped_by}: is it the right file?")
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


def read_table(path: Path, columns: tuple[str, ...], mend: str) -> pd.DataFrame:
    """Read a csv of the raw data with every column as text; raise `KitError` if the file or a column is missing."""
    if not path.is_file():
        raise KitError(f"{path} is not there: {mend}")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise KitError(f"{path} can't be read ({error}): {mend}") from None
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise KitError(f"{path} has no column {absent[0]!r} (it has {', '.join(frame.columns)}): {mend}")
    return frame


def read_groups(path: Path) -> dict[str, str]:
    """Read the groups from a csv whose first column is the id and whose last is the group."""
    frame = read_table(path, (), "give a csv with an id and a group per row")
    if len(frame.columns) < 2:
        raise KitError(f"{path} has only one column: give a csv with an id and a group per row")
    return dict(zip(frame.iloc[:, 0], frame.iloc[:, -1], strict=True))
