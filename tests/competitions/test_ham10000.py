"""HAM10000's data: every layout in which it lies on disks, lesions, metadata, external images."""

import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from helpers import ROOT
from helpers.ham10000_files import HEADER, IDS, ROWS, TESTS, image, metadata, parts
from helpers.kaggle_server import KaggleServer
from kit.data.folds import groups_spanning_folds, largest_deviation, make_folds, read_folds
from kit.errors import KitError
from kit.kaggle import retry
from kit_ham10000.dataset import CLASSES, index


def twice(root: Path) -> None:
    parts(root)
    for folder in ("part_1", "part_2"):
        shutil.copytree(root / f"HAM10000_images_{folder}", root / f"ham10000_images_{folder}")


def one_folder(root: Path) -> None:
    for id_ in IDS:
        image(root / "all" / f"{id_}.JPG")


def beside_the_csv(root: Path) -> None:
    for id_ in IDS:
        image(root / f"{id_}.png")


def sizes_mixed(root: Path) -> None:
    for number, id_ in enumerate(IDS):
        image(root / f"{id_}.jpg", (600, 450) if number else (224, 224))


@pytest.fixture
def root(tmp_path) -> Path:
    metadata(tmp_path / "ham")
    return tmp_path / "ham"


@pytest.mark.parametrize("layout", [parts, twice, one_folder, beside_the_csv, sizes_mixed])
def test_every_layout_is_found(root, layout):
    layout(root)
    for id_ in TESTS:
        image(root / "ISIC2018_Task3_Test_Input" / f"{id_}.jpg")
    (root / "ISIC2018_Task3_Test_Input" / "ATTRIBUTION.txt").touch()
    found = index(root)
    assert found.train["id"].tolist() == IDS
    assert [found.classes[number] for number in found.train["target"]] == ["mel", "mel", "nv", "vasc"]
    assert found.test["id"].tolist() == sorted(TESTS)
    assert all((root / files[0]).is_file() for frame in (found.train, found.test) for files in frame["files"])
    assert found.train["group"].tolist() == ["HAM_1", "HAM_1", "HAM_2", "HAM_3"]
    assert not any(found.missing.values())
    assert found.class_counts() == {name: {"mel": 2, "nv": 1, "vasc": 1}.get(name, 0) for name in CLASSES}


def test_what_does_not_fit_is_named(root):
    parts(root)
    next(root.rglob("ISIC_0000002.jpg")).unlink()
    image(root / "HAM10000_images_part_1" / "ISIC_0009999.jpg")
    with (root / "HAM10000_metadata.csv").open("a") as file:
        file.write(ROWS[0] + "\n")
    found = index(root)
    assert found.train["id"].tolist() == ["ISIC_0000003", "ISIC_0000001", "ISIC_0000004"]
    assert list(found.missing.values()) == [("ISIC_0000002",), ("ISIC_0009999",), ("ISIC_0000003",)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "HAM10000_metadata.csv is not there"),
        (HEADER + "HAM_1,ISIC_0000001,mole,histo,1,male,back\n", "'mole' of ISIC_0000001 is not one of mel, nv"),
        ("image_id,dx\n", "no column 'lesion_id'"),
    ],
)
def test_a_wrong_table_is_a_line(tmp_path, content, said):
    image(tmp_path / "ISIC_0000001.jpg")
    if content:
        (tmp_path / "HAM10000_metadata.csv").write_text(content)
    with pytest.raises(KitError, match=said):
        index(tmp_path)


def test_the_second_input_is_age_sex_and_site(root):
    parts(root)
    image(root / "ISIC2018_Task3_Test_Input" / "ISIC_0034524.jpg")
    image(root / "ISIC2018_Task3_Test_Input" / "ISIC_0034525.jpg")
    found = index(root)
    table = found.train.set_index("id")[list(found.metadata)]
    assert len(found.metadata) == 2 + 2 + 14
    assert table.loc["ISIC_0000003"][lambda row: row != 0].to_dict() == {
        "input_age": 1.0,
        "input_age_known": 1.0,
        "input_male": 1.0,
        "input_back": 1.0,
    }
    assert not table.loc["ISIC_0000002"].any()
    assert table.loc["ISIC_0000004"]["input_lower_extremity"] == 1
    assert not found.test[list(found.metadata)].to_numpy().any()
    (root / "ISIC2018_Task3_Test_Metadata.csv").write_text(
        "image_id,age,sex,localization\nISIC_0034525,30,female,face\n"
    )
    known = index(root).test.set_index("id")[list(found.metadata)]
    assert known.loc["ISIC_0034525"][lambda row: row != 0].to_dict() == {
        "input_age": -1.0,
        "input_age_known": 1.0,
        "input_female": 1.0,
        "input_face": 1.0,
    }
    assert not known.loc["ISIC_0034524"].any()


