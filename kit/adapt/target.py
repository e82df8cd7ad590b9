"""Which column, or which columns, of a table are the target: by the sample submission, by names and by values."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from kit.adapt.sample import Sample
from kit.adapt.tables import Table
from kit.errors import KitError, nearest

TARGET = re.compile(
    r"(target|labels?|dx|class(es)?|class_?(name|id)|category(_?id|_?name)?|tags?|species|breed|diagnosis|y|"
    r"disease|has_\w+|is_\w+|grade|level|score|variety|character|kind|type)",
    re.IGNORECASE,
)
LAST_WORD = re.compile(
    r"(labels?|class(es)?|category|categories|tags?|targets?|species|breed|diagnosis)", re.IGNORECASE
)
OF_A_VALUE = re.compile(r"mean|label|target|value", re.IGNORECASE)
MOST = 0.8  # of the columns of a sample submission, or of a column's values, that must be the same


def label_names(columns: Sequence[str]) -> list[str]:
    """Return the columns that are named as labels are: by the whole name, or if none is, by its last word."""
    whole = [name for name in columns if TARGET.fullmatch(name)]
    return whole or [name for name in columns if LAST_WORD.fullmatch(re.split(r"[\W_]+", name)[-1])]


def find_target(
    table: Table, images: str, sample: Sample | None, test: Table | None, wanted: str | None, name: str = ""
) -> tuple[str | tuple[str, ...], str, list[str]]:
    """Return the target's column or columns, the reason, and the columns that it could be instead.

    Args:
        table: the table of labels.
        images: its column that names images.
        sample: the sample submission.
        test: the table of the test images.
        wanted: what a person gave, several columns with commas.
        name: of the competition, which may name the target.

    Raises:
        KitError: no column, or several, can be it; it says which.
    """
    if wanted is not None:
        return _given(table, wanted), "given with --set", []
    columns = [name for name in table.columns if name != images]
    only = [name for name in columns if test is None or name not in test.columns]
    others = label_names(only) or only
    if sample is not None:
        found = _of_sample(table, columns, others, sample)
        if found is not None:
            return found
    if not only:
        raise KitError(
            f"no column of {table.name} is a label (it has {', '.join(table.columns[:8])}): "
            "give --set target=COLUMN or --set table=FILE"
        )
    return _likeliest(table, only, sample, test, name)


def need_one_label(table: Table, ids: Sequence[str], target: str) -> None:
    """Raise `KitError` where rows of one id have different labels, of which an image can have one only."""
    rows = table.frame[[*ids, target]].drop_duplicates()
    again = rows[rows.duplicated([*ids])]
    if len(again):
        raise KitError(
            f"{again.iloc[0, 0]!r} in {', '.join(ids)} of {table.name} has two different values of {target} "
            f"({len(again):,} such rows): correct the table, or give --set id=COLUMN, whose values name one image each"
        )


def _given(table: Table, wanted: str) -> str | tuple[str, ...]:
    given = [name.strip() for name in wanted.split(",")]
    unknown = [name for name in given if name not in table.columns]
    if unknown:
        raise KitError(
            f"{table.name} has no column {unknown[0]!r}: give --set target=COLUMN; {nearest(unknown[0], table.columns)}"
        )
    return given[0] if len(given) == 1 else tuple(given)


def _of_sample(
    table: Table, columns: list[str], others: list[str], sample: Sample
) -> tuple[str | tuple[str, ...], str, list[str]] | None:
    """Return the target by the columns of the sample submission, as `find_target` does; None if they do not tell."""
    shared = [name for name in sample.columns if name in columns]
    if sample.names:
        return (shared[0], f"the column of {sample.table.name}", []) if shared else None
    if shared and len(shared) == len(sample.columns):
        found = shared[0] if len(shared) == 1 else tuple(shared)
        rest = [name for name in others if name not in shared]
        return found, f"the column{'s' * (len(shared) > 1)} of {sample.table.name} in {table.name}", rest
    longer = _with_more(columns, sample.columns)
    if longer:
        return longer, f"the columns of {sample.table.name}, with more in their names", others
    by_values = _by_values(table, columns, sample)
    if by_values:
        rest = [name for name in others if name != by_values]
        return by_values, f"its values are the columns of {sample.table.name}", rest
    if len(shared) > 1 and len(shared) >= len(sample.columns) // 2:
        return tuple(shared), f"columns of {sample.table.name} in {table.name}", others
    return None


def _with_more(columns: list[str], wanted: list[str]) -> str | tuple[str, ...] | None:
    """Return the columns whose names are the wanted ones with the same text before or behind each: `X4_mean` for `X4`.

    Of several such texts it is the one that speaks of a value rather than of its spread.
    """
    around = {(name[:at], name[at + len(wanted[0]) :]) for name in columns if (at := name.find(wanted[0])) >= 0}
    found = [
        (before, behind)
        for before, behind in sorted(around)
        if before + behind
        and not (before[-1:] + behind[:1]).strip("_-. ")
        and all(f"{before}{name}{behind}" in columns for name in wanted)
    ]
    found = [each for each in found if OF_A_VALUE.search("".join(each))] if len(found) > 1 else found
    if len(found) != 1:
        return None
    names = tuple(f"{found[0][0]}{name}{found[0][1]}" for name in wanted)
    return names if len(names) > 1 else names[0]


def _likeliest(
    table: Table, only: list[str], sample: Sample | None, test: Table | None, title: str
) -> tuple[str | tuple[str, ...], str, list[str]]:
    """Return the target by names and values of columns, as `find_target` does."""
    named = label_names(only)
    values = set(sample.values) if sample is not None else set()
    words = {word for value in values for word in value.split()}
    by_value = [name for name in only if values and values <= {*table.frame[name]}] or [
        name for name in only if len(words) > len(values) and len(words & {*table.frame[name]}) >= MOST * len(words)
    ]
    told = _words(title) | _words(PurePosixPath(table.name).name)
    in_title = [name for name in named or only if len(name) > 3 and _words(name) & told]
    for few, why in (
        ([name for name in named if name in by_value], "its name, and values of the sample submission"),
        (by_value, "it has the values of the sample submission"),
        (named, "its name"),
        (only, "the only column beside the id" if test is None else "the only column that the test table lacks"),
        (in_title, f"the name of the competition or of {table.name} has it"),
    ):
        if len(few) == 1:
            return few[0], why, [name for name in only if name != few[0]]
    hot = [name for name in only if set(table.values(name)) <= {"0", "1", "0.0", "1.0"}]
    if len(hot) >= 2 and not named:
        return tuple(hot), "columns of 0 and 1", [name for name in only if name not in hot]
    few = named or only
    raise KitError(
        f"which of {', '.join(few[:8])} in {table.name} is the target? nothing tells: give --set target={few[0]} "
        "or another"
    )


def _words(name: str) -> set[str]:
    """Return the words of a name, and each two of them as one: `bone-age.csv` -> bone, age, csv, boneage, agecsv."""
    words = re.findall(r"[a-z]+", name.lower())
    return {*words, *map("".join, pairwise(words))}


def _by_values(table: Table, columns: list[str], sample: Sample) -> str | None:
    """Return the column whose values, or labels in it, are the columns of the sample submission."""
    if len(sample.columns) < 2:
        return None
    wanted = set(sample.columns)
    for column in columns:
        values = set(table.values(column))
        if len(values & wanted) >= MOST * max(len(values), 1) or len(values & wanted) >= MOST * len(wanted):
            return column
        tags = {tag for text in values for tag in re.split(r"[ ,;|]", text) if tag}
        if len(values) < 5000 and len(tags & wanted) >= MOST * len(wanted):
            return column
    return None
