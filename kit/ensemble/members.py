"""The members of blends (runs, other tools' files) and what they must match: one competition, folds and ids."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kit.console import Console, jsonable
from kit.data.open_run import OpenRun, same_labels
from kit.decision import grades, thresholds
from kit.decision.rule import nesting_folds
from kit.decision.tune import has_rule
from kit.errors import KitError
from kit.files import sha256, write_json
from kit.record import RunRecord
from kit.run import Run, WriteFile
from kit.scoring.interval import score_with_interval
from kit.scoring.predictions import Predictions
from kit.tables import read_table, refuse_repeated
from kit.task import MULTILABEL, ORDINAL, Task

# What a blend copies from the record of its first run.
FACTS = ("competition", "slug", "origin", "classes", "sources", "normalization", "folds", "left_out", "versions")


@dataclass(frozen=True)
class Member:
    """One member: its name, out-of-fold values nxK, test values mxK (both float32), and the SHA-256 of their files."""

    name: str
    oof: np.ndarray
    test: np.ndarray
    digests: dict[str, str]


class BlendBasis:
    """What all members must match: data, folds and ids of the first run.

    n rows have out-of-fold predictions, in the order of the index: `ids`, `target` (as `Index.targets` returns it),
    `fold`, `groups` (which rows belong together) and `nesting` (0, 1, ...: what is learned for a row is learned from
    rows with other numbers). `test_ids` are m ids, in the order of the run's own test predictions.
    """

    def __init__(self, opened: OpenRun, ids: np.ndarray, test_ids: np.ndarray) -> None:
        self.run, self.index, self.folds, self.metric = opened.run, opened.index, opened.folds, opened.metric
        self.task = self.index.task
        once = ~self.index.train["id"].duplicated().to_numpy()
        own = once & self.index.train["id"].isin(set(ids)).to_numpy()
        frame = self.index.train[own]
        self.ids, self.target = frame["id"].to_numpy(object), self.index.targets(frame)
        self.fold, self.groups = self.folds.of(self.index.train)[own], self.folds.groups(self.index.train)[own]
        self.nesting: np.ndarray = np.unique(nesting_folds(self.fold, self.groups), return_inverse=True)[1]
        self.test_ids = test_ids

    @property
    def decided_by(self) -> str:
        """What decides the classes that the metric judges, tuned on the other nesting folds: thresholds, as at 0.5 a
        metric would say nothing of ranks and little of means, or cuts between grades. Empty where nothing does."""
        if not has_rule(self.task, self.metric):
            return ""
        return {MULTILABEL: "thresholds per class", ORDINAL: "cuts between grades"}.get(self.task, "")

    def prediction(self, values: np.ndarray) -> np.ndarray:
        """Return values nxK as the metric takes them: as they are, or as `decided_by` says."""
        if not self.decided_by:
            return self.metric.takes(self.task, values)
        if self.task is ORDINAL:
            tuned = grades.nested(self.target, values, self.nesting, self.metric)
        else:
            tuned = thresholds.nested("per-class", self.target, values, self.nesting, self.metric.beta)
        return self.task.as_probabilities(tuned, len(self.index.classes))

    def score(self, prediction: np.ndarray, rows: np.ndarray | slice = slice(None)) -> float:
        """Compute the metric over some rows of what `prediction` returned."""
        return self.metric.compute(self.task.flat(self.target)[rows], prediction[rows])


def check_run(first: Run, run: Run) -> None:
    """Raise a `KitError` if a run does not match the first one, or lacks predictions."""
    a, b, pair = first.record, run.record, f"runs {first.id} and {run.id}"
    name, count = first.config.competition, first.config.folds
    if name != run.config.competition:
        raise KitError(
            f"{pair} belong to {name} and {run.config.competition}: blend runs of one competition (kit runs)"
        )
    if a["origin"] != b["origin"] and not _same_data(a, b):
        raise KitError(f"{pair} learned from data of origin {a['origin']} and {b['origin']}: train both on the same")
    if a.get("classes") != b.get("classes"):
        raise KitError(
            f"{pair} have different classes ({len(a.get('classes', []))} and {len(b.get('classes', []))}) or a "
            "different order of them: train both on the same data, with the same --set dataset"
        )
    if a["folds"]["digest"] != b["folds"]["digest"]:
        raise KitError(
            f"{pair} were trained on different folds ({count}, digest {a['folds']['digest'][:12]}; {run.config.folds}, "
            f"digest {b['folds']['digest'][:12]}), so one was trained on images that validate the other: retrain what "
            f"was not trained on the folds beside the data: kit train {name} --folds {count}"
        )
    if not run.has("test.npz"):
        raise KitError(f"run {run.id} has no test predictions: kit predict {run.id}")


def _same_data(a: RunRecord, b: RunRecord) -> bool:
    """Return whether two runs learned from the same labels of real data, which may have come by two ways."""
    return (
        "miniature" not in (a["origin"], b["origin"])
        and "data" in a
        and "data" in b
        and same_labels(a["data"], b["data"])
    )


def of_run(run: Run, basis: BlendBasis) -> Member:
    """Return a run's predictions in the order of the basis; other ids are a `KitError`."""

    def no_oof(id_: str, missing: bool) -> str:
        lacks, has = (run, basis.run) if missing else (basis.run, run)
        return (
            f"run {lacks.id} has no out-of-fold prediction of id {id_!r}, run {has.id} has one: "
            f"kit train --resume {lacks.id} --fold {basis.folds.fold_of[id_]}"
        )

    def no_test(id_: str, missing: bool) -> str:
        lacks, has = (run, basis.run) if missing else (basis.run, run)
        return f"run {lacks.id} has no test prediction of id {id_!r}, run {has.id} has one: kit predict {lacks.id}"

    oof, test = run.reading("oof.npz"), run.reading("test.npz")
    return Member(
        run.id,
        _in_order(Predictions.load(oof), basis.ids, no_oof),
        _in_order(Predictions.load(test), basis.test_ids, no_test),
        {"oof": sha256(oof), "test": sha256(test)},
    )


