"""The competition recursion: index in both encodings, reading, controls, plates, submission; on made and real files."""

import re
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers.recursion_data import CONTROLS, EXPERIMENTS, SIRNAS, write
from helpers.trees import nest
from kit.data.file_names import FileNames, FoundImages
from kit.data.folds import counts_by_fold, groups_spanning_folds, make_folds
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.scoring.predictions import Predictions
from kit_recursion import dataset

REAL, INTEGERS = "recursion-cellular-image-classification.zip", "recursion_csv_2019_integer_labels.zip"


def spec(name: str = "recursion") -> Any:
    return Registry().datasets.get(name)


def submission() -> Any:
    return Registry().submissions.get("recursion")


def faults(index: Any) -> dict[str, tuple[str, ...]]:
    return {name: ids for name, ids in index.missing.items() if ids}


def test_a_sample_is_a_site_and_an_id_a_well(tmp_path):
    index = spec().index(write(tmp_path / "d"))
    assert faults(index) == {}
    assert (len(index.train), index.train["id"].nunique()) == (48, 24)
    assert index.classes == ("sirna_3", "sirna_7", "sirna_12", "sirna_100")
    row = index.train.iloc[1]
    assert (row["id"], row["sample"], row["plate"], row["well"]) == ("HEPG2-01_1_B03", 2, "HEPG2-01_1", "B03")
    assert (row["group"], row["cell_type"], row["stratum"]) == ("HEPG2-01", "HEPG2", "HEPG2")
    assert index.classes[row["target"]] == "sirna_7"
    assert row["files"] == tuple(f"train/HEPG2-01/Plate1/B03_s2_w{channel}.png" for channel in range(1, 7))
    assert len(index.test) == 16
    assert sorted(set(index.controls["sirna"])) == ["UNTREATED", "sirna_50"]
    assert index.controls["negative"].sum() == len(index.controls) / 2 == 32
    inputs = index.metadata_of(index.train)
    assert inputs.sum(1).tolist() == [1] * 48
    assert (inputs[:, 0] == index.train["cell_type"].eq("HEPG2")).all()


def test_controls_are_further_classes_where_wanted(tmp_path):
    index = spec("recursion_controls").index(write(tmp_path / "d"))
    assert index.classes[4:] == ("UNTREATED", "sirna_50")
    assert len(index.train) == 48
    # Controls of test experiments too: they are known there as well.
    assert (len(index.external), set(index.external["target"])) == (64, {4, 5})
    assert min(index.class_counts().values()) > 0
    assert spec().index(tmp_path / "d").outputs == 4


def test_missing_channels_and_wells_are_named(tmp_path):
    root = write(tmp_path / "d")
    for channel in (5, 6):
        (root / f"train/HEPG2-01/Plate1/B03_s2_w{channel}.png").unlink()
    for path in (root / "train/RPE-01/Plate2").glob("D10_*"):
        path.unlink()
    (root / "test/RPE-03/Plate1/C03_s1_w1.png").unlink()
    (root / "train/HEPG2-01/Plate1/Z99_s1_w1.png").touch()
    (root / "train/HEPG2-01/Plate1/notes.txt").touch()
    for stray in ("train/Plates.csv", "train/HEPG2-01/Plate9", "train/HEPG2-01/PlateNotes.txt", "train/.DS_Store"):
        (root / stray).touch()
    for stray in ("train/._HEPG2-01", "train/HEPG2-01/Plate1/._B03_s1_w1.png", "test/view.png"):
        (root / stray).write_bytes(b"\0\5\x16\7")
    index = spec().index(root)
    assert faults(index) == {
        "missing channels of wells of train.csv": ("HEPG2-01_1_B03 s2: w5, w6",),
        "wells of train.csv without an image": ("RPE-01_2_D10",),
        "missing channels of wells of test_controls.csv": ("RPE-03_1_C03 s1: w1",),
        "wells in train/ that no csv lists": ("HEPG2-01_1_Z99",),
    }
    assert len(index.train) == 48 - 1 - 2
    table = (root / "train.csv").read_text()
    (root / "train.csv").write_text(table + table.splitlines()[1] + "\n")
    with pytest.raises(KitError, match="has two rows for id 'HEPG2-01_1_B03'"):
        spec().index(root)


