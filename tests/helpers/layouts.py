"""Folders in the layouts of competitions, with tiny images: what `kit adapt` is to read.

Each builder writes a folder; `LAYOUTS` says what is right for it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from helpers.drawn_layouts import image, table, zipped
from helpers.more_layouts import MORE
from helpers.stranger_layouts import STRANGER

TRAIN, TEST = 24, 6


@dataclass(frozen=True)
class Layout:
    """A folder and what is right for it: values of the proposal by key; for `classes` their number."""

    build: Callable[[Path], None]
    right: dict[str, Any] = field(default_factory=dict)
    missing: str = ""


def cactus(root: Path, packed: bool = False) -> None:
    names = [f"{number:032x}.jpg" for number in range(1, TRAIN + TEST + 1)]
    for number, name in enumerate(names):
        image(root / ("train" if number < TRAIN else "test") / name, number % 3 / 2)
    table(root / "train.csv", ({"id": name, "has_cactus": int(n % 3 > 0)} for n, name in enumerate(names[:TRAIN])))
    table(root / "sample_submission.csv", ({"id": name, "has_cactus": 0.5} for name in names[TRAIN:]))
    if packed:
        zipped(root / "train")
        zipped(root / "test")


def aptos(root: Path) -> None:
    for number in range(TRAIN + TEST):
        image(root / ("train_images" if number < TRAIN else "test_images") / f"{number:012x}.png", number % 5 / 4)
    table(root / "train.csv", ({"id_code": f"{n:012x}", "diagnosis": n % 5} for n in range(TRAIN)))
    tests = [f"{n:012x}" for n in range(TRAIN, TRAIN + TEST)]
    table(root / "test.csv", ({"id_code": each} for each in tests))
    table(root / "sample_submission.csv", ({"id_code": each, "diagnosis": 0} for each in tests))


def denoising(root: Path) -> None:
    for number in range(8):
        image(root / "train" / f"{number}.png", 0.5, "L")
        image(root / "train_cleaned" / f"{number}.png", 0.9, "L")
    for number in range(8, 12):
        image(root / "test" / f"{number}.png", 0.5, "L")
    rows = [{"id": f"8_{y}_{x}", "value": 1} for y in range(1, 6) for x in range(1, 6)]
    table(root / "sampleSubmission.csv", rows)


BREEDS = [f"breed_{number:03d}" for number in range(20)]


def dog_breed(root: Path) -> None:
    for number in range(40):
        image(root / "train" / f"{number:032x}.jpg", number % 20 / 20)
    table(root / "labels.csv", ({"id": f"{n:032x}", "breed": BREEDS[n % 20]} for n in range(40)))
    for number in range(90, 96):
        image(root / "test" / f"{number:032x}.jpg")
    rows = [{"id": f"{n:032x}", **dict.fromkeys(BREEDS, 1 / 20)} for n in range(90, 96)]
    table(root / "sample_submission.csv", rows)


def dogs_cats(root: Path) -> None:
    for number in range(12):
        for at, kind in enumerate(("cat", "dog")):
            image(root / "train" / f"{kind}.{number}.jpg", at)
    for number in range(1, 7):
        image(root / "test" / f"{number}.jpg")
    table(root / "sample_submission.csv", ({"id": n, "label": 0.5} for n in range(1, 7)))


def histo(root: Path) -> None:
    for number in range(TRAIN + TEST):
        image(root / ("train" if number < TRAIN else "test") / f"{number:040x}.tif", number % 2)
    table(root / "train_labels.csv", ({"id": f"{n:040x}", "label": n % 2} for n in range(TRAIN)))
    table(root / "sample_submission.csv", ({"id": f"{n:040x}", "label": 0} for n in range(TRAIN, TRAIN + TEST)))


LEAVES = [f"Acer_Species{number}" for number in range(9)]


def leaf(root: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(1, 37):
        image(root / "images" / f"{number}.jpg", number % 9 / 9, "L")
    columns = [f"{kind}{number}" for kind in ("margin", "shape", "texture") for number in range(1, 65)]
    numbers = {n: dict(zip(columns, random.random(192).round(6), strict=True)) for n in range(1, 37)}
    train, test = range(1, 28), range(28, 37)
    table(root / "train.csv", ({"id": n, "species": LEAVES[n % 9], **numbers[n]} for n in train))
    table(root / "test.csv", ({"id": n, **numbers[n]} for n in test))
    table(root / "sample_submission.csv", ({"id": n, **dict.fromkeys(LEAVES, 1 / 9)} for n in test))
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        zipped(root / name)


STATES = ("healthy", "multiple_diseases", "rust", "scab")


def plant_2020(root: Path) -> None:
    for number in range(TRAIN):
        image(root / "images" / f"Train_{number}.jpg", number % 4 / 4)
        image(root / "images" / f"Test_{number}.jpg", number % 4 / 4)
    rows = [{"image_id": f"Train_{n}", **{name: int(n % 4 == at) for at, name in enumerate(STATES)}} for n in range(24)]
    table(root / "train.csv", rows)
    table(root / "test.csv", ({"image_id": f"Test_{n}"} for n in range(24)))
    table(root / "sample_submission.csv", ({"image_id": f"Test_{n}", **dict.fromkeys(STATES, 0.25)} for n in range(24)))


TUBES = (
    "ETT - Abnormal",
    "ETT - Borderline",
    "ETT - Normal",
    "NGT - Abnormal",
    "NGT - Borderline",
    "NGT - Incompletely Imaged",
    "NGT - Normal",
    "CVC - Abnormal",
    "CVC - Borderline",
    "CVC - Normal",
    "Swan Ganz Catheter Present",
)


def ranzcr(root: Path) -> None:
    uid = "1.2.826.0.1.3680043.8.498.{:020d}"
    random = np.random.default_rng(1)
    for number in range(TRAIN + TEST):
        image(root / ("train" if number < TRAIN else "test") / f"{uid.format(number)}.jpg", 0.4, "L")
    rows = [
        {
            "StudyInstanceUID": uid.format(n),
            **dict(zip(TUBES, random.integers(0, 2, 11), strict=True)),
            "PatientID": f"{n // 3:09x}",
        }
        for n in range(TRAIN)
    ]
    table(root / "train.csv", rows)
    notes = [{"StudyInstanceUID": uid.format(n), "label": TUBES[n % 11], "data": "[[1, 2], [3, 4]]"} for n in range(8)]
    table(root / "train_annotations.csv", notes)
    rows = [{"StudyInstanceUID": uid.format(n), **dict.fromkeys(TUBES, 0)} for n in range(TRAIN, TRAIN + TEST)]
    table(root / "sample_submission.csv", rows)
    for folder in ("train_tfrecords", "test_tfrecords"):
        (root / folder).mkdir()
        (root / folder / "00-5.tfrec").write_bytes(b"x" * 20)


def melanoma(root: Path) -> None:
    for number in range(TRAIN + TEST):
        split = "train" if number < TRAIN else "test"
        image(root / "jpeg" / split / f"ISIC_{number:07d}.jpg", number % 4 == 0)
        (root / split).mkdir(exist_ok=True)
        (root / split / f"ISIC_{number:07d}.dcm").write_bytes(b"\0" * 128 + b"DICM")
    shared = [
        {
            "image_name": f"ISIC_{n:07d}",
            "patient_id": f"IP_{n // 3:07d}",
            "sex": ("male", "female", "")[n % 3],
            "age_approx": 5.0 * (n % 9 + 3),
            "anatom_site_general_challenge": ("torso", "head/neck")[n % 2],
        }
        for n in range(TRAIN + TEST)
    ]
    rows = [
        {
            **row,
            "diagnosis": ("nevus", "unknown", "melanoma")[n % 3] if n % 4 else "melanoma",
            "benign_malignant": "malignant" if n % 4 == 0 else "benign",
            "target": int(n % 4 == 0),
        }
        for n, row in enumerate(shared[:TRAIN])
    ]
    table(root / "train.csv", rows)
    table(root / "test.csv", shared[TRAIN:])
    table(root / "sample_submission.csv", ({"image_name": row["image_name"], "target": 0} for row in shared[TRAIN:]))
    (root / "tfrecords").mkdir()
    (root / "tfrecords" / "train00-2071.tfrec").write_bytes(b"x" * 20)


def whale(root: Path) -> None:
    ids = ["new_whale", *(f"w_{number:07x}" for number in range(9))]
    for number in range(40):
        image(root / "train" / f"{number:08x}.jpg", number % 10 / 10)
    table(root / "train.csv", ({"Image": f"{n:08x}.jpg", "Id": ids[n % 10]} for n in range(40)))
    for number in range(80, 86):
        image(root / "test" / f"{number:08x}.jpg")
    table(root / "sample_submission.csv", ({"Image": f"{n:08x}.jpg", "Id": " ".join(ids[:5])} for n in range(80, 86)))


LAYOUTS: dict[str, Layout] = {
    "cactus": Layout(
        cactus,
        {
            "task": "binary",
            "id": "id",
            "target": "has_cactus",
            "classes": 2,
            "group": None,
            "metric": "roc_auc",
            "train": 24,
            "test": 6,
        },
    ),
    "cactus-zips": Layout(
        lambda root: cactus(root, True), {"task": "binary", "target": "has_cactus", "train": 24, "test": 6}
    ),
    "aptos": Layout(
        aptos,
        {
            "task": "ordinal",
            "id": "id_code",
            "target": "diagnosis",
            "classes": 5,
            "group": None,
            "metric": "quadratic_kappa",
            "train": 24,
            "test": 6,
        },
    ),
    "denoising": Layout(denoising, missing="image to image"),
    "dog-breed": Layout(
        dog_breed,
        {
            "task": "multiclass",
            "id": "id",
            "target": "breed",
            "classes": 20,
            "group": None,
            "metric": "log_loss",
            "train": 40,
            "test": 6,
        },
    ),
    "dogs-cats": Layout(
        dogs_cats, {"task": "binary", "target": "file name", "classes": 2, "metric": "log_loss", "train": 24, "test": 6}
    ),
    "tissue": Layout(
        histo,
        {"task": "binary", "id": "id", "target": "label", "classes": 2, "metric": "roc_auc", "train": 24, "test": 6},
    ),
    "leaf": Layout(
        leaf,
        {
            "task": "multiclass",
            "id": "id",
            "target": "species",
            "classes": 9,
            "metric": "log_loss",
            "train": 27,
            "test": 9,
        },
    ),
    "plant-2020": Layout(
        plant_2020,
        {
            "task": "multiclass",
            "id": "image_id",
            "target": list(STATES),
            "classes": 4,
            "metric": "mean_column_auc",
            "train": 24,
            "test": 24,
        },
    ),
    "ranzcr": Layout(
        ranzcr,
        {
            "task": "multilabel",
            "id": "StudyInstanceUID",
            "target": list(TUBES),
            "classes": 11,
            "group": "PatientID",
            "metric": "mean_column_auc",
            "train": 24,
            "test": 6,
        },
    ),
    "melanoma": Layout(
        melanoma,
        {
            "task": "binary",
            "id": "image_name",
            "target": "target",
            "classes": 2,
            "group": "patient_id",
            "metric": "roc_auc",
            "train": 24,
            "test": 6,
        },
    ),
    "whale": Layout(
        whale,
        {
            "task": "multiclass",
            "id": "Image",
            "target": "Id",
            "classes": 10,
            "group": None,
            "metric": "map_at_5",
            "train": 40,
            "test": 6,
        },
    ),
    **{name: Layout(*each) for name, each in (MORE | STRANGER).items()},
}
