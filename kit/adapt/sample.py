"""The sample submission: which table it is, what its rows are, and what stands in its columns."""

from dataclasses import dataclass, replace

import pandas as pd

from kit.adapt.images import TEST_WORDS, TRAIN_WORDS, Images, Match
from kit.adapt.tables import NUMBER, Table, Tables
from kit.errors import KitError, nearest

JOINS = ("__", ":", "-", "_")
MOST_NAMES = 60  # numbers or classes in the ids of a sample that has a row for each of them


@dataclass(frozen=True)
class Sample:
    """A sample submission.

    Args:
        table: the table.
        match: how its column of ids names images.
        join: what stands between the name of an image and that of a class, where each row is for one class of an image.
        names: those classes, in order.
        others: names of further sample submissions.
        id: the column of ids, nearly always the first one.
    """

    table: Table
    match: Match
    join: str = ""
    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    id: str = ""

    def __post_init__(self) -> None:
        """Take the first column where none is given."""
        object.__setattr__(self, "id", self.id or self.table.columns[0])

    @property
    def columns(self) -> list[str]:
        """The names of the others."""
        return [name for name in self.table.columns if name != self.id]

    @property
    def ids(self) -> pd.Series:
        """The ids; of rows for a class of an image, the image's part."""
        ids = self.table.frame[self.id]
        if not self.join:
            return ids
        return starts_of(ids, self.join)

    @property
    def values(self) -> list[str]:
        """The different values in all its columns, at most some thousand."""
        found: dict[str, None] = {}
        for column in self.columns:
            found |= dict.fromkeys(self.table.values(column).head(2000))
        return list(found)

    @property
    def has_fractions(self) -> bool:
        """Whether one of its values has a decimal point."""
        return any(NUMBER.fullmatch(value) and "." in value for value in self.values)


def find_sample(tables: Tables, images: Images, wanted: str | None) -> Sample | None:
    """Return the sample submission: of several by name the one whose ids name most images, the later stage; or None.

    Args:
        tables: all tables.
        images: all images.
        wanted: the name that a person gave.

    Raises:
        KitError: there is no such table.
    """
    if wanted == "none":
        return None
    known = [table.name for table in tables.tables]
    if wanted is not None and wanted not in known:
        raise KitError(f"there is no table {wanted!r}: give --set submission=FILE; {nearest(wanted, known)}")
    samples = [table for table in tables.tables if table.name == wanted] if wanted else tables.samples
    samples = [table for table in samples if len(table.columns) >= 2 and len(table.frame)] or (
        [] if wanted else _unnamed(tables.others)
    )
    found = [_read(table, images, tables) for table in samples]
    if not found:
        return None
    best = max(found, key=lambda sample: (sample.match.is_good, sample.match.count, sample.table.name))
    return replace(best, others=tuple(name for each in found if (name := each.table.name) != best.table.name))


def _unnamed(tables: list[Table]) -> list[Table]:
    """Return the tables that are samples by what they hold; rather than test tables those with one value throughout."""
    found = [table for table in tables if _looks_so(table, tables)]
    return [table for table in found if _is_constant(table)] or found


def _is_constant(table: Table) -> bool:
    return len(table.frame) > 1 and all(table.frame[column].nunique() == 1 for column in table.columns[1:])


def _looks_so(table: Table, others: list[Table]) -> bool:
    """Return whether a table that is not named so is a sample: it has columns of the labels, for other ids.

    And it has one value in each of them, or the ids of a table that lacks them. One that is named like the test set, or
    has the columns of another table, needs one value in each only.
    """
    if len(table.columns) < 2 or not len(table.frame) or "train" in table.name.lower():
        return False
    id_, *columns = table.columns
    ids, rest = {*table.frame[id_]}, [other for other in others if other is not table]
    others_lack = any(
        {*columns}.isdisjoint(other.columns) and id_ in other.columns and ids == {*other.frame[id_]} for other in rest
    )
    asked = any({*table.columns} <= {*other.columns} and ids.isdisjoint(other.frame[id_]) for other in rest)
    twin = any(other.columns == table.columns for other in rest)
    return (asked and others_lack) or (_is_constant(table) and (asked or twin or "test" in table.name.lower()))


def _read(table: Table, images: Images, tables: Tables) -> Sample:
    column = table.columns[0]
    ids = table.frame[column]
    match = images.match(column, ids, TEST_WORDS, TRAIN_WORDS)
    if match.is_good or len(table.columns) != 2:
        return Sample(table, match)
    for join in JOINS:
        names = _names(ids, join)
        if names:
            starts = images.match(column, starts_of(ids, join), TEST_WORDS, TRAIN_WORDS)
            others = [each.frame[column] for each in tables.others if column in each.columns]
            trained = [images.match(column, starts_of(each, join), TRAIN_WORDS, TEST_WORDS) for each in others]
            # The first part of an id may also be a patient, whose folder holds several images.
            if any(match.is_good and not match.by_folder for match in (starts, *trained)):
                return Sample(table, starts, join, names)
    other = images.match(table.columns[1], table.frame[table.columns[1]], TEST_WORDS, TRAIN_WORDS)
    return Sample(table, other, id=other.column) if other.is_good and not match.count else Sample(table, match)


def starts_of(ids: pd.Series, join: str) -> pd.Series:
    """Return the different images that ids with the names of classes behind them begin with."""
    return pd.Series(list(dict.fromkeys(_apart(id_, join)[0] for id_ in ids)), dtype=object)


def _names(ids: pd.Series, join: str) -> tuple[str, ...]:
    """Return the names behind the ids, if each id stands there with each of several names."""
    parts = [_apart(id_, join) for id_ in ids]
    names = list(dict.fromkeys(name for _, name in parts))
    starts = {start for start, _ in parts}
    is_whole = len(parts) == len(starts) * len(names) == len(set(parts)) and "" not in starts
    if not is_whole or not 2 <= len(names) <= MOST_NAMES or all(name.isdigit() for name in names):
        return ()
    return tuple(names)


def _apart(id_: str, join: str) -> tuple[str, str]:
    if join == "_":
        start, _, name = id_.rpartition(join)
    else:
        start, _, name = id_.partition(join)
    return start, name
