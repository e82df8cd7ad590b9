"""The form of a sample submission: what is written from predictions, and what its check finds."""

import numpy as np
import pandas as pd
import pytest

from kit.data.index import Index
from kit.errors import KitError
from kit.scoring.predictions import Predictions
from kit.submission.form import SampleForm
from kit.task import task_of

ABC = ("a", "b", "c")
THREE = [[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]]
# (task, classes, values by class of x and y, arguments of the form, sample submission, rows of the csv)
FORMS = {
    "binary": ("binary", ("no", "yes"), [[0.25], [0.75]], {"holds": "probabilities"}, "id,p\nx,0\ny,0",
               "x,0.25\ny,0.75"),
    "binary in two columns": (
        "binary", ("no", "yes"), [[0.25], [0.75]], {"holds": "probabilities"}, "id,yes,no\nx,0,0\ny,0,0",
        "x,0.25,0.75\ny,0.75,0.25",
    ),
    "hard": ("binary", ("no", "yes"), [[0.25], [0.75]], {"holds": "classes"}, "id,p\nx,no\ny,no", "x,no\ny,yes"),
    "order": (
        "multiclass", ABC, THREE, {"holds": "probabilities"}, "id,c,a,b\ny,0,0,0\nx,0,0,0",
        "y,0.4,0.5,0.1\nx,0.1,0.2,0.7",
    ),
    "renamed": (
        "multiclass", ABC, THREE, {"holds": "probabilities", "columns": {"k1": "b", "k0": "a", "k2": "c"}},
        "id,k1,k0,k2\nx,0,0,0\ny,0,0,0", "x,0.7,0.2,0.1\ny,0.1,0.5,0.4",
    ),
    "classes": ("multiclass", ABC, THREE, {"holds": "classes"}, "id,k\nx,a\ny,a", "x,b\ny,a"),
    "grades": ("ordinal", ("1", "2", "3"), [[0.1, 0.1, 0.8], [0.5, 0.1, 0.4]], {"holds": "classes"}, "id,k\nx,1\ny,1",
               "x,3\ny,2"),
    "labels": ("multiclass", ABC, THREE, {"holds": "labels", "count": 2}, "id,k\nx,a b\ny,a b", "x,b a\ny,a c"),
    "tags": ("multilabel", ABC, [[0.9, 0.6, 0.1], [0.1, 0.2, 0.3]], {"holds": "tags", "separator": "|"},
             "id,t\nx,a\ny,a", "x,a|b\ny,c"),
    "numbers": ("regression", ("h", "w"), [[1.5, -2], [3, 400]], {"holds": "numbers"}, "id,w,h\nx,0,0\ny,0,0",
                "x,-2.0,1.5\ny,400.0,3.0"),
    "long": ("regression", ("h_cm", "w"), [[1.5, -2], [3, 400]], {"holds": "numbers", "join": "_"},
             "id,v\nx_w,0\nx_h_cm,0\ny_w,0\ny_h_cm,0", "x_w,-2.0\nx_h_cm,1.5\ny_w,400.0\ny_h_cm,3.0"),
    "ids behind": ("multiclass", ABC, THREE, {"holds": "classes", "id": "id"}, "k,id\na,y\na,x", "a,y\nb,x"),
    "semicolons": ("multiclass", ABC, THREE, {"holds": "classes"}, "id;k\nx;a\ny;a", "x;b\ny;a"),
}  # fmt: skip


def made(root, task, classes):
    frame = pd.DataFrame({"id": ["x", "y"], "files": [("x.png",), ("y.png",)]})
    train = pd.DataFrame({"id": ["t"], "files": [("t.png",)], "target": [target(task, classes)]})
    return Index(root, task, classes, train, frame)


def target(task, classes):
    return {"multilabel": (0,), "regression": tuple(1.0 for _ in classes)}.get(task, 0)


@pytest.mark.parametrize("name", FORMS)
def test_the_csv_has_the_samples_rows_and_the_predictions_values(tmp_path, name):
    task, classes, values, arguments, sample, wanted = FORMS[name]
    (tmp_path / "sample.csv").write_text(sample + "\n")
    index = made(tmp_path, task, classes)
    predictions = Predictions(
        np.array(["y", "x"], object), task_of(task).outputs(classes), np.array(values[::-1], np.float32)
    )
    form, path = SampleForm("sample.csv", task, classes, **arguments), tmp_path / "out.csv"
    form.write(predictions, index, path)
    assert path.read_text() == sample.splitlines()[0] + "\n" + wanted + "\n"
    assert [finding.text for finding in form.check(path, tmp_path) if finding.level == "error"] == []


WRONG = {
    "a row less": ("classes", "id,k\nx,a\n", "ids are missing"),
    "other order": ("classes", "id,k\ny,a\nx,a\n", "the order"),
    "header": ("classes", "id,q\nx,a\ny,a\n", "the header"),
    "no class": ("classes", "id,k\nx,a\ny,q\n", "k is no class: line 3, id 'y' ('q')"),
    "too many": ("labels", "id,k\nx,a b c\ny,a\n", "more than 2"),
    "twice": ("labels", "id,k\nx,a a\ny,a\n", "a label twice"),
    "no label": ("labels", "id,k\nx,\ny,a\n", "has no label"),
    "unknown tag": ("tags", "id,k\nx,a q\ny,\n", "a label that is no class"),
    "no number": ("numbers", "id,k\nx,1\ny,inf\n", "no finite number"),
    "outside": ("probabilities", "id,k\nx,0.1\ny,1.5\n", "outside 0..1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found(tmp_path, name):
    holds, text, said = WRONG[name]
    (tmp_path / "sample.csv").write_text("id,k\nx,0\ny,0\n")
    (tmp_path / "out.csv").write_text(text)
    found = SampleForm("sample.csv", "multiclass", ABC, holds, count=2).check(tmp_path / "out.csv", tmp_path)
    assert any(said in finding.text for finding in found if finding.level == "error"), found


def test_without_a_sample_the_test_ids_are_the_rows(tmp_path):
    index = made(tmp_path, "multiclass", ABC)
    form = SampleForm(None, "multiclass", (), "classes", index=lambda root: index, header=("id", "label"))
    path = tmp_path / "out.csv"
    form.write(Predictions(np.array(["x", "y"], object), ABC, np.array(THREE, np.float32)), index, path)
    assert path.read_text() == "id,label\nx,b\ny,a\n"
    assert form.check(path, tmp_path) == []
    path.write_text("id,label\nx,b\n")
    assert form.check(path, tmp_path)


def test_a_column_that_is_no_class_is_an_error(tmp_path):
    (tmp_path / "sample.csv").write_text("id,a,q\nx,0,0\ny,0,0\n")
    index = made(tmp_path, "multiclass", ABC)
    predictions = Predictions(np.array(["x", "y"], object), ABC, np.array(THREE, np.float32))
    with pytest.raises(KitError, match="'q', which is no class"):
        SampleForm("sample.csv", "multiclass", ABC, "probabilities").write(predictions, index, tmp_path / "o.csv")
