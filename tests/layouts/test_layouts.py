"""Tables of labels in several forms, the images of their rows, metadata, and drawn pictures."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.drawn_layouts import image
from kit.errors import KitError
from kit.layouts.drawn import draw_image
from kit.layouts.frames import images_below, with_images, with_metadata
from kit.layouts.labels import read_labels, target_of, wide

JSON = {
    "records": ([{"id": "a", "k": 1}, {"id": "b", "k": None}], [("a", "1"), ("b", "")]),
    "by id": ({"a": {"k": True}, "b": {"k": "x"}}, [("a", "True"), ("b", "x")]),
    "by column": ({"id": ["a", "b"], "k": [1, 2]}, [("a", "1"), ("b", "2")]),
}


@pytest.mark.parametrize("name", JSON)
def test_a_json_is_a_table_of_text(tmp_path, name):
    content, rows = JSON[name]
    (tmp_path / "t.json").write_text(json.dumps(content))
    frame = read_labels(tmp_path / "t.json", ("id", "k"))
    assert list(frame[["id", "k"]].itertuples(index=False, name=None)) == rows


def test_coco_gives_an_image_its_categories(tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 7}, {"image_id": 1, "category_id": 8}, {"image_id": 2}],
    }
    (tmp_path / "t.json").write_text(json.dumps(content))
    assert read_labels(tmp_path / "t.json")["category_id"].tolist() == ["7 8", ""]


def test_a_csv_whose_first_line_is_a_row(tmp_path):
    (tmp_path / "t.csv").write_text("a.jpg;x\nb.jpg; y\n")
    assert read_labels(tmp_path / "t.csv", names=("image", "label"))["label"].tolist() == ["x", "y"]
    with pytest.raises(KitError, match="row 1 has 2 fields, not 3"):
        read_labels(tmp_path / "t.csv", names=("image", "label", "more"))


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"a": [1], "b": [1, 2]}', "[" * 100_000])
def test_another_json_is_one_line(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(KitError) as caught:
        read_labels(tmp_path / "t.json")
    assert "\n" not in str(caught.value)


TABLE = pd.DataFrame({"id": ["p", "q"], "k": ["b", "a"], "t": ["a b", ""], "n": ["1.5", "-2"], "x": ["1", "0"],
                      "y": ["0", "1"]})  # fmt: skip
TARGETS = {
    "multiclass": ("k", "multiclass", ("a", "b"), [1, 0]),
    "tags": ("t", "multilabel", ("a", "b"), [(0, 1), ()]),
    "number": ("n", "regression", ("n",), [1.5, -2.0]),
    "numbers": (("n", "x"), "regression", ("n", "x"), [(1.5, 1.0), (-2.0, 0.0)]),
    "one of columns": (("x", "y"), "multiclass", ("x", "y"), [0, 1]),
    "several columns": (("x", "y"), "multilabel", ("x", "y"), [(0,), (1,)]),
}


@pytest.mark.parametrize("name", TARGETS)
def test_labels_become_targets(tmp_path, name):
    target, task, classes, wanted = TARGETS[name]
    assert target_of(TABLE, target, task, classes, tmp_path / "t.csv").tolist() == wanted


@pytest.mark.parametrize(
    ("target", "task", "classes", "said"),
    [
        ("k", "multiclass", ("b",), "the k of 'q' is 'a': it is none of the classes"),
        ("t", "multilabel", ("a",), "none of the classes"),
        ("k", "regression", ("k",), "not a finite number"),
        (("x", "n"), "multiclass", ("x", "n"), "not one of its columns is 1"),
    ],
)
def test_a_label_that_is_none_is_named_with_its_row(tmp_path, target, task, classes, said):
    with pytest.raises(KitError, match=said):
        target_of(TABLE, target, task, classes, tmp_path / "t.csv")


def test_rows_of_names_become_columns():
    rows = [("i", "w", "2"), ("i", "h", "1"), ("j", "h", "3"), ("j", "w", "4")]
    frame = wide(pd.DataFrame(rows, columns=["id", "name", "value"]), "id", "name", "value")
    assert frame[["id", "h", "w"]].to_numpy().tolist() == [["i", "1", "2"], ["j", "3", "4"]]


def test_images_are_found_by_names_paths_suffixes_and_views(tmp_path):
    for name in ("train/a.jpg", "train/b.PNG", "v/a_1.png", "v/a_2.png", "c/x/1.png", "c/y/1.png"):
        image(tmp_path / name)
    table = pd.DataFrame({"id": ["a", "b", "z"], "image": ["a.jpg", "somewhere/b", "z"]})
    frame, missing = with_images(table, "image", tmp_path, "train")
    assert (frame["files"].tolist(), missing) == ([("train/a.jpg",), ("train/b.PNG",)], ("z",))
    one = pd.DataFrame({"id": ["a"], "image": ["a"]})
    frame, _ = with_images(one, "image", tmp_path, "v", ("_1", "_2"))
    assert frame["files"].tolist() == [("v/a_1.png", "v/a_2.png")]
    frame, missing = with_images(one, "image", tmp_path, "v", ("_1", "_2"), views=True)
    assert (frame["id"].tolist(), frame["files"].tolist()) == (["a", "a"], [("v/a_1.png",), ("v/a_2.png",)])
    twins = pd.DataFrame({"id": ["x", "y"], "image": ["c/x/1.png", "c/y/1.png"]})
    assert with_images(twins, "image", tmp_path, "c")[0]["files"].tolist() == [("c/x/1.png",), ("c/y/1.png",)]
    assert images_below(tmp_path, "c", ("x", "y"))["id"].tolist() == ["x/1", "y/1"]


def test_a_folder_of_images_that_is_not_there_is_one_line(tmp_path):
    image(tmp_path / "other" / "a.png")
    with pytest.raises(KitError, match=r"train is not there .*1 file \*\.png in other"):
        images_below(tmp_path, "train")


def test_metadata_become_finite_numbers():
    train = pd.DataFrame({"age": ["10", "30", ""], "sex": ["m", "f", ""]})
    test = pd.DataFrame({"age": ["", "20"], "sex": ["f", "x"]})
    train, test, names = with_metadata(train, test, ("age", "sex"))
    assert names == ("age scaled", "sex=f", "sex=m")
    assert train[list(names)].to_numpy().tolist() == [[-1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert test[list(names)].to_numpy().tolist() == [[0, 1, 0], [0, 0, 0]]


def test_drawn_kinds_differ_more_than_their_noise(tmp_path):
    for number, kind in enumerate((0.0, 0.0, 0.5)):
        draw_image(tmp_path / f"{number}.png", kind, np.random.default_rng(number))
    one, same, other = (np.asarray(Image.open(tmp_path / f"{n}.png"), float) for n in range(3))
    assert np.abs(one - other).mean() > 1.05 * np.abs(one - same).mean()
    draw_image(tmp_path / "g.png", 0, np.random.default_rng(0), (20, 30), grey=True)
    assert Image.open(tmp_path / "g.png").size == (20, 30)
    assert Image.open(tmp_path / "g.png").mode == "L"
