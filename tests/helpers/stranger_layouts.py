"""Layouts of `helpers.layouts` in which names say little: tables of any name, lists of names, folders in folders."""

from pathlib import Path

from helpers.drawn_layouts import image, table, write_json


def faces(root: Path) -> None:
    """No table is named as what it is; the example has one value throughout, and the other table lacks the target."""
    for number in range(30):
        image(root / "faces" / f"{number:05d}.JPG", number / 30)
    rows = [{"file": f"{n:05d}.JPG", "age": 18 + n, "sex": "mf"[n % 2]} for n in range(30)]
    table(root / "labels.tsv", rows[:24], sep="\t")
    table(root / "to_predict.tsv", ({"file": row["file"], "sex": row["sex"]} for row in rows[24:]), sep="\t")
    table(root / "example_entry.csv", ({"file": row["file"], "age": 30.5} for row in rows[24:]))


def individuals(root: Path) -> None:
    """The sample lists values of the target in a column of another name; one beside it is named as a label."""
    own = [f"{n:012x}" for n in range(9)]
    for number in range(42):
        image(root / ("train_images" if number < 36 else "test_images") / f"{number:014x}.jpg", number % 9 / 9)
    rows = [{"image": f"{n:014x}.jpg", "species": "abc"[n % 3], "individual_id": own[n % 9]} for n in range(36)]
    table(root / "train.csv", rows)
    tests = [{"image": f"{n:014x}.jpg", "predictions": " ".join(own[:5])} for n in range(36, 42)]
    table(root / "sample_submission.csv", tests)


