"""The form of a sample submission: a csv in that form is written from predictions, and checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.hooks.specs import Finding
from kit.image_files import base_of
from kit.submission.checks import bad_rows, check_frame, check_probabilities
from kit.tables import read_table, separator_of
from kit.task import task_of

if TYPE_CHECKING:
    from kit.data.index import Index
    from kit.scoring.predictions import Predictions

Holds = Literal["probabilities", "classes", "labels", "tags", "numbers"]
MEND = "the folder or archive of the competition holds the sample submission"


@dataclass(frozen=True)
class SampleForm:
    """What a submission looks like: ids and header are those of the sample submission, values come from predictions.

        form = SampleForm("sample_submission.csv", "binary", ("no", "yes"), "probabilities")
        SubmissionSpec("cactus", write=form.write, check=form.check)

    Args:
        sample: name of the sample submission; None if there is none.
        task: name of the competition's task.
        classes: of the competition, in order; texts that stand in the csv too. Empty: those of the index.
        holds: what stands in the other columns: `probabilities` by class (of a binary task with one column, of the
            second class), `classes` (the predicted one), `labels` (the `count` likeliest classes), `tags` (all
            predicted classes) or `numbers`.
        columns: class (or name of a number) by column, where they differ.
        count: of `labels`.
        separator: between labels or tags.
        join: what stands between id and class in the first column, where there is a row for each of them; empty where
            there is a row per id.
        index: (folder of the data) -> index; its test ids are the rows where there is no sample, and it knows the
            classes where they are not given.
        header: of the csv, where there is no sample.
        id: the column of ids; empty for the first one.
    """

    sample: str | None
    task: str
    classes: tuple[str, ...]
    holds: Holds
    columns: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    separator: str = " "
    join: str = ""
    index: "Callable[[Path], Index] | None" = None
    header: tuple[str, ...] = ()
    id: str = ""

    def expected(self, root: Path) -> pd.DataFrame:
        """Return the sample submission as text, or one made of the test ids.

        Raises:
            KitError: it is not there.
        """
        if self.sample is not None:
            return read_table(base_of(root, self.sample) / self.sample, (), MEND)
        if self.index is None:
            raise KitError(f"{root} has no sample submission: {MEND}")
        ids = self.index(root).test["id"].drop_duplicates().tolist()
        return pd.DataFrame({name: ids if number == 0 else "" for number, name in enumerate(self.header)})

    def _between(self, root: Path) -> str:
        """Return what separates the columns of the sample submission."""
        return "," if self.sample is None else separator_of(base_of(root, self.sample) / self.sample)

    def write(self, predictions: "Predictions", index: "Index", path: Path) -> None:
        """Write the csv: one row for each of the sample submission, in its order."""
        if not self.classes:
            return replace(self, classes=index.classes).write(predictions, index, path)
        table = self.expected(index.root)
        ids = table[self.id or table.columns[0]]
        if self.join:
            ids, names = self._apart(ids)
            ordered = predictions.reorder(ids.tolist())
            at = pd.Index(ordered.classes).get_indexer(pd.Index(names))
            table[table.columns[1]] = self._numbers(ordered.values[np.arange(len(at)), at])
        else:
            ordered = predictions.reorder(ids.tolist())
            for name, values in self._values(ordered, [name for name in table.columns if name != ids.name]).items():
                table[name] = values
        table.to_csv(path, index=False, sep=self._between(index.root))
        return None

    def _apart(self, rows: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Take apart the first column, where it names an id and a class, which may hold what stands between them."""
        names = sorted(self.classes, key=len, reverse=True)
        found = rows.map(lambda row: next((name for name in names if row.endswith(f"{self.join}{name}")), None))
        if found.isna().any():
            raise KitError(f"{self.sample}: {rows[found.isna()].iloc[0]!r} ends with no class: correct the plugin")
        ends = found.map(len) + len(self.join)
        return pd.Series([row[:-end] for row, end in zip(rows, ends, strict=True)], dtype=object), found

    def _values(self, found: "Predictions", columns: list[str]) -> dict[str, object]:
        """Return the values of each column."""
        task = task_of(self.task)
        if self.holds in ("probabilities", "numbers"):
            values = task.by_class(found.values)
            names = list(self.classes)
            if len(columns) == 1 and self.task == "binary":
                return {columns[0]: self._numbers(values[:, -1])}
            return {
                column: self._numbers(values[:, names.index(self._class_of(column, number, len(columns)))])
                for number, column in enumerate(columns)
            }
        if self.holds == "tags":
            rows = [self.separator.join(np.array(self.classes, object)[row]) for row in found.predicted()]
            return {columns[0]: rows}
        if self.holds == "labels":
            order = np.argsort(-task.by_class(found.values), axis=1, kind="stable")[:, : self.count]
            return {columns[0]: [self.separator.join(self.classes[at] for at in row) for row in order.tolist()]}
        # A binary task may have a threshold of its own.
        predicted = found.predicted()[:, 0] if self.task == "binary" else task.predicted(found.values)
        hot = task.one_hot(np.clip(predicted, 0, len(self.classes) - 1), len(self.classes))
        if len(columns) > 1:
            names = list(self.classes)
            return {
                column: hot[:, names.index(self._class_of(column, number, len(columns)))].astype(int)
                for number, column in enumerate(columns)
            }
        return {columns[0]: [self.classes[at] for at in hot.argmax(1).tolist()]}

    def _class_of(self, column: str, number: int, count: int) -> str:
        name = self.columns.get(column, column)
        if name in self.classes:
            return name
        if count == len(self.classes):
            return self.classes[number]
        raise KitError(f"the sample submission has the column {column!r}, which is no class: correct the plugin")

    def _numbers(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values, np.float32)

    def check(self, path: Path, root: Path) -> list[Finding]:
        """Check a csv: header, ids and order are those of the sample submission, and each value can stand there."""
        if not self.classes and self.index is not None:
            return replace(self, classes=self.index(root).classes).check(path, root)
        table, findings = check_frame(path, self.expected(root), id=self.id, separator=self._between(root))
        if table is None:
            return findings
        for column in table.columns[1:]:
            findings += self._check_column(table, column)
        return findings

    def _check_column(self, table: pd.DataFrame, column: str) -> list[Finding]:
        if self.holds == "probabilities":
            return check_probabilities(table, column)
        text = table[column].str.strip()
        if self.holds == "numbers":
            wrong = ~np.isfinite(pd.to_numeric(text, errors="coerce").to_numpy(np.float64))
            return bad_rows(table, wrong, f"{column} is no finite number", column)
        known = {*self.classes}
        if self.holds == "classes":
            allowed = {"0", "1"} if len(table.columns) > 2 else known
            return bad_rows(table, ~text.isin(allowed).to_numpy(), f"{column} is no class", column)
        rows = [[label for label in each.split(self.separator) if label] for each in text]
        wrong = np.fromiter((not known.issuperset(row) for row in rows), bool, len(rows))
        findings = bad_rows(table, wrong, f"{column} has a label that is no class", column)
        twice = np.fromiter((len(set(row)) < len(row) for row in rows), bool, len(rows))
        findings += bad_rows(table, twice, f"{column} has a label twice", column)
        if self.holds == "labels":
            many = np.fromiter((len(row) > self.count or not row for row in rows), bool, len(rows))
            findings += bad_rows(table, many, f"{column} has no label, or more than {self.count}", column)
        return findings
