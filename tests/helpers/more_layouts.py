"""Further layouts of `helpers.layouts`: (builder, what is right, what is missing)."""

from pathlib import Path

import numpy as np

from helpers.drawn_layouts import image, table, write_json
from helpers.odd_layouts import (
    ages,
    bare_header,
    bleeding,
    coco,
    dicom,
    digits,
    folders_only,
    invasive,
    salt,
    semicolons,
    two_views,
    wheat,
)


def planet(root: Path) -> None:
    tags = ["clear primary", "haze primary water", "clear agriculture primary", "cloudy", "clear habitation road water"]
    for number in range(25):
        image(root / "train-jpg" / f"train_{number}.jpg", number % 5 / 5)
        image(root / "train-tif-v2" / f"train_{number}.tif", number % 5 / 5)
    for number in range(6):
        image(root / "test-jpg" / f"test_{number}.jpg")
    table(root / "train_v2.csv", ({"image_name": f"train_{n}", "tags": tags[n % 5]} for n in range(25)))
    table(root / "sample_submission_v2.csv", ({"image_name": f"test_{n}", "tags": "primary clear"} for n in range(6)))


SEEDLINGS = ("Black-grass", "Charlock", "Common Chickweed", "Common wheat", "Fat Hen", "Loose Silky-bent")


def seedlings(root: Path) -> None:
    for number in range(30):
        image(root / "train" / SEEDLINGS[number % 6] / f"{number:09x}.png", number % 6 / 6)
    for number in range(60, 66):
        image(root / "test" / f"{number:09x}.png")
    table(root / "sample_submission.csv", ({"file": f"{n:09x}.png", "species": "Fat Hen"} for n in range(60, 66)))


def state_farm(root: Path) -> None:
    rows = []
    for number in range(40):
        name = f"img_{number * 37}.jpg"
        image(root / "imgs" / "train" / f"c{number % 10}" / name, number % 10 / 10)
        rows.append({"subject": f"p{number // 8:03d}", "classname": f"c{number % 10}", "img": name})
    table(root / "driver_imgs_list.csv", rows)
    for number in range(1, 7):
        image(root / "imgs" / "test" / f"img_{number}.jpg")
    classes = dict.fromkeys([f"c{number}" for number in range(10)], 0.1)
    table(root / "sample_submission.csv", ({"img": f"img_{n}.jpg", **classes} for n in range(1, 7)))


def cassava(root: Path) -> None:
    for number in range(30):
        image(root / "train_images" / f"{1000015157 + number}.jpg", number % 5 / 5)
    image(root / "test_images" / "2216849948.jpg")
    names = ("Cassava Bacterial Blight (CBB)", "Brown Streak", "Green Mottle", "Mosaic Disease (CMD)", "Healthy")
    write_json(root / "label_num_to_disease_map.json", {str(number): name for number, name in enumerate(names)})
    table(root / "train.csv", ({"image_id": f"{1000015157 + n}.jpg", "label": n % 5} for n in range(30)))
    table(root / "sample_submission.csv", [{"image_id": "2216849948.jpg", "label": 4}])
    for folder in ("train_tfrecords", "test_tfrecords"):
        (root / folder).mkdir()
        (root / folder / "ld_train00-1338.tfrec").write_bytes(b"x")


def plant_2021(root: Path) -> None:
    labels = [
        "healthy",
        "scab",
        "scab frog_eye_leaf_spot",
        "complex",
        "rust",
        "rust frog_eye_leaf_spot",
        "frog_eye_leaf_spot",
        "scab frog_eye_leaf_spot complex",
    ]
    for number in range(32):
        image(root / "train_images" / f"{number:016x}.jpg", number % 8 / 8)
    for number in range(64, 67):
        image(root / "test_images" / f"{number:016x}.jpg")
    table(root / "train.csv", ({"image": f"{n:016x}.jpg", "labels": labels[n % 8]} for n in range(32)))
    table(root / "sample_submission.csv", ({"image": f"{n:016x}.jpg", "labels": "healthy"} for n in range(64, 67)))


