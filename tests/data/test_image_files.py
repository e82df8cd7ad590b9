"""Finding image files: any ending, any folder below, no litter; and what is said where none fits."""

import os
from pathlib import Path

import pandas as pd
import pytest

from kit.data.file_names import FileNames, find_images
from kit.data.index import check_samples
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.image_files import bare, base_of, data_files, image_files, without_ending
from kit.paths import LITTER


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("names", "ids", "files"),
    [
        (["t/a.tif", "t/b.tif"], ["b", "a"], ["t/b.tif", "t/a.tif"]),
        (["t/a.TIF", "t/b.TIF"], ["a", "b"], ["t/a.TIF", "t/b.TIF"]),
        (["t/a.tiff", "t/b.JPEG", "t/c.png"], ["a", "b", "c"], ["t/a.tiff", "t/b.JPEG", "t/c.png"]),
        (["t/a.tif", "t/b.tif"], ["a.tif", "b.tif"], ["t/a.tif", "t/b.tif"]),
        (["t/a.png", "t/b.PNG"], ["a.tif", "b.TIF"], ["t/a.png", "t/b.PNG"]),
        (["t/t/a.tif", "t/t/b.tif"], ["a", "b"], ["t/t/a.tif", "t/t/b.tif"]),
        (["t/0/a.tif", "t/1/b.tif"], ["a", "b"], ["t/0/a.tif", "t/1/b.tif"]),
        (["t/x/a.png", "t/y/a.png"], ["x/a", "y/a.png"], ["t/x/a.png", "t/y/a.png"]),
        (["t/a.jpg", "t/a.png"], ["a.jpg", "a.png"], ["t/a.jpg", "t/a.png"]),
        (["t/a.b.tif", "t/{}.tif"], ["a.b", "{}"], ["t/a.b.tif", "t/{}.tif"]),
        (["t/{x}/a.tif", "t/{x}/b.tif"], ["a", "b"], ["t/{x}/a.tif", "t/{x}/b.tif"]),
        (["t/a.tif", "t/._a.tif", "t/.b.tif", "t/__MACOSX/b.tif", "t/.kit/b.tif"], ["a", "b"], ["t/a.tif", None]),
        (["t/a.csv", "t/b"], ["a", "b"], [None, None]),
    ],
)
def test_files_are_found_as_people_have_them(tmp_path, names, ids, files):
    found = find_images(pd.Series(ids), touch(tmp_path, *names), "t")
    assert [each and each[0] for each in found.files] == files
    assert found.there.tolist() == [name is not None for name in files]
    assert found.absent.tolist() == [name is None for name in files]
    assert (found.unlisted, found.passed_over, found.lacks) == ((), (), {})


@pytest.mark.parametrize("name", [*sorted(LITTER), "Icon\r", "@eaDir", "lost+found", "._a.tif", ".hidden.png"])
def test_litter_is_no_file(tmp_path, name):
    inside = touch(tmp_path, f"{name}/a.tif") if not name.endswith((".tif", ".png")) else touch(tmp_path, name)
    assert list(data_files(inside)) == list(image_files(inside)) == []


def test_one_folder_and_ending_take_little_memory(tmp_path):
    ids = pd.Series(["b", "a"], dtype=object)
    found = find_images(ids, touch(tmp_path, "t/a.TIF", "t/b.TIF"), "t")
    assert isinstance(found.files, FileNames)
    assert found.files.patterns == ("t/{}.TIF",)
    assert all(own is given for own, given in zip(found.files.names, ids, strict=True)), "the texts are shared"


def test_of_several_files_one_is_read_whatever_the_order_of_the_folder(tmp_path, monkeypatch):
    touch(tmp_path, "t/a.tif", "t/a.png", "t/sub/a.png", "t/b.jpg", "t/b.tif")
    answers = []
    listed = os.listdir(tmp_path / "t")
    real = os.scandir
    for order in (listed, listed[::-1]):

        class Sorted:
            def __init__(self, folder: str, order: list[str] = order) -> None:
                with real(folder) as entries:
                    self.entries = sorted(entries, key=lambda entry: (*order, entry.name).index(entry.name))

            def __enter__(self) -> list[os.DirEntry[str]]:
                return self.entries

            def __exit__(self, *_: object) -> None:
                pass

        monkeypatch.setattr(os, "scandir", Sorted)
        found = find_images(pd.Series(["a", "b.jpg"]), tmp_path, "t")
        answers.append((found.files.tolist() if isinstance(found.files, FileNames) else list(found.files), found))
    assert answers[0][0] == answers[1][0] == [("t/a.png",), ("t/b.jpg",)]
    assert answers[0][1].passed_over == answers[1][1].passed_over == ("t/a.tif", "t/b.tif", "t/sub/a.png")


def test_several_files_of_a_sample(tmp_path):
    touch(tmp_path, "t/a_red.png", "t/a_green.tif", "t/b_red.png", "t/c_red.png", "t/c_green.png", "t/readme.png")
    found = find_images(pd.Series(["a", "b", "d"]), tmp_path, "t", ("_red", "_green"))
    assert list(found.files) == [("t/a_red.png", "t/a_green.tif"), None, None]
    assert (found.lacks, found.unlisted) == ({1: ("_green",)}, ("c",))
    assert found.absent.tolist() == [False, False, True]


