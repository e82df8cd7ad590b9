"""Further columns: which one groups images that belong together, and which a network may take as metadata."""

import re

import pandas as pd

from kit.adapt.tables import NUMBER, Table
from kit.errors import KitError, nearest

# What images of one of these share, from the surest on.
GROUPS = (
    r"patient|subject|person|driver|individual|participant|identity|user|animal_?id|worker",
    r"lesion|case|study|exam",
    r"slide|series|scan|specimen|sample_?id|tissue",
    r"experiment|plate|well|donor|batch",
    r"session|seq_?id|sequence|video|scene|clip|burst|location|camera|station|trap|plot|tile|tree|parcel|farm",
    r"source|site",
)
MOST_KINDS = 30  # values of a text column that is metadata
LEAST_GROUPS, LEAST_PLACES = 3, 10  # values; the words from the fourth line on may also name a kind of thing
SURE = 3  # lines of `GROUPS`
DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}")


def find_group(table: Table, but: set[str], ids: str) -> tuple[str | None, str, list[str]]:
    """Return the column whose values several images share because they belong together, why, and the other ones.

    Args:
        table: the table of labels.
        but: columns that are not meant: target, names of images.
        ids: the column of what is predicted.
    """
    found: list[tuple[int, str]] = []
    for name in table.columns:
        if name in but or name == ids:
            continue
        rank = next((at for at, words in enumerate(GROUPS) if re.search(words, _words(name), re.IGNORECASE)), None)
        if rank is not None and _repeats(table, name, ids, LEAST_GROUPS if rank < SURE else LEAST_PLACES):
            found.append((rank, name))
    found.sort(key=lambda each: each[0])
    if not found:
        return None, "no column has values that images of one patient, place or the like would share", []
    name = found[0][1]
    count = table.values(name).nunique()
    return name, f"{count:,} different values in {len(table.frame):,} rows", [other for _, other in found[1:]]


def _words(name: str) -> str:
    """Return a name with a word's beginning set apart: `StudyInstanceUID` -> `Study_Instance_UID`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)


def _repeats(table: Table, name: str, ids: str, least: int) -> bool:
    values = table.values(name)
    units = table.frame[ids].nunique() if ids in table.frame else len(table.frame)
    return least <= values.nunique() < units


def find_metadata(train: Table, test: Table | None, but: set[str]) -> tuple[list[str], str]:
    """Return the columns of both tables that a network can take beside the image, and why.

    Args:
        train, test: the two tables.
        but: columns that are not meant: ids, target, group.
    """
    if test is None:
        return [], "there is no table of the test images"
    shared = [name for name in train.columns if name in test.columns and name not in but]
    found = [name for name in shared if _is_metadata(train.frame[name])]
    if not found:
        return [], "both tables share no column of numbers or of a few texts"
    return found, f"columns of both tables, {len(found)} of numbers or of a few texts"


def given_metadata(wanted: str, train: Table, test: Table | None) -> list[str]:
    """Return the columns that a person names, with commas between, or none.

    Raises:
        KitError: a column is not in both tables.
    """
    names = [name for each in wanted.split(",") if (name := each.strip()) and name != "none"]
    shared = [name for name in train.columns if test is not None and name in test.columns]
    for name in names:
        if name not in shared:
            where = f"{train.name} and {test.name}" if test is not None else "a table of the test images"
            raise KitError(
                f"--set metadata={wanted}: {name!r} is no column of {where}: give columns that training and test "
                f"images have, or none{f'; {nearest(name, shared)}' if shared else ''}"
            )
    return names


def _is_metadata(values: pd.Series) -> bool:
    known = values[values != ""]
    kinds = known.nunique()
    if kinds < 2:
        return False
    if bool(known.head(5000).map(lambda value: NUMBER.fullmatch(value) is not None).all()):
        # A number of its own in each row is an id rather than a measure, unless it has fractions.
        return kinds < len(known) or bool(known.head(100).str.contains(".", regex=False).any())
    return kinds <= MOST_KINDS and kinds < 0.5 * len(known) and not DATE.match(str(known.iloc[0]))
