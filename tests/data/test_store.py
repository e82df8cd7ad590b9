"""The store and an open run: an index that does not fit its competition, or a run that does not fit its data."""

from dataclasses import replace

import pandas as pd
import pytest

from helpers.hand_made_runs import hand_made_run
from kit.data.index import Index
from kit.data.open_run import OpenRun
from kit.data.store import Store
from kit.errors import KitError
from kit.files import read_json, write_json
from kit.hooks.registry import Registry
from kit.plugin import Competition, DatasetSpec


def store_of(tmp_path, index_task, index_classes, task="multiclass", classes=("a", "b"), dataset="leaves"):
    rows = pd.DataFrame({"id": ["1", "2"], "files": [("x",)] * 2, "target": [0, 1]})
    index = Index(tmp_path, index_task, index_classes, rows, rows[["id", "files"]].assign(id=["3", "4"]))
    facts = Competition("leaves", "Leaves", "leaves", task, "accuracy", "leaves", "leaves", classes=classes)
    store = Store(facts, DatasetSpec(dataset, 3, lambda root: index, lambda files: None), tmp_path)
    store.set_origin("archive", "leaves.zip")
    return store


@pytest.mark.parametrize(
    ("task", "classes", "message"),
    [
        ("binary", ("a", "b"), "dataset leaves .* binary .* leaves is multiclass"),
        ("multiclass", ("b", "a"), "dataset leaves .* classes b, a .* leaves .* a, b"),
        ("multiclass", ("a", "b", "c"), "classes a, b, c"),
    ],
)
def test_an_index_of_another_task_or_other_classes_than_its_competition_is_an_error(tmp_path, task, classes, message):
    with pytest.raises(KitError, match=message):
        store_of(tmp_path, task, classes).index()


def test_classes_come_from_the_index_where_the_competition_names_none(tmp_path):
    assert store_of(tmp_path, "multiclass", ("x", "y"), classes=()).index().classes == ("x", "y")
    # A second dataset of the competition may have further classes (controls).
    assert store_of(tmp_path, "multiclass", ("a", "b", "c"), dataset="other").index().classes == ("a", "b", "c")


def test_a_miniature_of_an_earlier_kit_is_one(tmp_path):
    store = store_of(tmp_path, "multiclass", ("a", "b"))
    path = store.own / "origin.json"
    write_json(path, read_json(path) | {"origin": "sample"})
    assert store.is_miniature
    assert store.origin == "miniature"


def test_an_open_run_has_its_data_its_folds_and_its_metric(store):
    run = hand_made_run("histo", 0)
    opened = OpenRun(Registry(), run)
    assert opened.index.classes == ("normal", "tumor")
    assert opened.folds.digest == run.record["folds"]["digest"]
    assert opened.metric.name == "roc_auc"
    assert opened.index.metadata == ()
    ids = opened.index.train["id"].to_numpy()
    assert opened.folds.of_ids(ids[:5]).tolist() == opened.folds.of(opened.index.train)[:5].tolist()


def test_a_run_of_other_classes_or_of_other_data_is_refused(store):
    run = hand_made_run("histo", 0)
    run.update(classes=["tumor", "normal"])
    with pytest.raises(KitError, match=f"classes are not those of run {run.id}: train again on this data"):
        _ = OpenRun(Registry(), run).index
    run.update(origin="kaggle")
    with pytest.raises(KitError, match=f"run {run.id} was trained on data of origin kaggle, .* now holds miniature"):
        OpenRun(Registry(), run)


def test_a_task_that_no_kit_knows_is_named(tmp_path):
    with pytest.raises(ValueError, match="'ranking' is not one of binary"):
        store_of(tmp_path, "ranking", ("a", "b"))
    with pytest.raises(ValueError, match="'ranking' of competition 'leaves'"):
        replace(store_of(tmp_path, "multiclass", ("a", "b")).competition, task="ranking")