def test_links_are_followed_once(tmp_path):
    outside = touch(tmp_path / "disk", "a.tif")
    root = touch(tmp_path / "data", "t/b.tif")
    (root / "t" / "more").symlink_to(outside)
    (root / "t" / "c.tif").symlink_to(root / "t" / "b.tif")
    (root / "t" / "loop").symlink_to(root / "t")
    (outside / "loop").symlink_to(root)
    (root / "t" / "nowhere").symlink_to(tmp_path / "gone")
    (root / "t" / "round").symlink_to(root / "t" / "round")
    found = sorted(place + stem + ending for place, stem, ending in image_files(root))
    assert found == ["t/b.tif", "t/c.tif", "t/more/a.tif"]
    # The same where the folder is itself a link, from which a link leads up again.
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "t").symlink_to(root / "t")
    (root / "t" / "up").symlink_to(root)
    assert [stem for _, stem, _ in sorted(image_files(tmp_path / "given", "t"))] == ["b", "c", "a"]


def test_what_two_links_lead_to_is_walked_once(tmp_path):
    touch(tmp_path / "far", "part/a.tif", "b.tif")
    root = touch(tmp_path / "data")
    root.mkdir()
    (root / "part").symlink_to(tmp_path / "far" / "part")
    (root / "all").symlink_to(tmp_path / "far")
    assert sorted(stem for _, stem, _ in image_files(root)) == ["a", "b"]


def test_the_folder_of_a_table(tmp_path):
    assert base_of(tmp_path / "nothing", "train.csv") == tmp_path / "nothing"
    assert base_of(tmp_path, "train.csv") == tmp_path
    touch(tmp_path, "top/inner/train.csv", ".kit/train.csv", "__MACOSX/train.csv", "top/inner/train/a.tif")
    assert base_of(tmp_path, "train.csv") == tmp_path / "top" / "inner"
    touch(tmp_path, "other/inner/train.csv")
    with pytest.raises(KitError, match=r"are both there: move one"):
        base_of(tmp_path, "train.csv")
    touch(tmp_path, "train.csv")
    assert base_of(tmp_path, "train.csv") == tmp_path


def test_endings_are_those_of_images_alone():
    assert [bare(name) for name in ("a.tif", "a.TIFF", "a.b.jpg", "a.csv", "v1.2", "a")] == [
        "a",
        "a",
        "a.b",
        "a.csv",
        "v1.2",
        "a",
    ]
    ids = pd.Series(["a", "b.csv"])
    assert without_ending(ids) is ids


def histopathology(root: Path, images: list[str], ids: list[str]) -> Path:
    for name, rows in (("train_labels", ids), ("sample_submission", ["x"])):
        root.mkdir(exist_ok=True)
        (root / f"{name}.csv").write_text("id,label\n" + "".join(f"{id_},{n % 2}\n" for n, id_ in enumerate(rows)))
    return touch(root, "test/x.tif", *images)


@pytest.mark.parametrize(
    ("images", "ids", "said"),
    [
        (["train/a1.dcm", "train/b2.dcm"], ["a1", "b2"], "2 files *.dcm in train, such as 'train/a1.dcm'"),
        (["train/a1.dcm", "train/b2.dcm"], ["a1", "b2"], ".dcm is not one of .png, .tif"),
        (["train/x_a1.tif", "train/x_b2.tif"], ["a1.tif", "b2.tif"], "its name has 'x_' beside the id"),
        (["train/x.tif", "train/train/y.tif"], ["a1", "b2"], "1 file *.tif in train/train"),
        (["train/x.tif"], ["a1"], "1 ids of train_labels.csv without an image, such as 'a1'"),
        (["train/x.tif"], ["a1"], "1 images in train/ that train_labels.csv lacks, such as 'x'"),
        (["train/x.tif"], ["a1"], "its name has no such id"),
        (["train/a1.tif"], ["A1"], "it has other capitals than the id"),
        (["train/a1.tif"], [], "no row of a table names it"),
        (["train/readme.txt"], ["a1"], "1 file *.txt in train"),
        (["Train_images/a1.tif"], ["a1"], "train is not there (there: 1 file *.tif in Train_images"),
        (["Train_images/a1.tif"], ["a1"], ": kit download histopathology --from ARCHIVE.zip provides it"),
        (["Train_images/a1.tif"], ["a1"], "1 file *.tif in Train_images"),
    ],
)
def test_where_nothing_fits_it_is_said_what_is_there(tmp_path, images, ids, said):
    root = histopathology(tmp_path / "d", images, ids)
    with pytest.raises(KitError) as refused:
        check_samples(Registry().datasets.get("histopathology").index(root))
    assert said in str(refused.value)
    assert len(str(refused.value)) < 700


@pytest.mark.parametrize("column", ["target", "group"])
def test_an_id_with_two_values_is_refused(tmp_path, column):
    from dataclasses import replace

    root = histopathology(tmp_path / "d", ["train/a.tif", "train/b.tif"], ["a", "b"])
    index = Registry().datasets.get("histopathology").index(root)
    twice = pd.concat([index.train, index.train]).assign(group="g").reset_index(drop=True)
    check_samples(replace(index, train=twice))
    twice.loc[3, column] = 0 if column == "target" else "h"
    with pytest.raises(KitError, match=f"the id b has two different values of {column}"):
        check_samples(replace(index, train=twice))
