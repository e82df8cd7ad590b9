"""The miniature of HAM10000: layout, lesions of several images, kinds that can be told, a truth that is hidden."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import kit_ham10000
from kit import testing
from kit_ham10000 import miniature
from kit_ham10000.dataset import CLASSES, SITES

SPEC = kit_ham10000.kit_datasets()[0]
FACTS = ["dx", "dx_type", "age", "sex", "localization"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample of seed 0; tests only read it."""
    root = tmp_path_factory.mktemp("ham10000")
    miniature.write_miniature(root, 0)
    return root


@pytest.fixture(scope="module")
def metadata(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "HAM10000_metadata.csv")


def small(root: Path, ids: pd.Series) -> np.ndarray:
    """Images as nx(12x16x3), decoded and averaged down by Pillow, without their mean colour and contrast."""
    found = {path.stem: path for path in root.glob("HAM10000_images_part_*/*.jpg")}
    pixels = [np.asarray(Image.open(found[id_]).resize((16, 12), Image.Resampling.BOX), np.float64) for id_ in ids]
    flat = np.array([(image - image.mean((0, 1))).ravel() for image in pixels])
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_it_has_the_real_layout(folder: Path, metadata: pd.DataFrame) -> None:
    parts = ["HAM10000_images_part_1", "HAM10000_images_part_2"]
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*parts, "HAM10000_metadata.csv", "ISIC2018_Task3_Test_Input"]
    assert list(metadata) == ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    first, second = (sorted(path.stem for path in (folder / part).iterdir()) for part in parts)
    assert (len(first), len(second)) == (136, 136)
    assert max(first) < min(second)
    assert sorted(metadata["image_id"]) == first + second
    assert metadata["image_id"].tolist() != first + second
    assert metadata["image_id"].str.fullmatch(r"ISIC_00\d{5}").all()
    assert metadata["lesion_id"].str.fullmatch(r"HAM_\d{7}").all()
    for path in list(folder.rglob("*.jpg"))[::40]:
        with Image.open(path) as image:
            assert (image.size, image.mode, image.format) == ((64, 48), "RGB", "JPEG")


def test_the_index_takes_all_of_it(folder: Path) -> None:
    index = SPEC.index(folder)
    assert not any(index.missing.values())
    assert (len(index.train), len(index.test)) == (272, 70)
    assert index.class_counts() == {"mel": 30, "nv": 129, "bcc": 24, "akiec": 21, "bkl": 32, "df": 18, "vasc": 18}


def test_images_share_their_lesions_as_often_as_in_reality(metadata: pd.DataFrame) -> None:
    lesions = metadata.groupby("lesion_id")
    sizes = lesions["image_id"].count()
    assert sizes.value_counts().sort_index().to_dict() == {1: 146, 2: 38, 3: 14, 4: 2}
    shared = metadata["lesion_id"].map(sizes) > 1
    assert shared.mean() == pytest.approx(0.449, abs=0.03)
    assert (lesions[FACTS].nunique(dropna=False) == 1).all(axis=None)


def test_what_is_unknown_is_written_as_in_reality(metadata: pd.DataFrame) -> None:
    lesions = metadata.drop_duplicates("lesion_id")
    assert lesions["age"].isna().sum() == 6
    assert (lesions["sex"] == "unknown").sum() == 4
    assert (lesions["localization"] == "unknown").sum() == 6
    assert set(lesions["sex"]) == {"female", "male", "unknown"}
    assert set(lesions["localization"]) <= {*SITES, "unknown"}
    ages = lesions["age"].dropna()
    assert (ages % 5 == 0).all()
    assert ages.between(0, 85).all()
    assert set(lesions["dx_type"]) == {"histo", "follow_up", "consensus", "confocal"}


def test_age_and_site_follow_the_kind() -> None:
    """Over ten miniatures; means and shares are those of the real metadata, ages cut off at 0 and 85."""
    drawn = pd.concat([miniature.draw_metadata(np.random.default_rng(seed)) for seed in range(10)])
    real = {"mel": 61, "nv": 46, "bcc": 67, "akiec": 67, "bkl": 64, "df": 53, "vasc": 51}
    age = drawn.groupby("dx")["age"].mean()
    assert age.to_dict() == pytest.approx(real, abs=5)
    on_leg = (drawn["localization"] == "lower extremity").groupby(drawn["dx"]).mean()
    assert on_leg.idxmax() == "df"
    assert on_leg["df"] == pytest.approx(0.71 / 0.92, abs=0.1)
    in_face = (drawn["localization"] == "face").groupby(drawn["dx"]).mean()
    assert in_face[["akiec", "bkl"]].min() > 0.25 > in_face["mel"]
    assert in_face["nv"] == 0


