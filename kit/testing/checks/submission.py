"""Checks of a submission format: what it writes, and what its own check finds."""

import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.data.index import Index
from kit.hooks.returns import shown
from kit.hooks.specs import Competition, Finding
from kit.scoring.predictions import Predictions
from kit.testing.check import Skipped, check, need, suppose
from kit.testing.data import Data, competition_of, copied, data_of, dataset_of, index_of
from kit.testing.subject import Subject

FINE = 1e-3  # by which a written number may differ from the prediction
ALIKE = 0.999  # correlation of a column with the predictions that it holds
Rows = list[list[str]]


@dataclass(frozen=True)
class Setting:
    """What a submission is written from."""

    competition: Competition
    data: Data
    index: Index
    predictions: Predictions


@check("submission/writes", "write the csv at the path that it is given, from predictions of the test ids")
def writes(subject: Subject) -> str:
    """`write` writes a csv of the test ids."""
    rows = _written(subject)
    need(len(rows) > 1, "write() writes no rows")
    return f"{len(rows) - 1} rows of {','.join(rows[0])}"


@check("submission/same-bytes", "write no time and no name, and draw nothing at random")
def same_bytes(subject: Subject) -> None:
    """Equal predictions give equal bytes."""
    setting = _setting(subject)
    one, other = (_write(subject, setting.predictions, setting.index).read_bytes() for _ in range(2))
    need(one == other, "write() writes different bytes for the same predictions")


@check("submission/any-order-of-predictions", "bring them into order first: predictions.reorder(ids)")
def any_order(subject: Subject) -> None:
    """The order in which predictions come does not matter: values stay with their ids."""
    setting = _setting(subject)
    one = _write(subject, setting.predictions, setting.index).read_bytes()
    turned = _turned(setting.predictions)
    other = _write(subject, turned, setting.index).read_bytes()
    need(one == other, "write() writes other values, or another order, for the same predictions in another order")


@check("submission/row-order", "write rows in the order of the sample submission: predictions.reorder(ids), no sorting")
def row_order(subject: Subject) -> None:
    """Rows come in the order of the sample submission, also where that is not sorted."""
    setting = _setting(subject)
    with copied(subject, setting.data) as root:
        wanted = _shuffle_tables(root, setting.index)
        index = setting.data.spec.index(root)
        rows = _rows(_write(subject, setting.predictions, index))
    ids = [row[0] for row in rows[1:]]
    own = index.test["id"].drop_duplicates().tolist()
    suppose(set(ids) & {*own} or any(set(ids) & {*order} for order in wanted), "its first column is not the id")
    orders = [order for order in [*wanted, own] if set(order) == set(ids)]
    suppose(orders or sorted(ids) != ids, "its ids are others than those of the index")
    need(any(order == ids for order in orders) or not orders, "rows are not in the order of the sample submission")


@check("submission/digits", "write enough digits: float_format='%.9g', or none")
def digits(subject: Subject) -> None:
    """Probabilities keep at least three digits."""
    setting = _setting(subject)
    table = pd.read_csv(_write(subject, setting.predictions, setting.index))
    numbers = table.select_dtypes("number").to_numpy(np.float64)
    values = setting.predictions.mean_by_id().values.astype(np.float64)
    suppose(numbers.shape[1] > 0 and len(numbers) == len(values) > 2, "it does not write the numbers as they are")
    found = 0
    for column in numbers.T:
        for value in values.T:
            if _correlation(np.sort(column), np.sort(value)) > ALIKE and len(np.unique(column)) > 2:
                found += 1
                error = np.abs(np.sort(column) - np.sort(value)).max()
                need(error < FINE * max(1.0, np.abs(value).max()), f"written numbers are off by {error:.2g}")
    suppose(found, "it does not write the numbers as they are")


@check("submission/no-extra-column", "write index=False")
def no_extra_column(subject: Subject) -> None:
    """It writes no column that numbers the rows."""
    header = _written(subject)[0]
    need(all(name.strip() for name in header), f"the header is {','.join(header)!r}: one column has no name")
    need(not any(name.startswith("Unnamed") for name in header), f"the header is {','.join(header)!r}")