@pytest.mark.parametrize("layout", ["nested", "a folder more", "capitals"])
def test_layouts_as_people_have_them(tmp_path, layout):
    good = spec().index(write(tmp_path / "good"))
    root = write(tmp_path / "d" / "top" if layout == "a folder more" else tmp_path / "d")
    if layout == "nested":
        nest(root, "train", "test")
    if layout == "capitals":
        for path in [*root.rglob("*.png")]:
            path.rename(path.with_suffix(".PNG"))
    found = spec().index(tmp_path / "d")
    assert faults(found) == {}
    for split in ("train", "test", "controls"):
        frame, same = getattr(found, split), getattr(good, split)
        pd.testing.assert_frame_equal(frame.drop(columns="files"), same.drop(columns="files"))
        assert all((tmp_path / "d" / name).is_file() for files in frame["files"] for name in files)
        assert [[name[-7:].lower() for name in files] for files in frame["files"]] == [
            [name[-7:] for name in files] for files in same["files"]
        ]
    submission().write(votes(found), found, tmp_path / "s.csv")
    assert submission().check(tmp_path / "s.csv", tmp_path / "d") == []


def test_levels_listed_twice_are_refused(tmp_path):
    root = write(tmp_path / "d")
    row = "HEPG2-01_1_B03,1,2,12,3\n"
    (root / "pixel_stats.csv").write_text("id_code,site,channel,mean,std\n" + row + row.replace("12", "40"))
    with pytest.raises(KitError, match=r"two rows for a channel of HEPG2-01_1_B03"):
        spec().statistics(spec().index(root), spec().index(root).train)


def test_six_files_become_one_array_and_its_picture(tmp_path):
    planes = np.random.default_rng(0).integers(0, 256, (6, 8, 9), dtype=np.uint8)
    files = tuple(tmp_path / f"w{channel}.png" for channel in range(6))
    for file, plane in zip(files, planes, strict=True):
        cv2.imwrite(str(file), plane)
    image = spec().read(files)
    np.testing.assert_array_equal(image, np.moveaxis(planes, 0, 2))
    # recursionpharma/rxrx1-utils: value / range, cut at 1, times colour, added, cut at 255.
    colours = np.array([(19, 0, 249), (42, 255, 31), (255, 0, 25), (45, 255, 252), (250, 0, 253), (254, 255, 40)])
    ranges = np.array([51, 107, 64, 191, 89, 191])
    expected = np.minimum(np.tensordot(np.minimum(image / ranges, 1), colours, 1), 255)
    assert np.abs(spec().picture(image) - expected).max() <= 1
    np.testing.assert_array_equal(spec("recursion_rgb").read(files), spec().picture(image))
    cv2.imwrite(str(files[4]), np.zeros((8, 8), np.uint8))
    with pytest.raises(KitError, match=r"w4\.png differs in size"):
        spec().read(files)


def test_folds_keep_experiments_and_spread_cell_types(tmp_path):
    index = spec().index(write(tmp_path / "d"))
    folds = make_folds(index, 2, seed=0)
    assert (groups_spanning_folds(index, folds), folds.grouped_by) == (0, "experiment")
    assert [row["strata"] for row in counts_by_fold(index, folds)] == [{"HEPG2": 4, "HUVEC": 4, "RPE": 4}] * 2


