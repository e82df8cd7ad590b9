"""The competition histopathology: index, groups, miniature, submission."""

import csv
import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.model.losses import loss_terms
from kit.scoring.predictions import Predictions

REAL = "histopathologic-cancer-detection.zip"


@pytest.fixture(scope="module")
def spec() -> Any:
    return Registry().datasets.get("histopathology")


@pytest.fixture(scope="module")
def miniature(spec: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample of seed 0; tests only read it."""
    root = tmp_path_factory.mktemp("miniature")
    spec.miniature(root, 0)
    return root


def make(root: Path, train: dict[str, str], test: list[str]) -> Path:
    """A raw folder whose images are empty files: the index must not open them."""
    for split, ids in (("train", list(train)), ("test", test)):
        (root / split).mkdir(parents=True)
        for id_ in ids:
            (root / split / f"{id_}.tif").touch()
    (root / "train_labels.csv").write_text("id,label\n" + "".join(f"{a},{b}\n" for a, b in train.items()))
    (root / "sample_submission.csv").write_text("id,label\n" + "".join(f"{id_},0\n" for id_ in test))
    return root


def faults(index: Any) -> dict[str, tuple[str, ...]]:
    return {name: ids for name, ids in index.missing.items() if ids}


def test_its_facts_are_complete_and_its_defaults_resolve() -> None:
    from kit.resolve import resolve

    registry = Registry()
    for name in ("histopathology", "histo", "histopathologic-cancer-detection"):
        competition = registry.competitions.get(name)
        assert competition.name == "histopathology"
    assert competition.facts["train_images"] == 220_025
    assert competition.facts["test_images"] == 57_458
    registry.metrics.get(competition.metric)
    registry.submissions.get(competition.submission)
    for sample in (False, True):
        config, _ = resolve(competition, sample)
        registry.models.get(config.model)
        loss_terms(config.loss, registry, competition.task)


def test_the_index_keeps_the_csvs_order(spec: Any, tmp_path: Path) -> None:
    index = spec.index(make(tmp_path / "d", {"c": "1", "a": "0", "b": "0"}, ["z", "x", "y"]))
    assert index.train["id"].tolist() == ["c", "a", "b"]
    assert index.train["target"].tolist() == [1, 0, 0]
    assert index.train["files"].tolist() == [("train/c.tif",), ("train/a.tif",), ("train/b.tif",)]
    assert index.test["id"].tolist() == ["z", "x", "y"]
    assert index.class_counts() == {"normal": 2, "tumor": 1}
    assert index.outputs == 1
    assert faults(index) == {}
    assert index.grouped_by == ""
    assert "group" not in index.train


def test_what_does_not_fit_is_listed_in_every_direction(spec: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "d", {"a": "0", "b": "1", "c": "0"}, ["x", "y", "z"])
    (root / "train" / "b.tif").unlink()
    (root / "train" / "new.tif").touch()
    (root / "train" / "Thumbs.db").touch()
    (root / "test" / "z.tif").unlink()
    (root / "test" / "more.tif").touch()
    with (root / "train_labels.csv").open("a") as file:
        file.write("a,0\n")
    with (root / "sample_submission.csv").open("a") as file:
        file.write("x,0\n")
    index = spec.index(root)
    assert faults(index) == {
        "ids of train_labels.csv without an image": ("b",),
        "images in train/ that train_labels.csv lacks": ("new",),
        "duplicate ids in train_labels.csv": ("a",),
        "ids of sample_submission.csv without an image": ("z",),
        "images in test/ that sample_submission.csv lacks": ("more",),
        "duplicate ids in sample_submission.csv": ("x",),
    }
    assert index.train["id"].tolist() == ["a", "c"]
    assert index.test["id"].tolist() == ["x", "y"]


@pytest.mark.parametrize("label", ["2", "", "0.5", "tumor", "-1"])
def test_another_label_is_an_error_that_names_it(spec: Any, tmp_path: Path, label: str) -> None:
    root = make(tmp_path / "d", {"a": "0", "b": label, "c": "1"}, ["x"])
    with pytest.raises(KitError, match=f"'{label}' of b"):
        spec.index(root)


@pytest.mark.parametrize("name", ["train_labels.csv", "sample_submission.csv"])
def test_an_absent_csv_is_named(spec: Any, tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "d", {"a": "0"}, ["x"])
    (root / name).unlink()
    with pytest.raises(KitError, match=rf"{name} is not there.*: kit download histopathology"):
        spec.index(root)


def test_an_absent_folder_is_named(spec: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "d", {"a": "0"}, [])
    (root / "test").rmdir()
    with pytest.raises(KitError, match=r"test is not there.*: kit download histopathology"):
        spec.index(root)


def test_groups_are_the_last_token_of_wsi(spec: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "d", {"a": "0", "b": "1", "c": "0", "d": "1"}, ["x"])
    wsi = "id,wsi\nb,camelyon16_train_normal_033\na,camelyon16_train_tumor_7\nc,\nstranger,s_9\n"
    (root / "patch_id_wsi.csv").write_text(wsi)
    index = spec.index(root)
    assert index.grouped_by == "slide"
    assert index.train["group"].fillna("unknown").tolist() == ["7", "033", "unknown", "unknown"]
    assert "group" not in index.test
    assert dict(spec.groups(root / "patch_id_wsi.csv")) == {"b": "033", "a": "7", "stranger": "9"}


def test_a_file_of_groups_with_other_columns_is_refused(spec: Any, tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("id,slide\na,1\n")
    with pytest.raises(KitError, match="no column 'wsi'"):
        spec.groups(tmp_path / "groups.csv")


def test_the_full_competitions_size_is_indexed_in_seconds(
    spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """220,025 and 57,458 rows, with the folders' listing stood in for."""
    import os

    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

    class Listing(list):
        def __enter__(self) -> "Listing":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    ids = {"train": [f"{n:040x}" for n in range(220_025)], "test": [f"{n:040x}" for n in range(10**6, 10**6 + 57_458)]}
    pd.DataFrame({"id": ids["train"], "label": np.arange(220_025) % 2}).to_csv(
        tmp_path / "train_labels.csv", index=False
    )
    pd.DataFrame({"id": ids["test"], "label": 0}).to_csv(tmp_path / "sample_submission.csv", index=False)
    wsi = pd.DataFrame({"id": ids["train"][5:], "wsi": [f"a_b_{n // 1000}" for n in range(220_020)]})
    wsi.to_csv(tmp_path / "patch_id_wsi.csv", index=False)
    monkeypatch.setattr(os, "scandir", lambda folder: Listing(Entry(f"{id_}.tif") for id_ in ids[Path(folder).name]))
    began = time.perf_counter()
    index = spec.index(tmp_path)
    assert time.perf_counter() - began < 10
    assert (len(index.train), len(index.test)) == (220_025, 57_458)
    assert index.train["group"].isna().sum() == 5
    assert faults(index) == {}


@pytest.mark.parametrize(
    ("rows", "targets"),
    [
        (["x,0.97", "e1,1", "e2.tif,0"], [1, 1, 0]),
        (["y,1e-9", "x,0.5"], [0, 1]),
    ],
)
def test_external_patches_lie_beside_their_csv_or_in_the_test(
    spec: Any, tmp_path: Path, rows: Any, targets: Any
) -> None:
    index = spec.index(make(tmp_path / "d", {"a": "0", "b": "1"}, ["x", "y"]))
    (tmp_path / "more" / "patches").mkdir(parents=True)
    (tmp_path / "more" / "e1.png").touch()
    (tmp_path / "more" / "patches" / "e2.TIF").touch()
    table = tmp_path / "more" / "labels.csv"
    table.write_text("\n".join(["id,label", *rows]) + "\n")
    for path in (table, table.parent):
        frame = spec.external(path, index)
        assert frame["target"].tolist() == targets
        assert frame["id"].tolist() == [row.split(",")[0].removesuffix(".tif") for row in rows]
        assert all((tmp_path / "d" / files[0]).is_file() for files in frame["files"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["x,1", "x,0"], "two rows for id 'x'"),
        (["x,1.5"], "the label of 'x' is '1.5', not a finite number from 0 to 1"),
        (["x,"], "the label of 'x' is ''"),
        (["z,1"], "1 of 1 ids have no image beside it or in the competition, the first is z: put z.png beside it"),
    ],
)
def test_external_patches_that_can_not_be_used_are_named(spec: Any, tmp_path: Path, rows: Any, said: str) -> None:
    index = spec.index(make(tmp_path / "d", {"a": "0"}, ["x"]))
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    with pytest.raises(KitError) as refused:
        spec.external(tmp_path / "labels.csv", index)
    assert said in str(refused.value)


