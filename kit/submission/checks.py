"""Checks of a submission's csv shared by competitions; they read only the csv and the sample submission.

`check_table` is the complete check of a csv of probabilities, grades or other numbers. A competition with other values
(class names, lists of them) calls `check_rows` for what every format shares and checks the values itself.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from kit.hooks.specs import Finding
from kit.image_files import without_ending
from kit.tables import read_exact, read_table

HEADER_LINES = 1


def check_table(
    path: Path,
    sample: Path,
    columns: tuple[str, ...],
    without_endings: bool = False,
    low: float | None = 0,
    high: float | None = 1,
    whole: bool = False,
) -> list[Finding]:
    """Check a csv of numbers, by default probabilities: header, row count, ids, order, and what `columns` hold.

    Args:
        path: the submission.
        sample: the competition's sample submission; a `KitError` if it is missing.
        columns: the columns of numbers.
        without_endings: as for `check_rows`.
        low, high, whole: as for `check_numbers`; grades from 0 to 4 are `high=4, whole=True`, any number is `low=None,
            high=None`. Between 0 and 1, `check_probabilities` checks.

    Returns:
        Findings, each naming the first bad row by its line and id; none if all is right.
    """
    table, findings = check_rows(path, sample, without_endings)
    if table is None:
        return findings
    for column in columns:
        if (low, high, whole) == (0, 1, False):
            findings += check_probabilities(table, column)
        else:
            findings += check_numbers(table, column, low, high, whole)
    return findings


def check_rows(path: Path, sample: Path, without_endings: bool = False) -> tuple[pd.DataFrame | None, list[Finding]]:
    """Compare header, row count, ids and order of a csv with the sample submission, whose first column is the id.

    Args:
        path: the submission.
        sample: the competition's sample submission; a `KitError` if it is missing.
        without_endings: whether Kaggle takes ids without the ending of a file, though somebody's sample has it.

    Returns:
        The table with every cell as text ("" where empty), row i being line i + 2 of the file, or None where the
        values can't be checked; and the findings.
    """
    expected = read_table(sample, (), "kit download COMPETITION provides the sample submission")
    return check_frame(path, expected, without_endings)


def check_frame(
    path: Path, expected: pd.DataFrame, without_endings: bool = False, id: str = "", separator: str = ","
) -> tuple[pd.DataFrame | None, list[Finding]]:
    """Do the same with a sample submission that has been read; the column `id` comes first in the table returned."""
    table, findings = read_submission(path, separator)
    if table is None:
        return None, findings
    if list(table.columns) != list(expected.columns):
        wanted, given = separator.join(expected.columns), separator.join(table.columns)
        return None, [_error(f"the header is {given!r}, it must be {wanted!r}")]
    if id:
        order = [id, *(name for name in expected.columns if name != id)]
        table, expected = table[order], expected[order]
    if len(table) != len(expected):
        findings.append(_error(f"{len(table)} rows, the sample submission has {len(expected)}"))
    ids = expected.iloc[:, 0]
    findings += _check_ids(table, pd.Index(without_ending(ids) if without_endings else ids))
    return table, findings


def check_probabilities(table: pd.DataFrame, column: str) -> list[Finding]:
    """Check that a column holds numbers in 0..1, and warn if a rank metric would suffer.

    Args:
        table: as `check_rows` returns it.
        column: the column of probabilities.
    """
    values, findings = _numbers(table, column), check_numbers(table, column, 0, 1)
    if findings or len(values) < 2:
        return findings
    if (values == values[0]).all():
        return [Finding("warning", f"{column} is {values[0]:g} in every row: this ranks nothing")]
    if np.isin(values, (0, 1)).all():
        return [
            Finding("warning", f"{column} holds only hard labels 0 and 1: hard labels cost AUC, give probabilities")
        ]
    return []


def check_numbers(
    table: pd.DataFrame, column: str, low: float | None = None, high: float | None = None, whole: bool = False
) -> list[Finding]:
    """Check that a column holds finite numbers.

    Args:
        table: as `check_rows` returns it.
        column: the column of numbers.
        low, high: the lowest and highest that may be; None: any.
        whole: whether they are written without a fraction (grades, counts): 2, not 2.0.
    """
    values, empty = _numbers(table, column), (table[column].str.strip() == "").to_numpy()
    finite = np.isfinite(values)
    ends = (-np.inf if low is None else low, np.inf if high is None else high)
    span = f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"
    outside = finite & ((values < ends[0]) | (values > ends[1]))
    written = table[column].str.strip().str.fullmatch(r"[+-]?\d+").to_numpy(bool)
    return [
        *bad_rows(table, empty, f"{column} is empty"),
        *bad_rows(table, np.isnan(values) & ~empty, f"{column} is not a number", column),
        *bad_rows(table, np.isinf(values), f"{column} is infinite", column),
        *bad_rows(table, outside, f"{column} lies outside {span}", column),
        *(bad_rows(table, finite & ~written, f"{column} is not a whole number", column) if whole else []),
    ]


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return the numbers of a column, NaN where a cell has none."""
    return pd.to_numeric(table[column].str.strip(), errors="coerce").to_numpy(np.float64)


def read_submission(path: Path, separator: str = ",") -> tuple[pd.DataFrame | None, list[Finding]]:
    """Read a csv with every cell as text ("" where empty), row i being line i + 2; None and a finding if it fails."""
    if not path.is_file():
        return None, [_error(f"{path} is not there")]
    try:
        return read_exact(path.read_bytes(), separator), []
    except (ValueError, OSError) as error:
        return None, [_error(f"{path} can't be read as csv ({error})")]


def _check_ids(table: pd.DataFrame, expected: pd.Index) -> list[Finding]:
    """Check for unknown, repeated and missing ids, and the order if all else is right."""
    ids = table.iloc[:, 0]
    findings = [
        *bad_rows(table, ~ids.isin(expected).to_numpy(), "the id is not in the sample submission"),
        *bad_rows(table, ids.duplicated().to_numpy(), "the id appears twice"),
    ]
    missing = expected[~expected.isin(ids)]
    if len(missing):
        findings.append(_error(f"ids are missing: {len(missing)}, the first is {missing[0]!r}"))
    if not findings and len(ids) == len(expected):
        text = "the order is not that of the sample submission"
        findings = bad_rows(table, ids.to_numpy() != expected.to_numpy(), text)
    return findings


def bad_rows(
    table: pd.DataFrame,
    bad: np.ndarray,
    text: str,
    column: str | None = None,
    level: Literal["error", "warning"] = "error",
) -> list[Finding]:
    """Return one finding about the rows where `bad` is true: the first by line, id and value, and how many more.

    Args:
        table: as `check_rows` returns it.
        bad: one boolean per row.
        text: what is wrong with them.
        column: its value in the first of them is shown.
        level: of the finding.
    """
    rows = np.flatnonzero(bad)
    if not len(rows):
        return []
    first = rows[0]
    value = f" ({table[column].iloc[first]!r})" if column else ""
    where = f"line {first + HEADER_LINES + 1}, id {table.iloc[first, 0]!r}{value}"
    return [Finding(level, f"{text}: {where}" + (f", and {len(rows) - 1} more" if len(rows) > 1 else ""))]


def _error(text: str) -> Finding:
    return Finding("error", text)
