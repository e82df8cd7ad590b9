"""Layouts of `helpers.layouts` that are rarer: json, several files per id, odd tables, and kinds that kit can't do."""

from pathlib import Path

import numpy as np

from helpers.drawn_layouts import image, table, write_json, zipped


def two_views(root: Path) -> None:
    for number in range(24):
        for side in ("left", "right"):
            image(root / ("train" if number < 18 else "test") / f"{number:05d}_{side}.jpeg", number % 3 / 3)
    table(root / "train.csv", ({"id": n, "kind": ("a", "b", "c")[n % 3]} for n in range(18)))
    table(root / "sample_submission.csv", ({"id": n, "kind": "a"} for n in range(18, 24)))


def coco(root: Path) -> None:
    names = [f"images/{number % 3:03d}/{number // 3:02d}/{437000 + number}.jpg" for number in range(30)]
    for number, name in enumerate(names):
        image(root / "nybg" / ("train" if number < 24 else "test") / name, number % 4 / 4)
    rows = [
        {"file_name": name, "height": 20, "width": 20, "id": 437000 + n, "license": 1} for n, name in enumerate(names)
    ]
    notes = [{"category_id": n % 4, "id": n, "image_id": 437000 + n, "region_id": n % 2} for n in range(24)]
    kinds = [{"id": number, "name": f"species {number}", "family": "f", "genus": "g"} for number in range(4)]
    write_json(
        root / "nybg/train/metadata.json",
        {"annotations": notes, "categories": kinds, "images": rows[:24], "info": {}, "licenses": [], "regions": []},
    )
    write_json(root / "nybg/test/metadata.json", {"images": rows[24:], "info": {}, "licenses": []})
    table(root / "sample_submission.csv", ({"Id": 437000 + n, "Predicted": 0} for n in range(24, 30)))


def wheat(root: Path) -> None:
    for number in range(12):
        image(root / ("train" if number < 9 else "test") / f"{number:09x}.jpg")
    rows = [
        {
            "image_id": f"{n // 3:09x}",
            "width": 1024,
            "height": 1024,
            "bbox": f"[{n}.0, 2.0, 56.0, 36.0]",
            "source": "usask_1",
        }
        for n in range(27)
    ]
    table(root / "train.csv", rows)
    samples = [{"image_id": f"{n:09x}", "PredictionString": "1.0 0 0 50 50"} for n in range(9, 12)]
    table(root / "sample_submission.csv", samples)


def salt(root: Path) -> None:
    for number in range(10):
        image(root / "train" / "images" / f"{number:010x}.png", 0.2, "L")
        image(root / "train" / "masks" / f"{number:010x}.png", 0.9, "L")
    for number in range(10, 13):
        image(root / "test" / "images" / f"{number:010x}.png", 0.2, "L")
    table(root / "train.csv", ({"id": f"{n:010x}", "rle_mask": f"{n + 1} 5"} for n in range(10)))
    table(root / "depths.csv", ({"id": f"{n:010x}", "z": 100 + n} for n in range(13)))
    table(root / "sample_submission.csv", ({"id": f"{n:010x}", "rle_mask": "1 1"} for n in range(10, 13)))


def digits(root: Path) -> None:
    random = np.random.default_rng(0)
    pixels = [f"pixel{number}" for number in range(784)]
    rows = [dict(zip(pixels, random.integers(0, 255, 784), strict=True)) for _ in range(6)]
    table(root / "train.csv", ({"label": n, **row} for n, row in enumerate(rows)))
    table(root / "test.csv", rows)
    table(root / "sample_submission.csv", ({"ImageId": n + 1, "Label": 0} for n in range(6)))


def dicom(root: Path) -> None:
    (root / "stage_2_train").mkdir()
    for number in range(6):
        (root / "stage_2_train" / f"ID_{number:09x}.dcm").write_bytes(b"\0" * 128 + b"DICM")
    table(root / "stage_2_train.csv", ({"ID": f"ID_{n:09x}_any", "Label": n % 2} for n in range(6)))


def bare_header(root: Path) -> None:
    for number in range(20):
        image(root / "data" / "all" / f"{number:03d}.JPG", number % 2)
    lines = [f"{number:03d}.JPG,{('no', 'yes')[number % 2]}" for number in range(20)]
    (root / "data" / "labels.csv").write_text("\n".join(lines) + "\n")


def semicolons(root: Path) -> None:
    """Grades from 1, in parts, with ids that lost their zeros, in a folder more, with litter."""
    top = root / "competition"
    for number in range(30):
        folder = f"train/part{number % 2 + 1}" if number < 24 else "test"
        image(top / folder / f"{number:05d}.PNG", number % 4 / 4)
    table(top / "train.csv", ({"image": n, "severity": n % 4 + 1} for n in range(24)), sep=";")
    table(top / "sample_submission_stage1.csv", ({"image": n, "severity": 1} for n in range(900, 903)))
    table(top / "sample_submission_stage2.csv", ({"image": n, "severity": 1} for n in range(24, 30)))
    (top / "README.md").write_text("Read me\n")
    (top / "LICENSE").write_text("Free\n")
    (top / "train" / "._00001.PNG").write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._train").write_bytes(b"x")
    zipped(top / "sample_submission_stage2.csv")


def ages(root: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(30):
        image(root / "faces" / ("train" if number < 24 else "test") / f"face_{number}.jpg", number % 9 / 9)
    rows = [
        {"file": f"faces/train/face_{n}.jpg", "smiles": ("True", "False")[n % 2], "age": int(random.integers(1, 90))}
        for n in range(24)
    ]
    table(root / "train.tsv", rows, sep="\t")
    tests = [{"file": f"faces/test/face_{n}.jpg", "age": 30.5} for n in range(24, 30)]
    table(root / "sample_submission.csv", tests)


def folders_only(root: Path) -> None:
    for number in range(24):
        image(root / "flowers" / ("daisy", "rose", "tulip")[number % 3] / f"img{number}.jpg", number % 3 / 3)


def bleeding(root: Path) -> None:
    kinds = ("epidural", "intraparenchymal", "subdural", "any")
    for number in range(20):
        image(root / f"stage_2_{'train' if number < 16 else 'test'}" / f"ID_{number:09x}.png", number % 3 / 3, "L")
    rows = [
        {"ID": f"ID_{n:09x}_{kind}", "Label": int(n % 4 in (at, 3))} for n in range(16) for at, kind in enumerate(kinds)
    ]
    table(root / "stage_2_train.csv", rows)
    tests = [{"ID": f"ID_{n:09x}_{kind}", "Label": 0.5} for n in range(16, 20) for kind in kinds]
    table(root / "stage_2_sample_submission.csv", tests)


def invasive(root: Path) -> None:
    """Both sets are numbered from 1, and their archives have no folder inside."""
    for number in range(1, 33):
        split, own = ("train", number) if number < 25 else ("test", number - 24)
        image(root / split / f"{own}.jpg", number % 2 + number / 100)
    table(root / "train_labels.csv", ({"name": n, "invasive": n % 2} for n in range(1, 25)))
    table(root / "sample_submission.csv", ({"name": n, "invasive": 0.5} for n in range(1, 9)))
    for folder in ("train", "test"):
        zipped(root / folder, inside=False)
