"""Data in the person's own folders: linked where kit download --from names it, used as it lies where kit finds it."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.read_only import tree
from kit.data.store import Store, data_state, identity
from kit.hooks.registry import Registry

HISTO, HAM = "histopathologic-cancer-detection", "skin-cancer-mnist-ham10000"


def write(root: Path, *names: str, **tables: str) -> Path:
    """Images of one colour each, and tables by their name without .csv."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.full((16, 16, 3), number, np.uint8))
    root.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (root / f"{name}.csv").write_text(text)
    return root


def histo(root: Path) -> Path:
    tables = {"train_labels": "id,label\na,0\nb,1\nc,0\nd,1\n", "sample_submission": "id,label\ne,0\n"}
    return write(root, *(f"train/{name}.tif" for name in "abcd"), "test/e.tif", **tables)


def broken(path: Path) -> Path:
    """A folder with an archive that is none."""
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no archive")
    return path.parent


def ham(root: Path) -> dict[str, Path]:
    """The parts of HAM10000, each in a folder of its own."""
    table = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
    rows = [f"L{number},ISIC_{number},{dx},histo,50,male,back\n" for number, dx in enumerate(("nv", "mel") * 2)]
    return {
        "one": write(root / "part_1", "ISIC_0.jpg", "ISIC_1.jpg"),
        "two": write(root / "part_2", "ISIC_2.jpg", "ISIC_3.jpg"),
        "test": write(root / "ISIC2018_Test_Input", "ISIC_7.jpg", "ISIC_8.jpg"),
        "table": write(root / "labels", HAM10000_metadata=table + "".join(rows)),
    }


def ids(name: str) -> tuple[int, int]:
    index = Store.of(Registry(), name).index()
    return len(index.train), len(index.test)


def test_a_folder_is_linked_and_nothing_is_written_into_it(kit, tmp_path):
    raw = histo(tmp_path / "raw")
    before, root = tree(raw), tmp_path / "data" / HISTO
    done = kit("download", "histo", "--from", raw, "--from", f"{raw}/", "--json").json
    assert (done["origin"], done["changed"], done["train"], done["test"]) == ("folder", True, 4, 1)
    assert os.readlink(root / "train") == str(raw / "train")
    assert kit("download", "histo", "--from", raw, "--json").json["changed"] is False
    assert "nothing to do" in kit("download", "histo", "--from", raw).out
    assert kit("check", "histo", "--json").json["ok"]
    kit("folds", "histo", "--folds", 2)
    assert (root / ".kit" / "folds" / "2.csv").is_file()
    assert "as they were written" in kit("verify", "histo").out
    assert kit("info", "histo", "--json").json["data"]["source"] == str(raw)
    assert tree(raw) == before
    shutil.rmtree(raw / "train")
    assert "leads to" in kit("verify", "histo", code=2).out
    for command in (("check", "histo"), ("download", "histo")):
        assert f"{root / 'train'} leads to {raw / 'train'}, which is gone" in kit(*command, code=2).err


def test_links_within_given_data_are_followed_out_of_it(kit, tmp_path):
    far, raw = histo(tmp_path / "far"), tmp_path / "raw"
    raw.mkdir()
    for entry in far.iterdir():
        (raw / entry.name).symlink_to(entry)
    (raw / "train" / "a.tif").rename(tmp_path / "a.tif")
    (far / "train" / "a.tif").symlink_to(tmp_path / "a.tif")
    assert kit("download", "histo", "--from", raw, "--json").json["train"] == 4
    assert kit("check", "histo", "--json").json["ok"]
    kit("pack", "histo", "--size", 16)


@pytest.mark.parametrize("given", [("one", "two", "table", "test"), ("test", "table", "two", "one")])
def test_several_folders_are_one_dataset_and_images_stay_apart(kit, tmp_path, given):
    parts = ham(tmp_path / "parts")
    kit("download", "ham10000", *(word for name in given for word in ("--from", parts[name])))
    assert ids("ham10000") == (4, 2)