def test_extra_images_come_in_both_published_forms(root, tmp_path):
    parts(root)
    image(root / "ISIC2018_Task3_Test_Input" / f"{TESTS[0]}.jpg")
    found, more = index(root), tmp_path / "more"
    image(more / "input" / "ISIC_0034321.jpg")
    from kit_ham10000.dataset import external

    (more / "truth.csv").parent.mkdir(exist_ok=True)
    (more / "truth.csv").write_text(
        f"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_0034321,0,0,1,0,0,0,0\n{TESTS[0]},.1,.2,.1,.1,.1,.3,.1\n"
    )
    frame = external(more, found)
    assert frame["id"].tolist() == ["ISIC_0034321", TESTS[0]]
    assert [CLASSES[number] for number in frame["target"]] == ["bcc", "df"]
    assert all((root / files[0]).is_file() for files in frame["files"])
    (more / "truth.csv").write_text("image_id,dx,age,sex,localization\nISIC_0034321,bcc,70,male,back\n")
    frame = external(more / "truth.csv", found)
    assert set(found.metadata) <= set(frame)
    assert frame["input_age"].tolist() == [1.0]
    (more / "truth.csv").write_text("image_id,dx\nISIC_0000009,bcc\n")
    with pytest.raises(KitError, match="1 of 1 ids have no image"):
        external(more, found)
    (more / "other.csv").touch()
    with pytest.raises(KitError, match="holds 2 csv files"):
        external(more, found)


def zipped(path: Path, folder: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for source in sorted(folder.rglob("*")):
            if source.is_file():
                file.write(source, prefix + source.relative_to(folder).as_posix())
    return path


@pytest.fixture
def published(tmp_path) -> dict[str, Path]:
    """The files as the Dataverse and the challenge give them: flat parts, a plain csv, the test in its folder."""
    for number, id_ in enumerate(IDS):
        image(tmp_path / f"part_{1 + number % 2}" / f"{id_}.jpg", level=50 + number)
    for id_ in TESTS:
        image(tmp_path / "test" / f"{id_}.jpg", level=200)
    metadata(tmp_path / "published")
    files = {
        f"part{number}": zipped(tmp_path / f"HAM10000_images_part_{number}.zip", tmp_path / f"part_{number}")
        for number in (1, 2)
    }
    test = zipped(tmp_path / "ISIC2018_Task3_Test_Input.zip", tmp_path / "test", "ISIC2018_Task3_Test_Input/")
    return {**files, "test": test, "metadata": tmp_path / "published" / "HAM10000_metadata.csv"}


def test_archives_are_given_together_or_added(kit, published):
    sources = [word for name in ("part1", "part2", "metadata") for word in ("--from", published[name])]
    first = kit("download", "ham10000", *sources, "--json").json
    assert (first["train"], first["test"], first["written"]) == (4, 0, 5)
    root = Path(first["folder"])
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))[0].startswith("HAM10000_images_pa")
    assert kit("download", "ham10000", *sources, "--json").json["changed"] is False
    assert "holds other data" in kit("download", "ham10000", "--from", published["test"], code=2).err
    kit("folds", "ham10000", "--folds", 3)
    more = ("--add", "--from", published["test"])
    added = kit("download", "ham10000", *more, "--json").json
    assert (added["train"], added["test"], added["written"], added["removed"]) == (4, 2, 2, 0)
    assert (root / ".kit/folds/3.csv").is_file(), "what was computed from the earlier data stays"
    assert kit("download", "ham10000", *more, "--json").json["changed"] is False
    again = kit("download", "ham10000", "--add", "--from", published["test"], "--force", "--json").json
    assert again["source"].count("ISIC2018") == 1
    listed = (root / ".kit/files.txt").read_text().splitlines()[1:]
    assert len(listed) == len(set(listed)) == 7
    together = kit("download", "ham10000", "--force", *sources, "--from", published["test"], "--json").json
    assert (together["train"], together["test"]) == (4, 2)


def test_nothing_is_added_to_nothing(kit, published):
    assert "no complete real data" in kit("download", "ham10000", "--add", "--from", published["test"], code=2).err
    assert "--from ARCHIVE" in kit("download", "ham10000", "--add", code=2).err


def test_an_addition_that_was_interrupted_goes_on(kit, published, monkeypatch):
    from kit.archives import nested

    sources = [word for name in ("part1", "part2", "metadata") for word in ("--from", published[name])]
    kit("download", "ham10000", *sources)

    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nested.Plan, "write", killed)
        kit("download", "ham10000", "--add", "--from", published["test"], code=130)
    assert "holds other data" in kit("download", "ham10000", "--from", published["test"], code=2).err
    assert kit("info", "ham10000", "--json").json["data"]["state"] == "archive", "the data of before is still whole"
    added = kit("download", "ham10000", "--add", "--from", published["test"], "--json").json
    assert (added["train"], added["test"], added["written"]) == (4, 2, 2)
    assert added["source"].count("ISIC2018") == 1