def of_files(oof: Path, test: Path, basis: BlendBasis, console: Console) -> Member:
    """Read another tool's predictions; a column `fold` in the first file must match the run's folds."""

    def trouble(id_: str, missing: bool, path: Path = oof, what: str = "out-of-fold") -> str:
        ids = f"the {what} ids of run {basis.run.id}"
        if missing:
            return f"{path} has no row for id {id_!r}, one of {ids}: add it"
        return f"{path} has a row for id {id_!r}, which is not one of {ids}: drop it"

    predictions, fold = read_csv(oof, basis.index.output_names, basis.task)
    values = _in_order(predictions, basis.ids, trouble)
    if fold is None:
        console.warn(
            f"{oof} has no column fold, so kit can't know whether that tool used these folds: if it trained on ids "
            "that it predicts here, its estimate is optimistic"
        )
    else:
        number = pd.to_numeric(fold, errors="coerce").to_numpy()
        wrong = number != basis.folds.fold_of.loc[predictions.ids].to_numpy()
        if wrong.any():
            id_, given = predictions.ids[wrong][0], fold[wrong].iloc[0]
            raise KitError(
                f"{oof}: id {id_!r} is in fold {given}, but in fold {basis.folds.fold_of[id_]} of run {basis.run.id} "
                f"({wrong.sum()} ids differ): train that tool on the folds of {basis.run.path / 'folds.csv'}"
            )
    tests = _in_order(
        read_csv(test, basis.index.output_names, basis.task)[0],
        basis.test_ids,
        partial(trouble, path=test, what="test"),
    )
    return Member(str(oof), values, tests, {"oof": sha256(oof), "test": sha256(test)})