def test_a_folder_is_added_to_what_is_there(kit, tmp_path, monkeypatch):
    monkeypatch.setattr("kit.paths.KAGGLE", tmp_path / "kaggle")
    parts = ham(tmp_path / "parts")
    added = tmp_path / "kaggle" / "input" / HAM
    for name in ("one", "two"):
        shutil.copytree(parts[name], added / parts[name].name)
    shutil.copy(parts["table"] / "HAM10000_metadata.csv", added)
    assert ids("ham10000") == (4, 0)
    before = tree(added)
    kit("download", "ham10000", "--add", "--from", parts["test"])
    assert ids("ham10000") == (4, 2)
    assert Store.of(Registry(), "ham10000").root == tmp_path / "data" / HAM
    assert kit("download", "ham10000", "--add", "--from", parts["test"], "--json").json["changed"] is False
    shutil.make_archive(str(tmp_path / "more"), "zip", write(tmp_path / "zipped", "more_test/ISIC_9.jpg"))
    kit("download", "ham10000", "--add", "--from", tmp_path / "more.zip")
    assert ids("ham10000") == (4, 3)
    assert tree(added) == before


def test_links_that_lead_nowhere_are_left_out_and_said(kit, tmp_path):
    raw = histo(tmp_path / "raw")
    (raw / "gone").symlink_to(tmp_path / "nowhere")
    (raw / "round").symlink_to(raw / "round")
    (raw / "train" / "round").symlink_to(raw / "train" / "round")
    (raw / "train" / "up").symlink_to(raw)
    assert f"{raw}: gone, round lead nowhere: left out" in kit("download", "histo", "--from", raw).err
    assert kit("check", "histo", "--json").json["ok"]
    shutil.rmtree(raw / "train")
    (raw / "train").symlink_to(tmp_path / "nowhere")
    error = kit("download", "histo", "--force", "--from", raw, code=2).err
    assert "gone, round, train lead nowhere" in error
    assert "the folder train is not there (there: 1 file *.tif in test" in error
    assert "or give the right one: kit download histopathology --from ARCHIVE.zip (or FOLDER)" in error


REFUSED = [
    ("nothing of it", lambda tmp: [write(tmp / "cats", "cat.png")], "is not the data of histopathology"),
    ("empty", lambda tmp: [write(tmp / "none")], "which is an empty folder"),
    ("gone", lambda tmp: [histo(tmp / "raw"), tmp / "gone"], "gone is not there: correct --from"),
    ("clash", lambda tmp: [histo(tmp / "a"), histo(tmp / "b")], "have one name: rename one of them"),
    ("packed", lambda tmp: [broken(tmp / "z" / "d.zip")], "d.zip is an"),
    ("archive too", lambda tmp: [histo(tmp / "raw"), histo(tmp / "b") / "x.zip"], "x.zip is not there"),
]


