"""HAM10000's files as people have them: the words of folders, the test's metadata under other names, litter."""

from pathlib import Path

import pytest

from helpers.ham10000_files import IDS, TESTS, image, metadata, parts
from kit_ham10000.dataset import index


@pytest.fixture
def root(tmp_path) -> Path:
    metadata(tmp_path / "ham")
    return tmp_path / "ham"


@pytest.mark.parametrize(
    ("folder", "is_test"),
    [
        *((name, True) for name in ("test", "Test", "ISIC2018_Task3_Test_Input", "HAM10000Test", "test2018")),
        *((name, False) for name in ("contest", "kaggle_contest", "latest", "Greatest", "protest/images")),
    ],
)
def test_folders_of_the_test_are_told_by_a_word(root, folder, is_test):
    parts(root)
    image(root / folder / "ISIC_0034524.jpg")
    assert (len(index(root).test) == 1) == is_test


def test_what_lies_around_the_metadata_does_not_count(tmp_path):
    root = tmp_path / "data" / "my test" / "ham"
    metadata(root)
    parts(root)
    image(root / "ISIC2018_Task3_Test_Input" / f"{TESTS[0]}.jpg")
    found = index(tmp_path / "data")
    assert (len(found.train), len(found.test)) == (4, 1)
    assert not any(found.missing.values())


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("image_id,age,sex,localization\n{0},30,male,back\n{1},50,female,face\n", 2),
        ("image_id,age,sex,localization\n{0}.jpg,30,male,back\n{1}.JPG,50,female,face\n", 2),
        ("isic_id,age_approx,sex,anatom_site_general\n{0},30,male,posterior torso\n{1},50,female,head/neck\n", 2),
        ("image;age_approx;sex;anatom_site_general\n{0};30;male;back\n", 1),
        ("image_id\tage\tsex\tlocalization\n{0}\t30\tmale\tback\n", 1),
        ("image_id,age,sex,localization\n{0},30,male,back,\n", 1),
    ],
)
def test_facts_of_the_test_come_under_either_name(root, text, known):
    parts(root)
    ids = [image(root / "Test_Input" / f"{id_}.jpg") or id_ for id_ in sorted(TESTS)]
    (root / "Test_Input" / "metadata.csv").write_text(text.format(*ids))
    found = index(root)
    assert found.test["input_age_known"].tolist() == [1.0] * known + [0.0] * (2 - known)
    assert (found.test["input_age"].iat[0], found.test["input_male"].iat[0], found.test["input_back"].iat[0]) == (
        -1,
        1,
        1,
    )
    assert not any(found.missing.values())


def test_facts_that_fit_nothing_are_lines_of_the_check(root):
    parts(root)
    image(root / "Test_Input" / f"{TESTS[0]}.jpg")
    rows = [f"{TESTS[0]},30,male,back", f"{TESTS[0]},40,male,back", f"{IDS[0]},30,male,back", "ISIC_1,30,male,moon"]
    (root / "Test_Input" / "facts.csv").write_text("\n".join(["image_id,age,sex,localization", *rows]) + "\n")
    assert {what: ids for what, ids in index(root).missing.items() if ids} == {
        "ids of Test_Input/facts.csv without an image": ("ISIC_1",),
        "duplicate ids in Test_Input/facts.csv": (f"{TESTS[0]} (30, male, back and 40, male, back)",),
        "sites in Test_Input/facts.csv that HAM10000 lacks": ("moon",),
    }


@pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.tab"])
def test_the_metadata_as_the_dataverse_gives_it(root, name):
    parts(root)
    text = (root / "HAM10000_metadata.csv").read_text()
    (root / "HAM10000_metadata.csv").unlink()
    (root / name).write_text(text.replace(",", "\t") if name.endswith(".tab") else text)
    assert index(root).train["id"].tolist() == IDS


def test_litter_is_no_table_and_no_image(root):
    parts(root)
    for name in ("._ISIC_0000003.jpg", "__MACOSX/Test_Input/._truth.csv", "__MACOSX/._ISIC_0000009.jpg", ".DS_Store"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0\5\x16\7\xff")
    found = index(root)
    assert (found.train["id"].tolist(), len(found.test)) == (IDS, 0)
    assert not any(found.missing.values())