def test_statistics_come_from_the_csv_where_it_is_whole(tmp_path):
    root = write(tmp_path / "d")
    index = spec().index(root)
    assert spec().statistics(index, index.train) is None
    lines = ["id_code,experiment,plate,well,site,channel,mean,std,median,min,max"]
    for frame in (index.train, index.test):
        for row in frame.itertuples():
            for channel in range(1, 7):
                lines.append(
                    f"{row.id},x,1,{row.well},{row.sample},{channel},{channel * 10 + row.sample},{channel},0,0,0"
                )
    (root / "pixel_stats.csv").write_text("\n".join(lines) + "\n")
    mean, std = spec().statistics(index, index.train)
    np.testing.assert_allclose(mean[1] * 255, [12, 22, 32, 42, 52, 62])
    np.testing.assert_allclose(std[0] * 255, [1, 2, 3, 4, 5, 6])
    (root / "pixel_stats.csv").write_text("\n".join(lines[:-1]) + "\n")
    assert spec().statistics(index, index.test) is None


def votes(index: Any, right: float = 1.0) -> Predictions:
    """Votes for each test well's siRNA by the order of the layout: group by group, as `write` lays them."""
    truth = []
    for experiment, wells in index.test.drop_duplicates("id").groupby("experiment", sort=False):
        number = EXPERIMENTS["test"].index(experiment)
        for row in wells.itertuples():
            plate = int(row.plate[-1])
            group = SIRNAS[:2] if (plate + number) % 2 else SIRNAS[2:]
            truth.append(index.classes.index(group[row.well == "D10"]))
    values = np.full((len(truth), len(index.classes)), 0.1, np.float32)
    values[np.arange(len(truth)), truth] = right
    ids = index.test["id"].drop_duplicates().to_numpy(object)
    return Predictions(ids, index.classes, values)


def test_the_submission_has_the_original_labels_in_the_samples_order(tmp_path):
    root = write(tmp_path / "d")
    index = spec("recursion_controls").index(root)
    given = votes(index, 0.5)
    given.values[:, 5] = 0.9  # a control is never the answer
    submission().write(given, index, tmp_path / "s.csv")
    table = pd.read_csv(tmp_path / "s.csv")
    assert table.columns.tolist() == ["id_code", "sirna"]
    assert table["id_code"].tolist() == pd.read_csv(root / "sample_submission.csv")["id_code"].tolist()
    assert table["sirna"].tolist()[:4] == ["sirna_7", "sirna_12", "sirna_100", "sirna_3"]
    assert submission().check(tmp_path / "s.csv", root) == []


def test_plates_mend_what_the_layout_rules_out(tmp_path):
    index = spec().index(write(tmp_path / "d"))
    right = votes(index)
    wrong = votes(index, 0.3)
    wrong.values[0] = [0.1, 0.3, 0.1, 0.4]  # a siRNA of the other plate's group is louder
    mended = submission().postprocess(wrong, index)
    assert (mended.values.argmax(1) == right.values.argmax(1)).all()
    np.testing.assert_allclose(mended.values.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("sirna_7", "sirna_50", 1), r"sirna is not in train\.csv: line 2"),
        (lambda text: text.replace("sirna_7", "7", 1), r"sirna is not in train\.csv"),
        (lambda text: text.replace("sirna_7", "", 1), r"sirna is not in train\.csv"),
        (lambda text: "\n".join(text.splitlines()[:-1]) + "\n", "ids are missing: 1"),
        (lambda text: text, "in every row, as in a sample"),
    ],
)
def test_the_check_finds(tmp_path, change, message):
    root = write(tmp_path / "d", images=False)
    (tmp_path / "s.csv").write_text(change((root / "sample_submission.csv").read_text()))
    assert any(re.search(message, finding.text) for finding in submission().check(tmp_path / "s.csv", root))


def test_pseudo_labels_are_extra_data(tmp_path):
    index = spec().index(write(tmp_path / "d"))
    (tmp_path / "p.csv").write_text("id_code,sirna\nRPE-03_1_B03,sirna_7\nHEPG2-03_2_D10,sirna_3\n")
    rows = spec().external(tmp_path / "p.csv", index)
    assert rows["id"].tolist() == ["HEPG2-03_2_D10"] * 2 + ["RPE-03_1_B03"] * 2
    assert [index.classes[number] for number in rows["target"]] == ["sirna_3"] * 2 + ["sirna_7"] * 2
    for text, message in (
        ("RPE-03_1_B03,sirna_8", "name no class, the first is 'sirna_8'"),
        ("HEPG2-01_1_B03,sirna_7", "name no test well, the first is 'HEPG2-01_1_B03'"),
    ):
        (tmp_path / "p.csv").write_text(f"id_code,sirna\n{text}\n")
        with pytest.raises(KitError, match=message):
            spec().external(tmp_path / "p.csv", index)


