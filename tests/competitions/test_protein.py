"""The competition protein: index, reading, external data, submission; on files made here and on the real ones."""

import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers.trees import nest
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.scoring.predictions import Predictions

REAL = "human-protein-atlas-image-classification.zip"
COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture(scope="module")
def spec() -> Any:
    return Registry().datasets.get("protein")


@pytest.fixture(scope="module")
def submission() -> Any:
    return Registry().submissions.get("protein")


def make(root: Path, train: dict[str, str], test: list[str] | None, ending: str = "png", suffix: str = "") -> Path:
    """A raw folder whose images are empty files: the index must not open them."""
    for split, ids in (("train", list(train)), ("test", test or [])):
        (root / f"{split}{suffix}").mkdir(parents=True)
        for id_ in ids:
            for colour in COLOURS:
                (root / f"{split}{suffix}" / f"{id_}_{colour}.{ending}").touch()
    (root / "train.csv").write_text("Id,Target\n" + "".join(f"{a},{b}\n" for a, b in train.items()))
    if test is not None:
        (root / "sample_submission.csv").write_text("Id,Predicted\n" + "".join(f"{id_},0\n" for id_ in test))
    return root


def faults(index: Any) -> dict[str, tuple[str, ...]]:
    return {name: ids for name, ids in index.missing.items() if ids}


def test_its_facts_are_those_of_the_competition():
    registry = Registry()
    for name in ("protein", "hpa", "human-protein-atlas-image-classification"):
        assert registry.competitions.get(name).name == "protein"
    competition = registry.competitions.get("hpa")
    assert (len(competition.classes), competition.task, competition.metric) == (28, "multilabel", "macro_f1")
    assert competition.classes[0] == "Nucleoplasm"
    assert competition.classes[27] == "Rods & rings"
    assert competition.facts["train_images"] == 31_072


def test_the_index_keeps_the_csvs_order_and_the_channels_order(spec, tmp_path):
    index = spec.index(make(tmp_path / "d", {"c": "16 0", "a": "5", "b": "27 3 3"}, ["z", "x"]))
    assert index.train["id"].tolist() == ["c", "a", "b"]
    assert index.train["target"].tolist() == [(0, 16), (5,), (3, 27)]
    assert index.train["files"].iat[0] == tuple(f"train/c_{colour}.png" for colour in COLOURS)
    assert index.test["files"].iat[1] == tuple(f"test/x_{colour}.png" for colour in COLOURS)
    assert index.outputs == 28
    assert index.targets(index.train).sum(0)[[0, 3, 5, 16, 27]].tolist() == [1, 1, 1, 1, 1]
    assert faults(index) == {}


def test_what_is_missing_is_named_by_its_channel(spec, tmp_path):
    root = make(tmp_path / "d", {"a": "0", "b": "1", "c": "2"}, ["x", "y"])
    (root / "train" / "b_yellow.png").unlink()
    (root / "train" / "b_green.png").unlink()
    for colour in COLOURS:
        (root / "train" / f"c_{colour}.png").unlink()
        (root / "train" / f"new_{colour}.png").touch()
    (root / "test" / "y_red.png").unlink()
    (root / "train" / "Thumbs.db").touch()
    with (root / "train.csv").open("a") as file:
        file.write("a,0\n")
    index = spec.index(root)
    assert faults(index) == {
        "ids of train.csv without an image": ("c",),
        "missing channels in train/": ("b: green, yellow",),
        "images in train/ that train.csv lacks": ("new",),
        "duplicate ids in train.csv": ("a",),
        "missing channels in test/": ("y: red",),
    }
    assert (index.train["id"].tolist(), index.test["id"].tolist()) == (["a"], ["x"])


def test_without_a_sample_submission_the_test_part_is_what_lies_there(spec, tmp_path):
    root = make(tmp_path / "d", {"a": "0"}, ["y", "x"])
    (root / "sample_submission.csv").unlink()
    index = spec.index(root)
    assert index.test["id"].tolist() == ["x", "y"]
    assert faults(index) == {"missing files": ("sample_submission.csv",)}
    alone = make(tmp_path / "e", {"a": "0"}, None)
    (alone / "test").rmdir()
    assert len(spec.index(alone).test) == 0