def findings(root: Path) -> None:
    """Labels with a blank in their names, and `|` between; boxes of some images in a second table."""
    names, rows = ("Edema", "Hernia", "No Finding"), []
    for number in range(24):
        file = f"{number // 3:08d}_{number % 3:03d}.png"
        image(root / f"images_{number % 2 + 1:03d}" / "images" / file, number % 3 / 3, "L")
        labels = ("Edema", "Edema|Hernia", "No Finding", "Hernia")[number % 4]
        rows.append({"Image Index": file, "Finding Labels": labels, "Patient ID": number // 3, "Patient Age": 58})
    table(root / "Data_Entry.csv", rows)
    boxes = [{"Image Index": row["Image Index"], "Finding Label": names[0], "Bbox [x": 1, "y": 2} for row in rows[:4]]
    table(root / "BBox_List.csv", boxes)


def traits(root: Path) -> None:
    """The columns of the sample stand in the table with more in their names, once as a mean and once as a spread."""
    names = ("X4", "X11")
    for number in range(24):
        image(root / ("train_images" if number < 18 else "test_images") / f"{number + 1000}.jpeg", number / 24)
    parts = [f"{name}_{part}" for part in ("mean", "sd") for name in names]
    rows = [{"id": n + 1000, **{name: n / 7 + at for at, name in enumerate(parts)}} for n in range(18)]
    table(root / "train.csv", rows)
    tests = [{"id": n + 1000, **dict.fromkeys(names, n / 3)} for n in range(18, 24)]
    table(root / "sample_submission.csv", tests)


def bones(root: Path) -> None:
    """Nothing but the name of the competition's table tells which of two columns is the target."""
    for number in range(30):
        part = "bone-age-training" if number < 24 else "bone-age-test"
        image(root / part / part / f"{number}.png", number / 30, "L")
    rows = [{"id": n, "boneage": 9 * n, "male": str(n % 2 > 0)} for n in range(24)]
    table(root / "bone-age-training.csv", rows)
    table(root / "bone-age-test.csv", ({"Case ID": n, "Sex": "MF"[n % 2]} for n in range(24, 30)))


def validation(root: Path) -> None:
    """The table of validation images has labels too."""
    for number in range(24):
        image(root / ("train" if number < 16 else "valid") / f"case{number}.jpg", number % 2)
    rows = [{"file": f"case{n}.jpg", "seen": n % 2, "species": "ab"[n % 2]} for n in range(24)]
    table(root / "train.csv", rows[:16])
    table(root / "valid.csv", rows[16:])


def deep_folders(root: Path) -> None:
    """Folders lie between that of a class and its images."""
    for number in range(24):
        name = ("n01", "n02", "n03")[number % 3]
        image(root / "train" / name / "images" / f"{name}_{number}.JPEG", number % 3 / 3)
    for number in range(6):
        image(root / "test" / "images" / f"test_{number}.JPEG")


def listed(root: Path) -> None:
    """A json lists the images of each class, which lie in its folder."""
    names = ("pie", "soup")
    for number in range(16):
        image(root / "images" / names[number % 2] / f"{number}.jpg", number % 2)
    lists = {name: [f"{name}/{number}" for number in range(at, 12, 2)] for at, name in enumerate(names)}
    write_json(root / "meta" / "train.json", lists)


def pets(root: Path) -> None:
    """One to four images of an id."""
    for number in range(26):
        for view in range(number % 4 + 1 if number < 20 else 1):
            image(root / ("train_images" if number < 20 else "test_images") / f"{number:09x}-{view + 1}.jpg")
    table(root / "train" / "train.csv", ({"PetID": f"{n:09x}", "Speed": n % 3} for n in range(20)))
    table(root / "test" / "sample_submission.csv", ({"PetID": f"{n:09x}", "Speed": 0} for n in range(20, 26)))


def ids_behind(root: Path) -> None:
    """The second column of the sample has the ids, in no order."""
    for number in range(20):
        image(root / "train" / ("cbb", "cmd")[number % 2] / f"train-{number}.jpg", number % 2)
    for number in range(6):
        image(root / "test" / "0" / f"test-img-{number}.jpg")
    table(root / "sample_submission_file.csv", ({"Category": "cmd", "Id": f"test-img-{n}.jpg"} for n in (3, 0, 5, 1)))


def hidden_tests(root: Path) -> None:
    """The images of the test table's rows are not there, but columns that both tables have."""
    for number in range(20):
        image(root / "train-image" / f"S{number:07d}.jpg", number % 4 == 0)
    rows = [{"isic_id": f"S{n:07d}", "target": int(n % 4 == 0), "sex": "mf"[n % 2], "mm": n / 7} for n in range(23)]
    table(root / "train-metadata.csv", rows[:20])
    table(root / "test-metadata.csv", ({name: row[name] for name in ("isic_id", "sex", "mm")} for row in rows[20:]))
    table(root / "sample_submission.csv", ({"isic_id": row["isic_id"], "target": 0.3} for row in rows[20:]))


def scored(root: Path) -> None:
    """Each row of the sample has a label and how sure it is."""
    for number in range(24):
        image(root / ("train" if number < 18 else "test") / f"{number:016x}.jpg", number % 3 / 3)
    table(root / "train.csv", ({"id": f"{n:016x}", "landmark_id": 100 + n % 3} for n in range(18)))
    table(root / "sample_submission.csv", ({"id": f"{n:016x}", "landmarks": "101 0.1"} for n in range(18, 24)))


STRANGER = {
    "faces": (
        faces,
        {"task": "regression", "id": "file", "target": "age", "metadata": ["sex"], "train": 24, "test": 6},
    ),
    "individuals": (
        individuals,
        {"task": "multiclass", "target": "individual_id", "classes": 9, "metric": "map_at_5", "train": 36, "test": 6},
    ),
    "findings": (
        findings,
        {"task": "multilabel", "target": "Finding Labels", "classes": 3, "group": "Patient ID", "train": 24, "test": 0},
    ),
    "traits": (traits, {"task": "regression", "target": ["X4_mean", "X11_mean"], "train": 18, "test": 6}),
    "bones": (bones, {"task": "regression", "target": "boneage", "train": 24, "test": 6}),
    "validation": (validation, {"table": "train.csv", "target": "species", "train": 16, "test": 0}),
    "deep-folders": (deep_folders, {"task": "multiclass", "target": "folder", "classes": 3, "train": 24, "test": 6}),
    "listed": (listed, {"task": "binary", "target": "folder", "classes": 2, "train": 16, "test": 0}),
    "pets": (pets, {"task": "multiclass", "id": "PetID", "target": "Speed", "classes": 3, "train": 50, "test": 6}),
    "ids-behind": (ids_behind, {"task": "binary", "target": "folder", "classes": 2, "train": 20, "test": 4}),
    "hidden-tests": (hidden_tests, {"task": "binary", "target": "target", "metadata": [], "train": 20, "test": 0}),
    "scored": (scored, {}, "how sure it is"),
}