def test_pseudo_labels_of_a_run_train_the_next(kit: Callable[..., Any], tmp_path: Path) -> None:
    few = ("--folds", 2, "--fold", 0, "--epochs", 1, "--size", 32, "--model", "small_cnn", "--no-pretrained")
    kit("download", "histo", "--miniature")
    run = kit("train", "histo", *few, "--json").json["run"]
    kit("predict", run)
    made = kit("pseudo-label", run, "--min-confidence", 0.5, "--out", tmp_path / "sure.csv", "--json").json
    assert made["ids"] == 60
    trained = kit("train", "histo", *few, "--external", tmp_path / "sure.csv", "--json").json
    assert trained["folds"]["0"]["train_images"] == 120 + 60
    assert trained["folds"]["0"]["valid_images"] == 120


def test_ids_with_endings_and_a_folder_more_are_the_same_data(spec: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "d" / "top", {"a": "0", "b": "1"}, ["x", "y"])
    for name in ("train_labels.csv", "sample_submission.csv"):
        text = (root / name).read_text()
        (root / name).write_text(text.replace(",0", ".tif,0").replace(",1", ".TIF,1"))
    (root / "patch_id_wsi.csv").write_text("id,wsi\na.tif,s_1\nb,s_2\n")
    index = spec.index(tmp_path / "d")
    assert (index.train["id"].tolist(), index.test["id"].tolist()) == (["a", "b"], ["x", "y"])
    assert index.train["group"].tolist() == ["1", "2"]
    assert index.train["files"].iat[0] == ("top/train/a.tif",)
    assert faults(index) == {}
    submission = Registry().submissions.get("histopathology")
    submission.write(predictions(["x", "y"], [0.5, 0.25]), index, tmp_path / "s.csv")
    assert submission.check(tmp_path / "s.csv", tmp_path / "d") == []


