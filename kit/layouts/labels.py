"""Tables of labels in the forms that competitions give them: csv with or without names of columns, and json."""

import csv
import io
import json
import reprlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kit.errors import KitError, nearest
from kit.tables import numbers_of, read_table

LARGEST = 1 << 29  # bytes of a json
SEPARATORS = ",\t;"
MEND = "give the folder or the archive of the competition"


def read_labels(
    path: Path, columns: tuple[str, ...] = (), names: tuple[str, ...] | None = None, mend: str = MEND
) -> pd.DataFrame:
    """Read a table of labels with every value as text.

    Args:
        path: a csv, or a json: a list of records, records or values by id, lists by column, or the `images` and
            `annotations` of COCO, whose rows are images with the `category_id` of their annotations.
        columns: those that it must have.
        names: the names of the columns of a csv whose first line is a row already.
        mend: the end of an error: what to do.

    Raises:
        KitError: the file is not there or of another form, or a column is missing.
    """
    if path.suffix.lower() == ".json":
        frame = _from_json(path, mend)
    elif names is not None:
        frame = _without_names(path, names, mend)
    else:
        return read_table(path, columns, mend)
    absent = [column for column in columns if column not in frame]
    if absent:
        raise KitError(f"{path} has no column {absent[0]!r}: {mend}; {nearest(absent[0], list(frame))}")
    return frame


def _without_names(path: Path, names: tuple[str, ...], mend: str) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = next(iter(text.splitlines()), "")
        separator = max(SEPARATORS, key=first.count)
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise KitError(f"{path} can't be read as csv ({error}): {mend}") from None
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != len(names)), None)
    if wrong is not None:
        raise KitError(f"{path}: row {wrong} has {len(rows[wrong - 1])} fields, not {len(names)}: {mend}")
    return pd.DataFrame([[cell.strip() for cell in row] for row in rows], columns=list(names), dtype=str)


def _from_json(path: Path, mend: str) -> pd.DataFrame:
    try:
        if path.stat().st_size > LARGEST:
            raise KitError(f"{path} is larger than {LARGEST:,} bytes: {mend}")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise KitError(f"{path} is not there: {mend}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise KitError(f"{path} can't be read as json ({error}): {mend}") from None
    rows = _records(content)
    if not rows:
        raise KitError(f"{path} holds no table of labels: {mend}")
    frame = pd.DataFrame(rows, dtype=object)  # else whole numbers beside nothing become fractions
    return frame.apply(lambda column: column.map(_text)).astype(object)


def _records(content: Any) -> list[dict[str, Any]]:
    """Return the rows of a json of one of the known forms; none for another form."""
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        return _coco(content)
    if isinstance(content, list):
        return content if all(isinstance(row, dict) for row in content) else []
    if not isinstance(content, dict) or not content:
        return []
    values = list(content.values())
    if all(isinstance(value, dict) for value in values):
        return [{"id": key, **value} for key, value in content.items()]
    if all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        rows = zip(*values, strict=True)
        return [dict(zip(content, row, strict=True)) for row in rows]
    if not any(isinstance(value, (dict, list)) for value in values):
        return [{"id": key, "label": value} for key, value in content.items()]
    return []


def _coco(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Join the annotations of COCO's form with their images; an image of several categories has them all."""
    images = [row for row in content["images"] if isinstance(row, dict)]
    found: dict[str, list[str]] = {}
    for note in content.get("annotations") or []:
        if isinstance(note, dict) and "category_id" in note:
            mine = found.setdefault(_text(note.get("image_id")), [])
            if _text(note["category_id"]) not in mine:
                mine.append(_text(note["category_id"]))
    labelled = {"category_id"} if found else set()
    return [
        {**row, **{name: " ".join(found.get(_text(row.get("id", row.get("image_id"))), [])) for name in labelled}}
        for row in images
    ]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value).strip()


def target_of(
    table: pd.DataFrame,
    target: str | tuple[str, ...],
    task: str,
    classes: tuple[str, ...],
    path: Path,
    separator: str = " ",
) -> pd.Series:
    """Encode the labels of a table as an index's column `target`.

    Args:
        table: n rows of text.
        target: the column of labels or numbers, or a column for each class (0 or 1) or each number.
        task: the name of a `kit.task.Task`.
        classes: their names, as they stand in `target`, in the order of the outputs.
        path: of the table, for errors.
        separator: what stands between several labels of one column.

    Raises:
        KitError: a label is none of the classes, or no number; it names file, row and value.
    """
    mend = "correct it"
    if not isinstance(target, str):
        columns = [numbers_of(table, name, path, mend) for name in target]
        values = np.stack(columns, 1)
        if task == "regression":
            return pd.Series(list(map(tuple, values.tolist())), table.index, dtype=object)
        if task == "multilabel":
            return pd.Series([tuple(np.flatnonzero(row > 0.5).tolist()) for row in values], table.index, dtype=object)
        _refuse(table, path, (values > 0.5).sum(1) != 1, "not one of its columns is 1", target[0])
        return pd.Series(values.argmax(1), table.index)
    if task == "regression":
        return pd.Series(numbers_of(table, target, path, mend), table.index)
    numbers = {name: number for number, name in enumerate(classes)}
    if task == "multilabel":
        tags = [[tag.strip() for tag in text.split(separator) if tag.strip()] for text in table[target]]
        unknown = np.fromiter((not numbers.keys() >= {*row} for row in tags), bool, len(tags))
        _refuse(table, path, unknown, "it has a label that is none of the classes", target)
        return pd.Series([tuple(sorted({numbers[tag] for tag in row})) for row in tags], table.index, dtype=object)
    found = table[target].map(numbers)
    _refuse(table, path, found.isna().to_numpy(), "it is none of the classes", target)
    return found.astype(np.int64)


def _refuse(table: pd.DataFrame, path: Path, bad: np.ndarray, why: str, column: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        value = reprlib.repr(table[column].iloc[row])
        raise KitError(
            f"{path}: the {column} of {reprlib.repr(table.iloc[row, 0])} is {value}: {why} "
            f"({int(bad.sum())} such rows): correct the table"
        )


def wide(table: pd.DataFrame, id_: str, name: str, value: str) -> pd.DataFrame:
    """Return a table of one row per id from one with a row per id and target, whose name and value are columns of it.

    What else a row says is taken from the first of its id; the order is that of the first appearance.
    """
    first = table.drop_duplicates(id_).drop(columns=[name, value], errors="ignore")
    if value not in table:
        return first.reset_index(drop=True)
    values = table.drop_duplicates([id_, name]).pivot(index=id_, columns=name, values=value)
    return first.join(values, on=id_).reset_index(drop=True)