@pytest.mark.parametrize(("make", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_can_not_be_linked_is_named_and_leaves_nothing(kit, tmp_path, make, said):
    given = make(tmp_path)
    error = kit("download", "histo", *(word for path in given for word in ("--from", path)), code=2).err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "data" / HISTO).exists()


@pytest.mark.parametrize("leads_to", ["itself", "nothing"])
def test_a_link_that_leads_nowhere_in_place_of_the_data_is_named(kit, tmp_path, leads_to):
    root = tmp_path / "data" / HISTO
    root.parent.mkdir()
    root.symlink_to(root if leads_to == "itself" else tmp_path / "nothing")
    raw = histo(tmp_path / "raw")
    assert f"{root} is not a folder: move it away" in kit("download", "histo", "--from", raw, code=2).err
    assert "no data for histopathology" in kit("check", "histo", code=2).err


def test_folders_and_archives_replace_each_other_by_force(kit, tmp_path):
    raw = histo(tmp_path / "raw")
    before = tree(raw)
    shutil.make_archive(str(tmp_path / "d"), "zip", raw)
    kit("download", "histo", "--from", raw)
    assert "holds other data (folder" in kit("download", "histo", "--from", tmp_path / "d.zip", code=2).err
    kit("download", "histo", "--from", tmp_path / "d.zip", "--force")
    assert not (tmp_path / "data" / HISTO / "train").is_symlink()
    assert "holds other data (archive" in kit("download", "histo", "--from", raw, code=2).err
    assert kit("download", "histo", "--from", raw, "--force", "--json").json["origin"] == "folder"
    assert (tmp_path / "data" / HISTO / "train").is_symlink()
    assert tree(raw) == before


def test_a_copy_without_kits_folder_is_used_and_stays_as_it_is(kit, tmp_path):
    root = histo(tmp_path / "data" / HISTO)
    before = tree(root)
    assert data_state(root) == "folder"
    assert kit("check", "histo", "--json").json["origin"] == "folder"
    saved = Path(kit("folds", "histo", "--folds", 2, "--json").json["path"])
    assert saved.is_relative_to(tmp_path / "cache")
    kit("pack", "histo", "--size", 16)
    kit("explore", "histo")
    assert "nothing to do" in kit("download", "histo", "--from", root).out
    assert "not kit's" in kit("download", "histo", "--from", histo(tmp_path / "other"), code=2).err
    assert "as they were written" in kit("verify", "histo").out
    assert tree(root) == before


CHANGES = [
    ("nothing", lambda root: None, True),
    ("times", lambda root: [os.utime(path, (1, 1)) for path in root.rglob("*")], True),
    ("what systems leave", lambda root: (root / ".DS_Store").write_text("x"), True),
    ("a label", lambda root: (root / "train_labels.csv").write_text("id,label\na,1\nb,1\nc,0\nd,1\n"), False),
    ("a table more", lambda root: (root / "patch_id_wsi.csv").write_text("id,wsi\n"), False),
    ("an image gone", lambda root: (root / "train" / "a.tif").unlink(), False),
    ("another name", lambda root: (root / "train" / "a.tif").rename(root / "train" / "x.tif"), False),
    ("another folder", lambda root: (root / "train" / "a.tif").rename(root / "test" / "a.tif"), False),
    ("a table without ending", lambda root: (root / "table").write_text("x"), False),
]


@pytest.mark.parametrize(("change", "same"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_data_is_told_apart_by_tables_and_names_and_not_by_place_and_times(tmp_path, change, same):
    root = histo(tmp_path / "data")
    shutil.copytree(root, tmp_path / "copy")
    change(tmp_path / "copy")
    assert (identity(root) == identity(tmp_path / "copy")) == same


def test_a_link_that_leads_back_ends(tmp_path):
    root = histo(tmp_path / "data")
    (root / "train" / "again").symlink_to(root)
    assert len(identity(root)) == 16


def packed_histo(root: Path, *folders: str) -> Path:
    """The data with some of its folders as zips in a folder more."""
    raw = histo(root / "raw" / "inner")
    for name in folders:
        shutil.make_archive(str(raw / name), "zip", raw, name)
        shutil.rmtree(raw / name)
    return root / "raw"


@pytest.mark.parametrize("folders", [("train",), ("test",), ("train", "test")])
def test_archives_in_a_folder_are_unpacked_beside_the_links(kit, tmp_path, folders):
    raw = packed_histo(tmp_path, *folders)
    before, root = tree(raw), tmp_path / "data" / HISTO
    kit("download", "histo", "--from", raw)
    assert ids("histo") == (4, 1)
    assert tree(raw) == before
    assert (root / "inner" / "train_labels.csv").is_symlink()
    assert (root / "inner" / folders[0]).is_dir()
    assert "nothing to do" in kit("download", "histo", "--from", raw).out
    kit("check", "histo")
    kit("verify", "histo")


def test_what_is_unpacked_already_is_linked_alone(kit, tmp_path):
    raw = histo(tmp_path / "raw")
    shutil.make_archive(str(raw / "train"), "zip", raw, "train")
    kit("download", "histo", "--from", raw)
    assert (tmp_path / "data" / HISTO / "train").is_symlink()


def test_a_file_gone_of_what_was_unpacked_comes_back(kit, tmp_path):
    raw = packed_histo(tmp_path, "train")
    kit("download", "histo", "--from", raw)
    (tmp_path / "data" / HISTO / "inner" / "train" / "a.tif").unlink()
    kit("download", "histo", "--from", raw)
    assert ids("histo") == (4, 1)