def test_labels_that_contradict_are_said(spec: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "d", {"a": "0", "b": "1"}, ["x"])
    with (root / "train_labels.csv").open("a") as file:
        file.write("a,1\nb.tif,1\n")
    (root / "train" / "a.png").touch()
    assert faults(spec.index(root)) == {
        "duplicate ids in train_labels.csv": ("a (0 and 1)", "b"),
        "images in train/ beside another of the same id": ("train/a.tif",),
    }


def test_read_gives_the_files_pixels(spec: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(spec.read((tmp_path / "a.tif",)), pixels)


def test_the_miniature_has_the_real_layout(spec: Any, miniature: Path) -> None:
    assert sorted(path.name for path in miniature.iterdir() if not path.name.startswith(".")) == [
        "sample_submission.csv",
        "test",
        "train",
        "train_labels.csv",
    ]
    index = spec.index(miniature)
    assert faults(index) == {}
    assert (len(index.train), len(index.test)) == (240, 60)
    assert index.class_counts() == {"normal": 144, "tumor": 96}
    assert all(len(id_) == 40 and set(id_) <= set("0123456789abcdef") for id_ in index.train["id"])
    assert not set(index.train["id"]) & set(index.test["id"])
    for path in [*(miniature / "train").iterdir(), *(miniature / "test").iterdir()][::30]:
        with Image.open(path) as image:
            assert (image.size, image.mode, image.info["compression"]) == ((96, 96), "RGB", "raw")


def test_the_miniatures_truth_covers_the_test_and_is_not_in_the_sample_submission(miniature: Path) -> None:
    truth = pd.read_csv(miniature / ".kit" / "sample_test_labels.csv")
    sample = pd.read_csv(miniature / "sample_submission.csv")
    assert truth["id"].tolist() == sample["id"].tolist()
    assert sample["label"].eq(0).all()
    assert truth["label"].sum() == 24


def test_equal_seeds_give_equal_bytes(spec: Any, miniature: Path, tmp_path: Path) -> None:
    def content(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    spec.miniature(tmp_path / "again", 0)
    spec.miniature(tmp_path / "other", 1)
    assert content(tmp_path / "again") == content(miniature)
    assert not set(content(tmp_path / "other")) & {name for name in content(miniature) if name.endswith(".tif")}


def test_the_miniatures_centre_decides_and_its_rim_misleads(spec: Any, miniature: Path) -> None:
    """The amount of dark ink in the centre tells the label; in the whole patch it does so much worse."""
    index = spec.index(miniature)
    images = np.stack([spec.read(files) for files in index.paths(index.train)]).astype(float)
    # Red light is what haematoxylin takes away; relative to the patch's own median, because stain varies.
    ink = (images[..., 0] < 0.62 * np.median(images[..., 0], axis=(1, 2))[:, None, None]).astype(float)
    label = index.train["target"]
    centre = roc_auc_score(label, ink[:, 32:64, 32:64].mean((1, 2)))
    whole = roc_auc_score(label, ink.mean((1, 2)))
    rim = ink.copy()
    rim[:, 24:72, 24:72] = 0
    assert centre > 0.97
    assert whole < centre - 0.1
    assert abs(roc_auc_score(label, rim.mean((1, 2))) - 0.5) < 0.12


def predictions(ids: list[str], values: list[float]) -> Predictions:
    return Predictions(np.array(ids), ("tumor",), np.array(values, np.float32)[:, None])


def test_the_submission_has_the_samples_order_and_every_digit(spec: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "d", {"a": "0"}, ["z", "x", "y", "w"])
    values = [0.1, 1 / 3, float(np.nextafter(np.float32(1 / 3), np.float32(1))), 1e-12]
    submission = Registry().submissions.get("histopathology")
    path = tmp_path / "submission.csv"
    submission.write(predictions(["w", "x", "y", "z"], values), spec.index(root), path)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "label"]
    assert [row[0] for row in rows[1:]] == ["z", "x", "y", "w"]
    # Read back to float32 nothing has changed, so the ranks that AUC sees are those of the network.
    back = np.array([float(row[1]) for row in rows[1:]], np.float32)
    np.testing.assert_array_equal(back, np.array([values[3], values[1], values[2], values[0]], np.float32))
    assert b"\r" not in path.read_bytes()
    assert submission.check(path, root) == []
    assert [item.name for item in tmp_path.iterdir() if item.name.endswith(".tmp")] == []


def test_a_submission_without_an_id_is_refused(spec: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "d", {"a": "0"}, ["x", "y"])
    submission = Registry().submissions.get("histopathology")
    with pytest.raises(KitError, match="no prediction, the first is y"):
        submission.write(predictions(["x"], [0.5]), spec.index(root), tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()


def test_the_check_is_against_the_sample_submission_alone(spec: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "d", {"a": "0"}, ["x", "y"])
    submission = Registry().submissions.get("histopathology")
    path = tmp_path / "submission.csv"
    path.write_text("id,label\ny,0.2\nx,0.9\n")
    for item in ("train_labels.csv", "train/a.tif", "test/x.tif", "test/y.tif"):
        (root / item).unlink()
    [finding] = submission.check(path, root)
    assert (finding.level, "order" in finding.text) == ("error", True)


def test_the_real_archive_is_indexed(archives: Path, spec: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(archives / REAL) as archive:
        names = archive.namelist()
        labels = pd.read_csv(io.BytesIO(archive.read("train_labels.csv")))
        for name in names:
            if name.endswith(".csv"):
                archive.extract(name, tmp_path)
            elif not name.endswith("/"):
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).touch()
    index = spec.index(tmp_path)
    assert faults(index) == {}
    assert dict(zip(index.train["id"], index.train["target"], strict=True)) == dict(
        zip(labels["id"], labels["label"], strict=True)
    )
    assert (len(index.train), len(index.test)) == (3015, 600)


def test_check_passes_the_miniature(spec: Any, kit: Callable[..., Any], tmp_path: Path) -> None:
    from kit.data.store import Store

    store = Store.of(Registry(), "histo")
    spec.miniature(store.root, 3)
    store.set_origin("miniature", "seed 3")
    assert kit("check", "histo", "--json").json["ok"] is True
