"""A submission beside the truth of the test set, for `SubmissionSpec.grade`."""

from pathlib import Path

import pandas as pd

from kit.errors import KitError
from kit.image_files import without_ending
from kit.tables import read_table, refuse_repeated


def beside_truth(
    path: Path, truth: Path, column: str, columns_of_truth: tuple[str, ...], id_: str = "id"
) -> tuple[pd.Series, pd.Series]:
    """Return one column of a submission and that of the truth as text, by id and in the order of the truth.

    Args:
        path: the submission, a csv with the columns `id_` and `column`.
        truth: a csv with the column `id_` and one of `columns_of_truth`, the first of these that it has.
        column, columns_of_truth, id_: names of columns.

    Raises:
        KitError: a column is missing, an id appears twice, or the two do not list the same ids.
    """
    mend = "correct it, or give another csv"
    known = read_table(truth, (id_,), "give --truth the truth of the test set")
    found = next((name for name in columns_of_truth if name in known), None)
    if found is None:
        raise KitError(f"{truth} has no column {' or '.join(columns_of_truth)}: give --truth the truth of the test set")
    given = _by_id(read_table(path, (id_, column), mend), path, id_, column)
    wanted = _by_id(known, truth, id_, found)
    missing, unknown = wanted.index.difference(given.index), given.index.difference(wanted.index)
    if len(missing) or len(unknown):
        first = missing[0] if len(missing) else unknown[0]
        raise KitError(
            f"{path} ({len(given)} rows) and {truth} ({len(wanted)}) do not list the same ids: {len(missing)} are "
            f"missing, {len(unknown)} are not in the truth, the first is {first}: give the truth of these test images"
        )
    return given.loc[wanted.index], wanted


def _by_id(table: pd.DataFrame, path: Path, id_: str, column: str) -> pd.Series:
    ids = without_ending(table[id_])
    refuse_repeated(ids, path)
    return pd.Series(table[column].to_numpy(object), index=ids).fillna("").astype(str).str.strip()