def _in_order(predictions: Predictions, ids: np.ndarray, trouble: Callable[[str, bool], str]) -> np.ndarray:
    """Return values in the order of `ids`; other ids are a `KitError` about the first and whether it is missing."""
    rows = pd.Index(predictions.ids).get_indexer(pd.Index(ids))
    if (rows < 0).any():
        raise KitError(trouble(ids[rows < 0][0], True))
    if len(predictions.ids) > len(ids):
        raise KitError(trouble(np.delete(predictions.ids, rows)[0], False))
    return np.asarray(predictions.values[rows], np.float32)


def read_csv(path: Path, names: tuple[str, ...], task: Task) -> tuple[Predictions, pd.Series | None]:
    """Read another tool's predictions: an id, then a column per class in any order, and optionally a column `fold`.

    Args:
        path: of the csv.
        names: of the outputs; the column of a single output may have any name.
        task: says whether they are probabilities or numbers.

    Returns:
        The predictions and the column `fold`. Anything wrong is a `KitError` that names the first id or column.
    """
    kind, kinds = ("class", "classes") if task.has_classes else ("target", "targets")
    mend = f"give a csv with an id and a column per {kind}"
    table = read_table(path, (), mend)
    fold = table.pop("fold") if "fold" in table.columns[1:] and "fold" not in names else None
    ids, given = table.iloc[:, 0], list(table.columns[1:])
    refuse_repeated(ids, path)
    columns = given if len(names) == 1 else list(names)
    if len(columns) != len(names):
        raise KitError(f"{path} has the columns {', '.join(table.columns)}: give an id and one column of values")
    for these, those, what in ((columns, given, "lacks the column"), (given, columns, "has a column")):
        strange = [column for column in these if column not in those]
        if strange:
            raise KitError(f"{path} {what} {strange[0]!r}: give an id and the {len(names)} {kinds}, nothing else")
    values = np.empty((len(table), len(names)), np.float32)
    for number, column in enumerate(columns):
        numbers = pd.to_numeric(table[column], errors="coerce")
        wrong = ~(numbers.between(0, 1) if task.has_classes else np.isfinite(numbers))
        if wrong.any():
            shown = f"{column} of id {ids[wrong].iloc[0]!r} is {str(table[column][wrong].iloc[0])!r}"
            wanted = "probabilities, numbers in 0..1" if task.has_classes else "finite numbers"
            raise KitError(f"{path}: {shown}: give {wanted}")
        values[:, number] = numbers
    return Predictions(ids.to_numpy(object), names, values), fold


def write_run(basis: BlendBasis, facts: dict[str, Any], oof: np.ndarray, test: np.ndarray, console: Console) -> Run:
    """Write a new run with these predictions, its score with an interval and each fold's, as training does."""
    first, prediction = basis.run, basis.prediction(oof)
    target, grouped_by = basis.task.flat(basis.target), basis.folds.grouped_by
    score = score_with_interval(basis.metric, target, prediction, basis.groups, grouped_by, console)
    note = f"{facts['method']} of {', '.join(member['name'] for member in facts['members'])}"
    config = first.config.model_copy(update={"model": "blend", "note": note})
    taken = {name: fact for name, fact in first.record.items() if name in FACTS}
    names = basis.index.output_names
    files: dict[str, WriteFile] = {
        "folds.csv": partial(shutil.copyfile, first.reading("folds.csv")),
        "oof.npz": Predictions(basis.ids, names, oof).save,
        "test.npz": Predictions(basis.test_ids, names, test).save,
    }
    for fold in np.unique(basis.fold):
        own = basis.score(prediction, basis.fold == fold)
        result = jsonable({"metric": basis.metric.name, "score": own, "seconds": 0.0})
        files[f"fold-{fold}/result.json"] = partial(write_json, document=result)
    finished = {"planned": [], "blend": jsonable(facts), "state": "finished", "score": score}
    return Run.create(config, {**taken, **finished}, files)
