"""The common layout in one call: labels by name or number, in one column or several, ids with or without ending."""

import pytest

from kit.errors import KitError
from kit.plugin.layouts import index_of_table

CASES = {
    "0 and 1": ("binary", ("no", "yes"), "label", ["0", "1", "1"], ("no", "yes"), [0, 1, 1]),
    "names of two": ("binary", ("no", "yes"), "label", ["yes", "no", "no"], ("no", "yes"), [1, 0, 0]),
    "no classes given": ("multiclass", (), "label", ["b", "a", "c"], ("a", "b", "c"), [1, 0, 2]),
    "numbers sort as numbers": ("multiclass", (), "label", ["10", "9", "10"], ("9", "10"), [1, 0, 1]),
    "numbers of named classes": ("multiclass", ("x", "y", "z"), "label", ["2", "0", "1"], ("x", "y", "z"), [2, 0, 1]),
    "grades": ("ordinal", ("none", "mild"), "label", ["1", "0", "1"], ("none", "mild"), [1, 0, 1]),
    "tags": ("multilabel", (), "label", ["a b", "b", ""], ("a", "b"), [(0, 1), (1,), ()]),
    "columns of 0 and 1": ("multilabel", (), ("a", "b"), ["1,1", "0,1", "0,0"], ("a", "b"), [(0, 1), (1,), ()]),
    "one of several columns": ("multiclass", (), ("a", "b"), ["1,0", "0,1", "1,0"], ("a", "b"), [0, 1, 0]),
    "a number": ("regression", (), "label", ["1.5", "-2", "0"], ("label",), [1.5, -2, 0]),
    "two numbers": ("regression", (), ("a", "b"), ["1.5,0", "-2,1", "0,2"], ("a", "b"), [(1.5, 0), (-2, 1), (0, 2)]),
}


def lay_out(root, columns, rows, ending=""):
    for folder in ("train", "test"):
        (root / folder).mkdir(parents=True)
    for number in range(len(rows)):
        (root / "train" / f"a{number}.png").touch()
        (root / "test" / f"b{number}.png").touch()
    train = [f"a{number}{ending},{row}" for number, row in enumerate(rows)]
    (root / "train.csv").write_text("\n".join([f"id,{','.join(columns)}", *train]) + "\n")
    test = [f"b{number}{ending},0" for number in reversed(range(len(rows)))]
    (root / "sample_submission.csv").write_text("\n".join(["id,label", *test]) + "\n")


@pytest.mark.parametrize("name", CASES)
def test_labels(tmp_path, name):
    task, classes, target, rows, known, targets = CASES[name]
    lay_out(tmp_path, (target,) if isinstance(target, str) else target, rows)
    index = index_of_table(tmp_path, task, classes, target=target)
    assert index.classes == known
    assert index.train["target"].tolist() == targets
    assert index.train["files"].tolist() == [(f"train/a{number}.png",) for number in range(3)]
    assert index.test["id"].tolist() == ["b2", "b1", "b0"]
    assert not any(index.missing.values())


def test_all_in_a_folder_more_and_ids_with_endings(tmp_path):
    lay_out(tmp_path / "leaves", ("label",), ["0", "1"], ".png")
    index = index_of_table(tmp_path, "binary", ("no", "yes"), target="label")
    assert index.root == tmp_path / "leaves"
    assert index.train["id"].tolist() == ["a0.png", "a1.png"]
    assert index.test["files"].tolist() == [("test/b1.png",), ("test/b0.png",)]


def test_other_names(tmp_path):
    lay_out(tmp_path, ("label",), ["0", "1"])
    (tmp_path / "train").rename(tmp_path / "photos")
    table = tmp_path / "labels.csv"
    table.write_text((tmp_path / "train.csv").read_text().replace("id,", "name,"))
    sample = tmp_path / "form.csv"
    sample.write_text((tmp_path / "sample_submission.csv").read_text().replace("id,", "name,"))
    given = {"id": "name", "table": table.name, "train": "photos", "sample": sample.name}
    assert len(index_of_table(tmp_path, "binary", ("no", "yes"), target="label", **given).train) == 2


def test_what_is_missing_is_said(tmp_path):
    lay_out(tmp_path, ("label",), ["0", "1", "1"])
    (tmp_path / "train" / "a1.png").unlink()
    (tmp_path / "test" / "b0.png").unlink()
    index = index_of_table(tmp_path, "binary", ("no", "yes"), target="label")
    assert index.missing == {
        "ids of train.csv without an image": ("a1",),
        "ids of sample_submission.csv without an image": ("b0",),
    }
    with pytest.raises(KitError, match="has no column 'colour'"):
        index_of_table(tmp_path, "binary", ("no", "yes"), target="colour")
    lay_out(tmp_path / "odd", ("label",), ["0", "2", "1"])
    with pytest.raises(KitError, match="the label of 'a0' is '0': it is none of the classes"):
        index_of_table(tmp_path / "odd", "binary", ("no", "yes"), target="label")