PETS = (
    "Subject Focus",
    "Eyes",
    "Face",
    "Near",
    "Action",
    "Accessory",
    "Group",
    "Collage",
    "Human",
    "Occlusion",
    "Info",
    "Blur",
)


def pets(root: Path) -> None:
    random = np.random.default_rng(0)
    rows = [
        {
            "Id": f"{n:032x}",
            **dict(zip(PETS, random.integers(0, 2, 12), strict=True)),
            "Pawpularity": int(random.integers(1, 101)),
        }
        for n in range(30)
    ]
    for number, row in enumerate(rows):
        image(root / ("train" if number < 24 else "test") / f"{row['Id']}.jpg", row["Pawpularity"] / 100)
    table(root / "train.csv", rows[:24])
    table(root / "test.csv", ({key: row[key] for key in ("Id", *PETS)} for row in rows[24:]))
    table(root / "sample_submission.csv", ({"Id": row["Id"], "Pawpularity": 38.4} for row in rows[24:]))


GRASS = ("Dry_Clover_g", "Dry_Dead_g", "Dry_Green_g", "Dry_Total_g", "GDM_g")


def biomass(root: Path) -> None:
    rows, tests = [], []
    for number in range(20):
        id_ = f"ID{1011485656 + 97 * number}"
        image(root / ("train" if number < 16 else "test") / f"{id_}.jpg", number / 20)
        for at, name in enumerate(GRASS):
            row = {
                "sample_id": f"{id_}__{name}",
                "image_path": f"train/{id_}.jpg",
                "Sampling_Date": "2015/9/4",
                "State": ("Tas", "NSW")[number % 2],
                "Species": "Ryegrass_Clover",
                "Pre_GSHH_NDVI": 0.5 + number / 100,
                "Height_Ave_cm": 4.6 + number,
                "target_name": name,
                "target": round(3.7 * at + number, 4),
            }
            if number < 16:
                rows.append(row)
            else:
                tests.append({"sample_id": row["sample_id"], "image_path": f"test/{id_}.jpg", "target_name": name})
    table(root / "train.csv", rows)
    table(root / "test.csv", tests)
    table(root / "sample_submission.csv", ({"sample_id": row["sample_id"], "target": 0.0} for row in tests))