@pytest.mark.parametrize("label", ["28", "", "1 x", "-1", "0.5", "1,2", "²"])
def test_another_label_is_an_error_that_names_it(spec, tmp_path, label):
    root = make(tmp_path / "d", {"a": "0", "c": "1"}, ["x"])
    pd.DataFrame({"Id": ["a", "c"], "Target": ["0", label]}).to_csv(root / "train.csv", index=False)
    with pytest.raises(KitError, match=r"label .* of c is not a list of class numbers 0 to 27"):
        spec.index(root)


def test_an_absent_folder_or_csv_is_named(spec, tmp_path):
    root = make(tmp_path / "d", {}, [])
    (root / "train").rmdir()
    with pytest.raises(KitError, match=r"train is not there.*: kit download protein"):
        spec.index(root)
    (root / "train.csv").unlink()
    with pytest.raises(KitError, match=r"train\.csv is not there.*: kit download protein"):
        spec.index(root)


def test_the_large_files_are_a_dataset_of_their_own(tmp_path):
    root = make(tmp_path / "d", {"a": "0"}, ["x"], "tif", "_full_size")
    index = Registry().datasets.get("protein_full_size").index(root)
    assert index.train["files"].iat[0][3] == "train_full_size/a_yellow.tif"


def test_mixed_endings_are_read_and_png_comes_first(spec, tmp_path):
    root = make(tmp_path / "d", {"a": "0", "b": "1"}, ["x"])
    (root / "train" / "a_red.tif").touch()
    (root / "train" / "b_red.png").rename(root / "train" / "b_red.tif")
    index = spec.index(root)
    assert [files[0] for files in index.train["files"]] == ["train/a_red.png", "train/b_red.tif"]


@pytest.mark.parametrize("layout", ["nested", "a folder more", "capitals", "ids with endings"])
def test_layouts_as_people_have_them(spec, submission, tmp_path, layout):
    root = make(
        tmp_path / "d" / "top" if layout == "a folder more" else tmp_path / "d", {"a": "0", "b": "1"}, ["x", "y"]
    )
    for name in ("._a_red.png", "Thumbs.db", ".DS_Store"):
        (root / "train" / name).touch()
        (root / "test" / name).touch()
    if layout == "nested":
        nest(root, "train", "test")
    if layout == "capitals":
        for path in [*root.rglob("[!.]*.png")]:
            path.rename(path.with_suffix(".PNG"))
    if layout == "ids with endings":
        for name in ("train.csv", "sample_submission.csv"):
            (root / name).write_text((root / name).read_text().replace(",0", ".png,0").replace(",1", ".png,1"))
    index = spec.index(tmp_path / "d")
    assert (index.train["id"].tolist(), index.test["id"].tolist()) == (["a", "b"], ["x", "y"])
    assert faults(index) == {}
    for frame in (index.train, index.test):
        for id_, files in zip(frame["id"], frame["files"], strict=True):
            assert [Path(name).stem for name in files] == [f"{id_}_{colour}" for colour in COLOURS]
            assert all((tmp_path / "d" / name).is_file() for name in files)
    submission.write(predictions(["x", "y"], [{0: 0.9}, {1: 0.9}]), index, tmp_path / "s.csv")
    assert submission.check(tmp_path / "s.csv", tmp_path / "d") == []
    if layout == "nested":
        (root / "sample_submission.csv").unlink()
        assert spec.index(tmp_path / "d").test["id"].tolist() == ["x", "y"]


def planes(seed: int = 0, side: int = 20) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (4, side, side), dtype=np.uint8))


def written(folder: Path, images: list[np.ndarray], ending: str) -> tuple[Path, ...]:
    files = tuple(folder / f"a_{colour}.{ending}" for colour in COLOURS)
    for file, image in zip(files, images, strict=True):
        assert cv2.imwrite(str(file), image)
    return files


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_four_files_become_one_array(spec, tmp_path, ending):
    images = planes()
    found = spec.read(written(tmp_path, images, ending))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.stack(images, 2))
    np.testing.assert_array_equal(spec.likeness(written(tmp_path, images, ending)), images[1])


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_to_eight(spec, tmp_path, ending):
    deep = [image.astype(np.uint16) * 257 for image in planes()]
    deep[0][0, 0] = 65535 // 2
    found = spec.read(written(tmp_path, deep, ending))
    assert found[0, 0, 0] == 127  # 32767 of 65535 of 255 is 127.498
    np.testing.assert_array_equal(found[1:], np.stack(planes(), 2)[1:])