def test_kaggle_dataset_arrives_and_takes_the_test_beside_it(kit, published, tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    folder = tmp_path / "kaggle"
    metadata(folder)
    parts(folder)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with KaggleServer(tmp_path) as server:
        server.add_dataset("kmader/skin-cancer-mnist-ham10000", files)
        server.connect(monkeypatch)
        first = kit("download", "ham10000", "--json").json
        assert (first["origin"], first["train"], first["test"]) == ("kaggle", 4, 0)
        added = kit("download", "ham10000", "--add", "--from", published["test"], "--json").json
        assert (added["origin"], added["train"], added["test"]) == ("kaggle", 4, 2)
        assert kit("download", "ham10000", "--json").json["changed"] is False


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    """The whole real metadata, each image a link to one."""
    table = ROOT.parent / "shared/data/HAM10000_metadata_full.csv"
    if not table.is_file():
        pytest.skip("the real metadata is absent")
    root = tmp_path_factory.mktemp("full")
    shutil.copy(table, root / "HAM10000_metadata.csv")
    image(root / "one.jpg")
    for part in (1, 2):
        (root / f"HAM10000_images_part_{part}").mkdir()
    for number, id_ in enumerate(pd.read_csv(table)["image_id"]):
        (root / f"HAM10000_images_part_{1 + number % 2}" / f"{id_}.jpg").hardlink_to(root / "one.jpg")
    return root


@pytest.mark.parametrize("count", [3, 5, 10])
def test_folds_of_the_full_metadata_keep_lesions_together(full, count):
    found = index(full)
    assert (len(found.train), found.train["group"].nunique()) == (10_015, 7_470)
    assert found.class_counts() == {
        "mel": 1113,
        "nv": 6705,
        "bcc": 514,
        "akiec": 327,
        "bkl": 1099,
        "df": 115,
        "vasc": 142,
    }
    folds = make_folds(found, count, 0)
    fold = pd.Series(folds.of(found.train))
    table = pd.read_csv(full / "HAM10000_metadata.csv")
    assert (fold.groupby(table["lesion_id"]).nunique() == 1).all()
    assert groups_spanning_folds(found, folds) == 0
    assert abs(largest_deviation(found, folds).relative) < 0.06
    assert fold.value_counts().max() - fold.value_counts().min() <= 10
    again = full / f"{count}.csv"
    again.write_bytes(folds.csv())
    assert groups_spanning_folds(found, read_folds(again, folds.facts)) == 0
    random = make_folds(found.__class__(**{**vars(found), "grouped_by": ""}), count, 0)
    assert groups_spanning_folds(found, random) > 1000


def test_check_says_what_a_random_split_would_leak(full):
    from kit.data.check import _random_split

    (check,) = _random_split(index(full))
    table = pd.read_csv(full / "HAM10000_metadata.csv")
    alike = int((table.groupby("lesion_id")["image_id"].transform("size") > 1).sum())
    assert f"({alike:,} ids share theirs)" in check.result
    leaking = int(check.result.split(" of ")[0].replace(",", ""))
    # A mate stands in another of five folds in 4 of 5 cases or more.
    assert 0.8 * alike < leaking < alike
    assert check.ok


def broken(path: Path, good: Path) -> Path:
    """An archive like another, of which one byte of an image is wrong."""
    content = bytearray(good.read_bytes())
    place = content.rindex(b"\xff\xd9")  # where its last JPEG ends
    content[place - 40] ^= 0xFF
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("wrong", ["damaged", "of another kind"])
def test_an_addition_that_fails_leaves_the_data_as_it_was(kit, published, tmp_path, wrong):
    sources = [word for name in ("part1", "part2", "metadata") for word in ("--from", published[name])]
    root = Path(kit("download", "ham10000", *sources, "--json").json["folder"])
    kit("folds", "ham10000", "--folds", 3)

    def state() -> dict[str, bytes]:
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.name not in ("lock", "origin.json")
        }

    before, origin = state(), kit("info", "ham10000", "--json").json["data"]
    if wrong == "damaged":
        archive = broken(tmp_path / "ISIC2018_Task3_Test_Input_2.zip", published["test"])
    else:
        # A table about the test that can't be read.
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "test.csv").write_text('"image_id')
        archive = zipped(tmp_path / "other.zip", tmp_path / "other", "other/")
    failed = kit("download", "ham10000", "--add", "--from", archive, code=2)
    assert len(failed.err.strip().splitlines()) == 1
    assert state() == before
    assert kit("info", "ham10000", "--json").json["data"] == origin
    added = kit("download", "ham10000", "--add", "--from", published["test"], "--json").json
    assert (added["train"], added["test"]) == (4, 2)
