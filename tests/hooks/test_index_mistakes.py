"""An index that no command can work with is refused where it is made: the row, the plugin, its file and line."""

import pandas as pd
import pytest

from helpers.strangers import leaves, line_of, registry_of
from kit.data.index import Index
from kit.errors import MisuseError, PluginError

TARGET = 'train = frames[0].assign(target=frames[0]["tree"].map(TREES.index))[["id", "files", "target"]]'
RETURN = 'return Index(root, "multiclass", TREES, train, frames[1][["id", "files"]])'
ONE = 'files=[(f"{name}/{id_}.png",)'
# Changes of the documented plugin, and what its index is told.
INDICES = {
    "text": ((TARGET, TARGET.replace(".map(TREES.index)", "")), r"target of the training image train/train\d+.png is"),
    "digits": ((RETURN, 'train["target"] = "1"\n    ' + RETURN), "is '1', not a class number from 0 to 2"),
    "from one": (("TREES.index)", "lambda tree: TREES.index(tree) + 1)"), r"is 3, not .* \(\d+ such rows\)"),
    "negative": (("TREES.index)", "lambda tree: TREES.index(tree) - 1)"), "is -1, not a class number"),
    "nan": ((RETURN, 'train.loc[3, "target"] = float("nan")\n    ' + RETURN), "train3.png is nan, not"),
    "numbers as ids": (
        (RETURN, 'train["id"] = range(60)\n    ' + RETURN),
        "id of the training image .* is 0, not a text",
    ),
    "one id": (
        (RETURN, 'train["id"] = "a"\n    ' + RETURN),
        "the id a has two different values of target .* an id of its own",
    ),
    "files as text": (
        (ONE, ONE.replace(",)", ")")),
        "files of the training image train0 is 'train/train0.png', not a t",
    ),
    "files as paths": ((ONE, ONE.replace('(f"', '(root / f"')), "not a tuple of paths, each a text"),
    "no file": ((ONE, "files=[()"), r"files of the training image train0 is \(\), not a tuple of paths"),
    "a column twice": (
        (RETURN, 'train = train[["id", "files", "target", "target"]]\n    ' + RETURN),
        "index's train frame has the column 'target' twice",
    ),
    "no files": (
        (RETURN, 'del train["files"]\n    ' + RETURN),
        r"train frame lacks the column 'files' \(it has id, target",
    ),
    "no id": ((RETURN, 'train = train.rename(columns={"id": "ID"})\n    ' + RETURN), "lacks the column 'id'"),
    "a list": ((RETURN, RETURN.replace("train,", "[1],")), "index's train is list, not a pandas.DataFrame"),
    "twice": ((RETURN, RETURN.replace("TREES,", '("a", "b", "a"),')), "two classes with the name 'a'"),
    "classes as text": ((RETURN, RETURN.replace("TREES,", '"abc",')), "classes is 'abc', not a tuple of texts"),
    "two of three": (
        (RETURN, RETURN.replace("multiclass", "binary")),
        "3 classes, which is not what a binary task has",
    ),
    "unknown task": ((RETURN, RETURN.replace("multiclass", "ranking")), "task 'ranking' is not one of binary"),
    "metadata": ((RETURN, RETURN[:-1] + ', ("age",))'), "lacks the column 'age'"),
    "metadata as text": ((RETURN, RETURN[:-1] + ', "age")'), "metadata is 'age', not a tuple of texts"),
    "no number": (
        (RETURN, 'train["age"] = frames[1]["age"] = "old"\n    ' + RETURN.replace('[["id", "files"]])', ', ("age",))')),
        "age of the training image .* is 'old', not a finite number",
    ),
    "no group": (
        (RETURN, RETURN[:-1] + ', grouped_by="plant")'),
        "grouped by plant, but its train frame has no column",
    ),
    "groups in lists": (
        (RETURN, 'train["group"] = [["a"]] * 60\n    ' + RETURN[:-1] + ', grouped_by="plant")'),
        r"group of the training image .* is \['a'\], not a text, or None",
    ),
    "blank group": (
        (RETURN, 'train["group"] = " "\n    ' + RETURN[:-1] + ', grouped_by="plant")'),
        "is ' ', not a text, or None where it is unknown",
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaves")
    (folder / "data").mkdir()
    registry_of(folder, leaves()).datasets.get("leaves").miniature(folder / "data", 0)
    return folder / "data"


@pytest.mark.parametrize("mistake", INDICES)
def test_an_index_that_no_command_can_work_with_names_row_plugin_and_line(tmp_path, data, mistake):
    change, said = INDICES[mistake]
    code = leaves(change)
    dataset = registry_of(tmp_path, code).datasets.get("leaves")
    with pytest.raises(PluginError, match=said) as found:
        dataset.index(data)
    assert "index of dataset leaves (plugin leaves of kit-leaves)" in str(found.value)
    assert f"{tmp_path}/kit_leaves.py:{line_of(code, 'return Index(')}" in str(found.value)


@pytest.mark.parametrize("group", [["a"] * 3 + [None] * 57, range(60), [1.0] * 30 + [float("nan")] * 30])
def test_groups_may_be_texts_or_numbers_or_missing(data, group):
    frame = pd.DataFrame({"id": [str(n) for n in range(60)], "files": [("x",)] * 60, "target": [0, 1] * 30})
    index = Index(data, "binary", ["n", "p"], frame.assign(group=group), frame, grouped_by="plant")
    assert index.classes == ("n", "p")


def test_samples_of_one_id_have_one_target(data):
    frame = pd.DataFrame(
        {"id": ["a", "a"], "sample": ["a1", "a2"], "files": [("x",), ("y",)], "target": [(0,), (0, 1)]}
    )
    with pytest.raises(MisuseError, match="the id a has two different values of target"):
        Index(data, "multilabel", ("n", "p"), frame, frame)
    assert Index(data, "multilabel", ("n", "p"), frame.assign(target=[(0,)] * 2), frame).outputs == 2


def test_an_index_is_not_checked_again_where_it_is_only_narrowed(data, monkeypatch):
    frame = pd.DataFrame({"id": ["a", "b"], "files": [("x",), ("y",)], "target": [0, 1], "age": [1, 2]})
    index = Index(data, "binary", ("n", "p"), frame, frame, ("age",))
    monkeypatch.setattr("kit.data.index.check_index", lambda index: pytest.fail("checked again"))
    assert index.with_metadata(False).metadata == ()
    assert index.with_groups({"a": "g"}, "plant").train["group"].tolist() == ["g", None]