def test_stains_drawn_in_their_colour_are_read_as_grey(spec, tmp_path):
    """As the images of HPA's public site come: red, green and blue files of one colour, yellow of two."""
    images = planes()
    blank = np.zeros_like(images[0])
    red, green, blue, yellow = images
    coloured = [
        np.dstack(bgr)
        for bgr in ((blank, blank, red), (blank, green, blank), (blue, blank, blank), (blank, yellow, yellow))
    ]
    np.testing.assert_array_equal(spec.read(written(tmp_path, coloured, "png")), np.stack(images, 2))


def test_what_can_not_be_read_is_named(spec, tmp_path):
    files = written(tmp_path, planes(), "png")
    files[2].write_bytes(b"no image")
    with pytest.raises(KitError, match=r"a_blue\.png can't be read"):
        spec.read(files)
    cv2.imwrite(str(files[2]), np.zeros((8, 20), np.uint8))
    with pytest.raises(KitError, match=r"a_blue\.png is 20x8, its red channel 20x20"):
        spec.read(files)


def test_the_picture_adds_yellow_to_red_and_green(spec):
    image = np.array([[[10, 20, 30, 40], [200, 250, 7, 255]]], np.uint8)
    assert spec.picture(image).tolist() == [[[30, 40, 30], [255, 255, 7]]]


def test_extra_data_is_found_beside_its_csv_and_among_the_test_images(spec, tmp_path):
    index = spec.index(make(tmp_path / "d", {"a": "0", "b": "1"}, ["x", "y"]))
    folder = tmp_path / "hpav18"
    make(folder, {"e1": "3 4", "e2": "27"}, None, "jpg")
    (folder / "train.csv").write_text("Id,Target\ne2,27\ny,0 25\ne1,3 4\n")
    for path in (folder, folder / "train.csv"):
        rows = spec.external(path, index)
        assert rows["id"].tolist() == ["e2", "y", "e1"]
        assert rows["target"].tolist() == [(27,), (0, 25), (3, 4)]
        assert rows["files"].iat[1] == tuple(f"test/y_{colour}.png" for colour in COLOURS)
        assert rows["files"].iat[0] == tuple(str(folder / "train" / f"e2_{colour}.jpg") for colour in COLOURS)
    for text, message in (
        ("Id,Target\nq,1\n", "1 of 1 ids have no image beside it .* first is q: put q_red.png, q_green.png"),
        ("Id,Target\ne1,1\ne1,2\n", "two rows for id 'e1'"),
        ("Id,Target\ne1,28\n", "label '28' of e1"),
        ("Id,Label\ne1,1\n", "no column 'Predicted'"),
    ):
        (folder / "train.csv").write_text(text)
        with pytest.raises(KitError, match=message):
            spec.external(folder, index)
    (folder / "more.csv").touch()
    with pytest.raises(KitError, match=r"holds 2 csv files \(more\.csv, train\.csv\)"):
        spec.external(folder, index)


def predictions(ids: list[str], rows: list[dict[int, float]], cuts: np.ndarray | None = None) -> Predictions:
    values = np.zeros((len(ids), 28), np.float32)
    for row, given in enumerate(rows):
        for number, probability in given.items():
            values[row, number] = probability
    classes = Registry().competitions.get("protein").classes
    return Predictions(np.array(ids, object), classes, values, cuts)


def test_the_submission_lists_class_numbers_in_the_samples_order(spec, submission, tmp_path):
    root = make(tmp_path / "d", {"a": "0"}, ["z", "x", "y"])
    path = tmp_path / "submission.csv"
    given = predictions(["x", "y", "z"], [{0: 0.9, 25: 0.5, 3: 0.49}, {7: 0.1, 8: 0.2}, {27: 0.8}])
    submission.write(given, spec.index(root), path)
    assert path.read_text() == "Id,Predicted\nz,27\nx,0 25\ny,8\n"
    assert submission.check(path, root) == []
    cuts = np.full(28, 0.5)
    cuts[[3, 27]] = 0.4, 0.9
    submission.write(
        predictions(["x", "y", "z"], [{0: 0.9, 3: 0.49}, {7: 0.1, 8: 0.2}, {27: 0.8, 1: 0.6}], cuts),
        spec.index(root),
        path,
    )
    assert path.read_text() == "Id,Predicted\nz,1\nx,0 3\ny,8\n"