def test_the_truth_of_the_test_part_is_hidden_and_known(folder: Path) -> None:
    truth = miniature.test_truth(0)
    assert list(truth) == ["image_id", "dx"]
    assert truth["image_id"].tolist() == SPEC.index(folder).test["id"].tolist()
    assert truth["dx"].value_counts().to_dict() == {
        "nv": 30,
        "mel": 10,
        "bkl": 10,
        "bcc": 7,
        "akiec": 5,
        "df": 4,
        "vasc": 4,
    }
    assert truth.equals(miniature.test_truth(0))
    assert not truth.equals(miniature.test_truth(1))
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file() and path.suffix != ".jpg"]
    assert not any(truth["image_id"].iat[0] in text for text in texts)


def test_images_of_a_lesion_are_alike_and_not_equal(folder: Path, metadata: pd.DataFrame) -> None:
    images = small(folder, metadata["image_id"])
    alike = images @ images.T
    np.fill_diagonal(alike, -1)
    lesion = metadata["lesion_id"].to_numpy()
    one = (lesion[:, None] == lesion) & ~np.eye(len(lesion), dtype=bool)
    kind = metadata["dx"].to_numpy()
    others = (kind[:, None] == kind) & (lesion[:, None] != lesion)
    assert np.median(alike[one]) > np.median(alike[others]) + 0.08
    assert alike[one].max() < 0.999
    nearest = lesion[alike.argmax(1)] == lesion
    assert nearest[one.any(1)].mean() > 0.5  # of two hundred lesions


def features(rgb: np.ndarray) -> np.ndarray:
    """Colour of the middle and of its brighter and darker parts, against that of the rim; edges."""
    image = rgb.astype(np.float64)
    skin = np.median(np.concatenate([image[:5].reshape(-1, 3), image[-5:].reshape(-1, 3)]), axis=0)
    middle = image[14:34, 20:44].reshape(-1, 3) / skin
    grey = image.mean(2)
    edges = np.log(np.hypot(*np.gradient(grey))[8:40, 12:52].mean())
    return np.array([*middle.mean(0), *np.percentile(middle, 10, axis=0), *np.percentile(middle, 95, axis=0), edges])


def nearest_kind(learned: np.ndarray, kind: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """The kind whose mean is nearest, in units of the spread within kinds."""
    means = np.array([learned[kind == dx].mean(0) for dx in CLASSES])
    spread = (learned - means[[CLASSES.index(dx) for dx in kind]]).std(0)
    return np.array(CLASSES)[np.abs((judged[:, None] - means) / spread).sum(2).argmin(1)]


def recall(kind: np.ndarray, found: np.ndarray) -> float:
    return float(np.mean([(found[kind == dx] == dx).mean() for dx in CLASSES]))


def test_kinds_can_be_told_from_other_lesions_but_not_all() -> None:
    rng = np.random.default_rng(0)
    kind = np.repeat(CLASSES, 30)
    table = np.array([features(miniature.photograph(rng, miniature.draw_lesion(rng, dx))) for dx in kind])
    first = np.arange(len(kind)) % 30 < 20
    found = nearest_kind(table[first], kind[first], table[~first])
    assert 0.4 < recall(kind[~first], found) < 0.9  # chance is .143


def test_the_truth_is_that_of_the_images(folder: Path, metadata: pd.DataFrame) -> None:
    files = {path.stem: path for path in folder.rglob("*.jpg")}
    truth = miniature.test_truth(0)
    learned, judged = (
        np.array([features(np.asarray(Image.open(files[id_]))) for id_ in table["image_id"]])
        for table in (metadata, truth)
    )
    found = nearest_kind(learned, metadata["dx"].to_numpy(), judged)
    assert recall(truth["dx"].to_numpy(), found) > 0.4
    assert recall(miniature.test_truth(1)["dx"].to_numpy(), found) < 0.3


def test_folds_have_three_lesions_of_each_kind_and_a_random_split_leaks(kit: Callable[..., Any]) -> None:
    kit("download", "ham10000", "--miniature")
    from kit.data.store import Store
    from kit.hooks.registry import Registry

    root = Store.of(Registry(), "ham10000").root
    kit("folds", "ham10000", "--folds", 3, "--verify")
    train = SPEC.index(root).train.set_index("id")[["group", "target"]]
    leaking = []
    for ignore in ((), ("--ignore-groups",)):
        kit("folds", "ham10000", "--folds", 3, *ignore)
        folds = pd.read_csv(root / ".kit" / "folds" / "3.csv").set_index("id")["fold"]
        rows = train.assign(fold=folds)
        leaking.append(int((rows.groupby("group")["fold"].transform("nunique") > 1).sum()))
        if not ignore:
            assert rows.groupby(["fold", "target"])["group"].nunique().min() >= 3
    assert leaking[0] == 0
    assert leaking[1] > 80  # of 126 that share their lesion


def test_it_conforms_and_repeats(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(miniature, "LESIONS", dict.fromkeys(CLASSES, (2, 1, 0, 0)))
    monkeypatch.setattr(miniature, "TEST", dict.fromkeys(CLASSES, 1))
    index = testing.check_dataset(SPEC, tmp_path)
    testing.check_submission(kit_ham10000.kit_submissions()[0], index)