@pytest.fixture
def real(archives, tmp_path, monkeypatch) -> dict[str, Any]:
    """The index of the real csv files in both encodings, as if every image were there."""
    monkeypatch.setattr(dataset, "find_images", everything)
    found = {}
    for name, archive in (("strings", REAL), ("integers", INTEGERS)):
        root = tmp_path / name
        with zipfile.ZipFile(archives / archive) as file:
            file.extractall(root, [member for member in file.namelist() if member.endswith(".csv")])
        found[name] = spec().index(root)
    return found


def everything(ids: pd.Series, root: Path, folder: str, suffixes: tuple[str, ...]) -> FoundImages:
    """What `find_images` returns if all is there."""
    files = FileNames([f"{folder}/{{}}{suffix}.png" for suffix in suffixes], ids)
    return FoundImages(files, np.ones(len(ids), bool), {}, (), ())


def test_both_encodings_give_one_index(real):
    strings, integers = (index.train.drop_duplicates("id") for index in real.values())
    later = set(strings["id"]) - set(integers["id"])
    assert later == {"HUVEC-06_1_B18", "RPE-04_3_E04"}
    assert (len(integers), len(strings)) == (36_515, 36_517)
    both = integers.merge(strings[strings["id"].isin(integers["id"])], on="id", suffixes=("", "_s"), validate="1:1")
    assert len(both) == 36_515
    for column in ("experiment", "plate", "well", "cell_type"):
        assert (both[column] == both[f"{column}_s"]).all()
    pairs = both[["target", "target_s"]].drop_duplicates()
    assert len(pairs) == pairs["target"].nunique() == pairs["target_s"].nunique() == 1108
    assert real["integers"].classes[:2] + real["integers"].classes[-1:] == ("0", "1", "1107")
    assert set(CONTROLS) <= set(real["strings"].controls["well"])


def test_every_cell_type_stands_in_every_fold_that_it_can(real):
    index = real["strings"]
    for count in (3, 5):
        folds = make_folds(index, count, seed=0)
        assert groups_spanning_folds(index, folds) == 0
        rows = counts_by_fold(index, folds)
        for name, experiments in (("HEPG2", 7), ("HUVEC", 16), ("RPE", 7), ("U2OS", 3)):
            assert sum(row["strata"][name] > 0 for row in rows) == min(count, experiments)
        assert sum(row["groups"] for row in rows) == 33


def test_the_real_images_pass_through_and_what_lacks_is_named(kit, archives, tmp_path):
    kit("download", "recursion", "--from", archives / REAL)
    root = tmp_path / "data" / "recursion-cellular-image-classification"
    index = spec().index(root)
    assert (len(index.train), len(index.test), len(index.controls)) == (0, 0, 18)
    lacking = index.missing["missing channels of wells of train_controls.csv"]
    assert len(lacking) == 16
    assert lacking[0] == "HEPG2-01_1_B02 s2: w5, w6"
    image = spec().read(index.paths(index.controls)[0])
    assert image.shape == (512, 512, 6)
    assert spec().picture(image).shape == (512, 512, 3)
    mean, std = spec().statistics(index, index.controls)
    np.testing.assert_allclose(mean[0] * 255, image.reshape(-1, 6).mean(0), atol=1e-3)
    np.testing.assert_allclose(std[0] * 255, image.reshape(-1, 6).std(0), atol=1e-2)
    assert kit("explore", "recursion", "--json").json["pictures"]
    assert Path(root / "explore").is_dir()