@check("submission/all-cells", "write a number or text in each cell", "advice")
def all_cells(subject: Subject) -> None:
    """No cell is empty or NaN."""
    for number, row in enumerate(_written(subject)[1:], 2):
        empty = [cell for cell in row if cell.strip().lower() in ("", "nan")]
        need(not empty, f"line {number} has an empty cell: {','.join(row)}")


@check("submission/leaves-predictions", "copy before changing: the same predictions are kept and blended")
def leaves_predictions(subject: Subject) -> None:
    """`write` leaves the predictions as they are."""
    setting = _setting(subject)
    given = replace(setting.predictions, values=setting.predictions.values.copy())
    subject.spec.write(given, setting.index, subject.folder / "given.csv")
    same = np.array_equal(given.values, setting.predictions.values)
    need(same, "write() changes the predictions in place")


@check("submission/check-passes-own", "let check and write agree")
def check_passes_own(subject: Subject) -> None:
    """`check` finds no error in what `write` writes."""
    setting = _setting(subject)
    path = _write(subject, setting.predictions, setting.index)
    errors = _errors(subject, path, setting)
    need(not errors, f"check() refuses what write() wrote: {errors[:1]}")


@check("submission/check-leaves-file", "read the csv alone")
def check_leaves_file(subject: Subject) -> None:
    """`check` leaves the csv as it is."""
    setting = _setting(subject)
    path = _write(subject, setting.predictions, setting.index)
    before = path.read_bytes()
    subject.spec.check(path, setting.index.root)
    need(path.is_file() and path.read_bytes() == before, "check() changes the csv")


def _finds(name: str, what: str, change: Callable[[Rows], Rows], mend: str, group: str = "contract") -> None:
    """Make a check: the submission's own check finds a change of a csv."""

    def finds(subject: Subject) -> None:
        setting = _setting(subject)
        rows = _written(subject)
        changed = change([list(row) for row in rows])
        suppose(changed != rows, "this csv can't have that fault")
        path = subject.folder / "changed.csv"
        path.write_text(_text(changed), encoding="utf-8")
        need(_errors(subject, path, setting), f"check() passes a csv {what}")

    finds.__doc__ = f"`check` finds a csv {what}."
    check(f"submission/check-finds-{name}", mend, group)(finds)  # type: ignore[arg-type]


def _replaced(text: str) -> Callable[[Rows], Rows]:
    """Return a change of the last cell of the first row."""
    return lambda rows: [rows[0], [*rows[1][:-1], text], *rows[2:]]


SAMPLE = "compare with the sample submission: kit.plugin.submission.check_table or check_rows"
VALUES = "look at the values: kit.plugin.submission.check_probabilities or bad_rows"
_finds("missing-row", "without its last row", lambda rows: rows[:-1], SAMPLE)
_finds("extra-row", "with a row of an unknown id", lambda rows: [*rows, ["unknown", *rows[-1][1:]]], SAMPLE)
_finds("repeated-row", "with a row twice", lambda rows: [*rows, rows[-1]], SAMPLE)
_finds("unknown-id", "with another id", lambda rows: [*rows[:-1], ["unknown", *rows[-1][1:]]], SAMPLE)
_finds("header", "with a wrong header", lambda rows: [["x"], *rows[1:]], SAMPLE)
_finds("lost-column", "without its last column", lambda rows: [row[:-1] for row in rows], SAMPLE)
_finds("no-rows", "with a header alone", lambda rows: rows[:1], SAMPLE)
_finds("nan", "with a value NaN", _replaced("nan"), VALUES)
_finds("text", "with a value that is none", _replaced("no such value"), VALUES)


@check("submission/check-finds-other-order", "compare the order too: kit.plugin.submission.check_rows", "advice")
def finds_other_order(subject: Subject) -> None:
    """`check` finds rows in another order than that of the sample submission."""
    setting, (header, *rows) = _setting(subject), _written(subject)
    path = subject.folder / "changed.csv"
    path.write_text(_text([header, *rows[::-1]]), encoding="utf-8")
    need(subject.spec.check(path, setting.index.root), "check() passes a csv with its rows turned round")