@pytest.mark.parametrize(
    ("rows", "level", "message"),
    [
        (
            ["x,0 28", "y,1"],
            "error",
            r"not a list of class numbers 0 to 27 separated by spaces: line 2, id 'x' \('0 28'\)",
        ),
        (["x,0", "y,01"], "error", r"not a list of class numbers .* line 3, id 'y' \('01'\)"),
        (["x,0", "y,Nucleoli"], "error", "not a list of class numbers"),
        (["x,0.5", "y,0"], "error", "not a list of class numbers"),
        (["x,4 0 4", "y,0"], "error", "names a class twice: line 2"),
        (["x,1", "y,"], "warning", "is empty, which is never right: line 3"),
        (["x,0", "y,0"], "warning", "'0' in every row"),
        (["y,0", "x,1"], "error", "the order is not"),
        (["x,0"], "error", "ids are missing: 1"),
        (["x,0", "y,1", "y,1"], "error", "the id appears twice"),
        (["x,0", "q,1"], "error", "the id is not in the sample submission"),
    ],
)
def test_the_check_finds(submission, tmp_path, rows, level, message):
    import re

    root = make(tmp_path / "d", {"a": "0"}, ["x", "y"])
    path = tmp_path / "s.csv"
    path.write_text("\n".join(["Id,Predicted", *rows]) + "\n")
    findings = [finding for finding in submission.check(path, root) if re.search(message, finding.text)]
    assert [finding.level for finding in findings] == [level]


def test_a_wrong_header_is_an_error(submission, tmp_path):
    root = make(tmp_path / "d", {"a": "0"}, ["x"])
    (tmp_path / "s.csv").write_text("Id,Target\nx,0\n")
    [finding] = submission.check(tmp_path / "s.csv", root)
    assert "the header is 'Id,Target', it must be 'Id,Predicted'" in finding.text


def test_the_real_archive_goes_through(kit, archives, spec, tmp_path):
    kit("download", "protein", "--from", archives / REAL)
    root = tmp_path / "data" / "human-protein-atlas-image-classification"
    index = spec.index(root)
    assert (len(index.train), len(index.test)) == (14, 0)
    assert set(index.train["target"]) == {(21,)}
    sizes = {spec.read(paths).shape for paths in index.paths(index.train)}
    assert sizes == {(512, 512, 4), (224, 224, 4)}
    (root / "train" / "10008_57_F11_1_yellow.png").unlink()
    assert faults(spec.index(root))["missing channels in train/"] == ("10008_57_F11_1: yellow",)
    with zipfile.ZipFile(archives / REAL) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 4 * 14


@pytest.fixture
def real_size(archives, tmp_path) -> Path:
    """The full real csv files over empty images."""
    root = tmp_path / "full"
    for part, name, csv in (
        ("train", "protein_train_full.csv", "train.csv"),
        ("test", "protein_sample_submission_full.csv", "sample_submission.csv"),
    ):
        table = (archives / name).read_text()
        (root / part).mkdir(parents=True)
        (root / csv).write_text(table)
        for line in table.splitlines()[1:]:
            for colour in COLOURS:
                (root / part / f"{line.split(',')[0]}_{colour}.png").touch()
    return root


@pytest.mark.slow
def test_the_full_real_csvs_are_indexed_folded_and_checked(real_size, spec, submission, tmp_path):
    """Issue 6: every class of at least ten images stands in every fold, where a random split loses some."""
    from sklearn.model_selection import KFold

    from kit.data.folds import counts_by_fold, make_folds

    index = spec.index(real_size)
    assert (len(index.train), len(index.test)) == (31_072, 11_702)
    assert faults(index) == {}
    counts = index.class_counts()
    assert (counts["Nucleoplasm"], counts["Rods & rings"], counts["Microtubule ends"]) == (12_885, 11, 21)
    for count in (3, 5):
        rows = counts_by_fold(index, make_folds(index, count, seed=0))
        assert min(min(row["labels"].values()) for row in rows) >= 11 // count
    hot = index.targets(index.train)
    for count, often in ((3, 0), (5, 0.3)):
        lost = [
            min(hot[rows].sum(0).min() for _, rows in KFold(count, shuffle=True, random_state=seed).split(hot)) == 0
            for seed in range(200)
        ]
        # Of 11 images none falls into some third by chance in 3.5 % of all splits, into some fifth in 43 %.
        assert np.mean(lost) > often
    values = np.random.default_rng(0).random((11_702, 28)).astype(np.float32)
    given = Predictions(index.test["id"].to_numpy(object), index.classes, values)
    submission.write(given, index, tmp_path / "s.csv")
    assert submission.check(tmp_path / "s.csv", real_size) == []