def mammography(root: Path) -> None:
    rows = []
    for number in range(48):
        patient, side, view = 10006 + number // 4, "LR"[number // 2 % 2], ("CC", "MLO")[number % 2]
        split = "train" if number < 40 else "test"
        image(root / f"{split}_images" / str(patient) / f"{462822612 + number}.png", number // 2 % 3 / 3, "L")
        row = {
            "site_id": 1 + number // 4 % 2,
            "patient_id": patient,
            "image_id": 462822612 + number,
            "laterality": side,
            "view": view,
            "age": 50.0 + patient % 9,
        }
        more = {"cancer": int(number // 2 % 3 == 0), "biopsy": 0, "BIRADS": ""} if split == "train" else {}
        rows.append({**row, **more, "machine_id": 29 + number // 4 % 2})
    tests = [{**row, "prediction_id": f"{row['patient_id']}_{row['laterality']}"} for row in rows[40:]]
    table(root / "train.csv", rows[:40])
    table(root / "test.csv", tests)
    ids = dict.fromkeys(row["prediction_id"] for row in tests)
    table(root / "sample_submission.csv", ({"prediction_id": id_, "cancer": 0.02} for id_ in ids))


def cells(root: Path) -> None:
    def id_(number: int) -> str:
        return f"{number:08x}-bbb5-11e8-b2ba-ac1f6b6435d0"

    for number in range(20):
        for colour in ("red", "green", "blue", "yellow"):
            image(root / ("train" if number < 16 else "test") / f"{id_(number)}_{colour}.png", number % 4 / 4, "L")
    targets = ("0", "16 0", "7 1 2 0", "2", "1", "16", "7")
    table(root / "train.csv", ({"Id": id_(n), "Target": targets[n % 7]} for n in range(16)))
    table(root / "sample_submission.csv", ({"Id": id_(n), "Predicted": 0} for n in range(16, 20)))


REGRESSION = {"task": "regression", "classes": 1, "metric": "rmse"}
MORE = {
    "planet": (
        planet,
        {
            "task": "multilabel",
            "id": "image_name",
            "target": "tags",
            "classes": 8,
            "train": 25,
            "test": 6,
            "metric": "sample_f1",
            "train_folder": "train-jpg",
        },
    ),
    "seedlings": (
        seedlings,
        {
            "task": "multiclass",
            "id": "file name",
            "target": "folder",
            "classes": 6,
            "metric": "accuracy",
            "train": 30,
            "test": 6,
        },
    ),
    "state-farm": (
        state_farm,
        {
            "task": "multiclass",
            "id": "img",
            "target": "classname",
            "classes": 10,
            "group": "subject",
            "metric": "log_loss",
            "train": 40,
            "test": 6,
        },
    ),
    "cassava": (
        cassava,
        {
            "task": "multiclass",
            "id": "image_id",
            "target": "label",
            "classes": 5,
            "metric": "accuracy",
            "train": 30,
            "test": 1,
        },
    ),
    "plant-2021": (
        plant_2021,
        {
            "task": "multilabel",
            "id": "image",
            "target": "labels",
            "classes": 5,
            "train": 32,
            "test": 3,
            "metric": "sample_f1",
        },
    ),
    "pets": (pets, {**REGRESSION, "id": "Id", "target": "Pawpularity", "metadata": list(PETS), "train": 24, "test": 6}),
    "biomass": (
        biomass,
        {
            "task": "regression",
            "id": "sample_id",
            "target": "target",
            "classes": 5,
            "group": None,
            "metric": "r2",
            "train": 16,
            "test": 4,
        },
    ),
    "mammography": (
        mammography,
        {
            "task": "binary",
            "id": "prediction_id",
            "target": "cancer",
            "classes": 2,
            "group": "patient_id",
            "metric": "roc_auc",
            "train": 40,
            "test": 8,
        },
    ),
    "cells": (cells, {"task": "multilabel", "id": "Id", "target": "Target", "classes": 5, "train": 16, "test": 4}),
    "two-views": (
        two_views,
        {"task": "multiclass", "id": "id", "target": "kind", "classes": 3, "train": 36, "test": 12},
    ),
    "coco": (
        coco,
        {"task": "multiclass", "target": "category_id", "classes": 4, "train": 24, "test": 6, "metric": "accuracy"},
    ),
    "invasive": (
        invasive,
        {"task": "binary", "id": "name", "target": "invasive", "classes": 2, "train": 24, "test": 8},
    ),
    "wheat": (wheat, {}, "detection"),
    "salt": (salt, {}, "segmentation"),
    "digits": (digits, {}, "pixels"),
    "dicom": (dicom, {}, "DICOM"),
    "bare-header": (bare_header, {"task": "binary", "target": "label", "classes": 2, "train": 20, "test": 0}),
    "semicolons": (
        semicolons,
        {
            "task": "ordinal",
            "id": "image",
            "target": "severity",
            "classes": 4,
            "train": 24,
            "test": 6,
            "metric": "quadratic_kappa",
        },
    ),
    "ages": (ages, {**REGRESSION, "id": "file", "target": "age", "train": 24, "test": 6}),
    "folders-only": (folders_only, {"task": "multiclass", "target": "folder", "classes": 3, "train": 24, "test": 0}),
    "bleeding": (
        bleeding,
        {
            "task": "multilabel",
            "id": "ID",
            "target": "Label",
            "classes": 4,
            "train": 16,
            "test": 4,
            "metric": "mean_column_auc",
        },
    ),
}