@check("submission/check-finds-no-csv", "report what can't be read: kit.plugin.submission.read_submission")
def finds_no_csv(subject: Subject) -> None:
    """`check` finds a file that is no csv, and one that is not there."""
    setting = _setting(subject)
    path = subject.folder / "changed.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    for where, what in ((path, "a picture"), (subject.folder / "absent.csv", "a file that is not there")):
        need(_errors(subject, where, setting), f"check() passes {what}")


@check("submission/postprocess", "return predictions of the same ids, with finite values")
def postprocess(subject: Subject) -> None:
    """`postprocess` keeps the ids and gives finite values, which `write` takes."""
    suppose(subject.spec.postprocess is not None, "it has none")
    setting = _setting(subject)
    found = subject.spec.postprocess(setting.predictions, setting.index)
    need(isinstance(found, Predictions), f"postprocess() returns {type(found).__name__}, not Predictions")
    need({*found.ids} == {*setting.predictions.ids}, "postprocess() returns other ids")
    need(np.isfinite(found.values).all(), "postprocess() returns values that are not finite")
    _write(subject, found, setting.index)


def _setting(subject: Subject) -> Setting:
    """Return what to write from: the competition's index, and made-up predictions of its test ids."""
    key = f"setting {subject.name}"
    if key not in subject.kept:
        competition = competition_of(subject, "submission")
        spec = dataset_of(subject, competition)
        data, index = data_of(subject, spec), index_of(subject, spec)
        ids = index.test["id"].drop_duplicates().to_numpy(object)
        values = np.random.default_rng(0).random((len(ids), index.outputs))
        if index.task.softmax:
            values /= values.sum(1, keepdims=True)
        elif not index.task.has_classes:  # numbers of the kind that a network learned
            known = index.targets(index.train)
            values = known.min(0) + values * (known.max(0) - known.min(0))
        made = Predictions(ids, index.output_names, values.astype(np.float32), task=index.task)
        subject.kept[key] = Setting(competition, data, index, made)
    found: Setting = subject.kept[key]
    return found


def _write(subject: Subject, predictions: Predictions, index: Index) -> Path:
    path = subject.folder / "submission" / "submission.csv"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    subject.spec.write(replace(predictions, values=predictions.values.copy()), index, path)
    need(path.is_file(), "write() writes no file at the path that it is given")
    others = [each.name for each in path.parent.iterdir() if each != path]
    need(not others, f"write() leaves {', '.join(others)} beside the csv")
    return path


def _errors(subject: Subject, path: Path, setting: Setting) -> list[str]:
    """Return the errors that `check` finds of a csv."""
    found = subject.spec.check(path, setting.index.root)
    right = isinstance(found, list) and all(isinstance(each, Finding) for each in found)
    need(right, f"check() returns {shown(found)}, not a list of kit.plugin.Finding")
    return [finding.text for finding in found if finding.level == "error"]


def _written(subject: Subject) -> Rows:
    """Return the rows of the csv; raise `Skipped` if there is none."""
    setting = _setting(subject)
    return _rows(_write(subject, setting.predictions, setting.index))


def _rows(path: Path) -> Rows:
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    if not rows:
        raise Skipped("the csv is empty: see submission/writes")
    return rows


def _text(rows: Rows) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _turned(predictions: Predictions) -> Predictions:
    order = np.random.default_rng(2).permutation(len(predictions.ids))
    return replace(predictions, ids=predictions.ids[order], values=predictions.values[order])


def _shuffle_tables(root: Path, index: Index) -> list[list[str]]:
    """Shuffle the rows of the tables that list the test ids; return the order of ids in each."""
    wanted, ids = [], set(index.test["id"])
    for path in sorted(root.rglob("*.csv")):
        rows = _rows(path) if path.stat().st_size < 1 << 24 else []
        if len(rows) < 2:
            continue
        listed = {row[0] for row in rows[1:] if row}
        if listed and len(listed & ids) >= len(listed) / 2:
            order = np.random.default_rng(1).permutation(len(rows) - 1)
            shuffled = [rows[1 + number] for number in order]
            path.unlink()
            path.write_text(_text([rows[0], *shuffled]), encoding="utf-8")
            wanted.append([row[0] for row in shuffled])
    return wanted


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
