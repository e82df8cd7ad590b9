"""Csv files as people have them: read as meant where that is beyond doubt, else refused by file, row and value."""

import codecs
import csv
import io
import re
import reprlib
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_string_dtype

from kit.errors import KitError

MOST_NAMED = 12  # columns in an error
SEPARATORS = ",\t;"
SPARE = "\0"  # the column for what stands behind the last one of the header
TABLE = re.compile(r"\.(csv|tsv|tab|txt|xlsx?|parquet)(\.(gz|zip|bz2|xz))?$", re.IGNORECASE)
# A no-break space counts anywhere: only such files pay for looking closer.
BLANK_BEFORE_END = re.compile(rb'[ \t]"?[ \t]*(?:[,;\t\r\n]|$)|\xc2\xa0')
HEADER = re.compile(rb"[\r\n]*([^\r\n]+)")
TOO_LONG = re.compile(r"Expected \d+ fields in line (\d+), saw (\d+)")


def read_table(path: Path, columns: tuple[str, ...], mend: str, numbers: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a csv of the raw data with every column as text.

    Commas, tabs or semicolons separate; blanks around names and values, empty fields behind the last column, columns
    without name and content, and rows without content are left out. A field that a row lacks is the empty text.

    Args:
        path: the csv.
        columns: those that it must have.
        mend: the end of an error: what to do.
        numbers: those of `columns` to read as float64; then no other columns are kept, since such tables are large.

    Raises:
        KitError: the file is not there or no csv in UTF-8, a column is missing, a row is longer than the header,
            or a number is none or not finite.
    """
    if not path.is_file():
        raise KitError(f"{path} is {'no file' if path.exists() else 'not there'}{_tables_beside(path)}: {mend}")
    try:
        content = path.read_bytes()
        names, separator = _header(content, columns)
        has_blanks = BLANK_BEFORE_END.search(content) is not None
        content = _with_head(content, len(names), separator)
        frame = _parsed(content, names, separator, columns, numbers)
    except (ValueError, OSError, csv.Error) as error:
        raise KitError(f"{path} can't be read as csv ({_why(error)}): {mend}") from None
    frame = _without_blanks(_without_spare(frame, path, separator), has_blanks)
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
        known = ", ".join(map(reprlib.repr, names[:MOST_NAMED])) + more
        raise KitError(f"{path} has no column {absent[0]!r} (it has {known}): {mend}")
    found = frame[list(columns)] if numbers else frame
    return found.assign(**{name: numbers_of(found, name, path, mend) for name in numbers})


def separator_of(path: Path) -> str:
    """Return what separates the columns of a csv that `read_table` reads."""
    return _header(path.read_bytes(), ())[1]


def read_exact(content: bytes, separator: str = ",") -> pd.DataFrame:
    """Read a csv that another program reads too, with nothing forgiven: every cell as text, empty where a row is short.

    A blank line is a row, so row i stands in line i + 2 of the file.

    Raises:
        ValueError: it is no csv in UTF-8, names a column twice, or has rows longer than the header.
    """
    try:
        names = _fields(_text_of_header(content), separator, skip=False)
        _refuse_doubled(names)
        options = {"header": 0, "names": names, "dtype": str, "keep_default_na": False, "skip_blank_lines": False}
        frame = pd.read_csv(io.BytesIO(content), sep=separator, **options)
    except (ValueError, csv.Error) as error:
        raise ValueError(_why(error)) from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError("rows have more fields than the header, the first at line 2")
    return frame


def _tables_beside(path: Path) -> str:
    """Say which tables lie where one was sought; the empty text where there are none."""
    if not path.parent.is_dir():
        return ""
    found = sorted(
        each.name for each in path.parent.iterdir() if TABLE.search(each.name) and not each.name.startswith(".")
    )
    more = f" and {len(found) - MOST_NAMED:,} more" if len(found) > MOST_NAMED else ""
    return f" (beside it: {', '.join(map(reprlib.repr, found[:MOST_NAMED]))}{more})" if found else ""


def _header(content: bytes, columns: tuple[str, ...]) -> tuple[list[str], str]:
    """Return the names of a csv's columns, and what separates them: what makes most of the header, `columns` of all."""
    first = _text_of_header(content)
    fields = {separator: [name.strip() for name in _fields(first, separator)] for separator in SEPARATORS}
    separator = max(SEPARATORS, key=lambda each: (set(columns) <= set(fields[each]), len(fields[each])))
    names = fields[separator]
    _refuse_doubled(names)
    return [name or f"Unnamed: {number}" for number, name in enumerate(names)], separator


def _text_of_header(content: bytes) -> str:
    """Return the first line of a csv; raise `ValueError` for what is empty or no text in UTF-8."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise ValueError("it is UTF-16: save it as UTF-8")
    if b"\0" in content:
        raise ValueError(f"line {1 + content[: content.index(0)].count(10)} holds a NUL byte, so it is no text")
    if not content.isascii():
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"line {1 + content[: error.start].count(10)} is not UTF-8") from None
    found = HEADER.match(content)
    first = found[1].decode("utf-8-sig") if found else ""
    if not first.strip():
        raise ValueError("it is empty")
    if first.count('"') % 2:
        raise ValueError("a quotation mark in its header never closes")
    return first


def _fields(line: str, separator: str, skip: bool = True) -> list[str]:
    return next(csv.reader([line], delimiter=separator, skipinitialspace=skip))


def _refuse_doubled(names: list[str]) -> None:
    doubled = [name for number, name in enumerate(names) if name and name in names[:number]]
    if doubled:
        raise ValueError(f"two columns have the name {reprlib.repr(doubled[0])}")


def _with_head(content: bytes, columns: int, separator: str) -> bytes:
    """Return a csv whose header has one column more, since the parser counts the fields of the first line."""
    found, view = HEADER.match(content), memoryview(content)
    begin, end = found.span(1) if found else (0, 0)
    return b"".join([view[:begin], separator.join("0" * (columns + 1)).encode(), view[end:]])


def _parsed(
    content: bytes, names: list[str], separator: str, columns: tuple[str, ...], numbers: tuple[str, ...]
) -> pd.DataFrame:
    """Read all rows, with a column `SPARE` for one field more than the header has."""
    kinds = {name: "category" if numbers and name not in columns else str for name in names if name not in numbers}
    return pd.read_csv(
        io.BytesIO(content),
        sep=separator,
        header=0,
        names=[*names, SPARE],
        dtype={**kinds, SPARE: "category"},
        keep_default_na=False,
        skipinitialspace=True,
    )


def _why(error: Exception) -> str:
    """Return what a parser has to say, in this program's words where rows are too long."""
    found = TOO_LONG.search(str(error))
    if found is None:
        return " ".join(str(error).split())
    return f"line {found[1]} has {found[2]} fields, more than the lines before it"


def _without_spare(frame: pd.DataFrame, path: Path, separator: str) -> pd.DataFrame:
    """Drop what stands behind the last column of the header; raise `KitError` if it is not empty."""
    inferred = not isinstance(frame.index, pd.RangeIndex)
    known = frame[SPARE].cat.categories
    filled = frame[SPARE].isin([text for text in known if str(text).strip()]).to_numpy()
    if inferred or filled.any():
        row = 0 if inferred else int(np.flatnonzero(filled)[0])
        more = (*frame.index[:1].to_flat_index(),) if inferred else ()
        more = more[0] if more and isinstance(more[0], tuple) else more
        first = separator.join(str(cell) for cell in (*more, *frame.iloc[row]) if cell == cell)
        raise KitError(
            f"{path} has rows with more fields than the header, the first is {reprlib.repr(first)}: is there a comma "
            "too many at the end?"
        )
    return frame.drop(columns=SPARE)


def _without_blanks(frame: pd.DataFrame, has_blanks: bool) -> pd.DataFrame:
    """Drop blanks at the ends of texts, columns without name and content, and rows without content."""
    if has_blanks:
        frame = frame.assign(**{name: frame[name].str.strip() for name in frame if is_string_dtype(frame[name].dtype)})
    unnamed = [name for name in frame if str(name).startswith("Unnamed: ") and _blank(frame[[name]]).all()]
    frame = frame.drop(columns=unnamed)
    first = np.flatnonzero(_blank(frame.iloc[:, :1]))
    if len(first):
        empty = first[_blank(frame.iloc[first])]
        frame = frame.drop(index=frame.index[empty]).reset_index(drop=True)
    return frame


def _blank(frame: pd.DataFrame) -> np.ndarray:
    """Return which rows hold nothing."""
    blank = np.ones(len(frame), bool)
    for name in frame:
        blank &= (frame[name] == "").to_numpy(bool)
    return blank


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


def refuse_repeated(ids: pd.Series, path: Path, mend: str = "leave one") -> None:
    """Raise `KitError`, which names the csv at `path`, if an id has several rows: none of them may win unseen."""
    again = ids.duplicated()
    if again.any():
        raise KitError(
            f"{path} has two rows for id {reprlib.repr(ids[again].iloc[0])} ({int(again.sum())} such rows): {mend}"
        )


def repeated(ids: pd.Series, labels: pd.Series) -> tuple[str, ...]:
    """Return the ids of a table's further rows of an id, with the labels where its rows have different ones."""
    again = ids[ids.duplicated()]
    own = labels[ids.isin(again)].groupby(ids).unique() if len(again) else {}
    return tuple(f"{id_} ({' and '.join(map(str, own[id_]))})" if len(own[id_]) > 1 else id_ for id_ in again)
