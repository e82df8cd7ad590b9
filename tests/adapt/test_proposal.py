"""What `kit adapt` takes a folder for, on layouts of competitions."""

import json
import os

import pytest

from helpers.drawn_layouts import image, table, write_json
from helpers.layouts import LAYOUTS
from kit.adapt.folder import Folder
from kit.adapt.propose import propose
from kit.console import Console
from kit.errors import KitError


def proposed(root, **answers):
    with Folder(root, Console(json=True)) as folder:
        return propose(folder, "some", answers)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_taken_for_what_it_is(tmp_path, name):
    layout = LAYOUTS[name]
    layout.build(tmp_path)
    document = proposed(tmp_path).document()
    json.dumps(document)
    found = {**document, "classes": len(document["classes"])}
    assert {key: found[key] for key in layout.right} == layout.right
    assert layout.missing in " ".join(document["missing"])
    assert bool(document["missing"]) == bool(layout.missing)
    if not layout.missing:
        keys = {"task", "id", "target", "classes", "group", "train", "test", "metric", "submission", "metadata"}
        assert keys <= document["reasons"].keys(), "every value has its reason"


def numbered(root, count, label, **more):
    for number in range(count):
        image(root / "train" / f"{number:04d}.png")
    table(root / "train.csv", ({"id": f"{n:04d}", **label(n)} for n in range(count)), **more)


def no_match(root):
    for number in range(8):
        image(root / "train" / f"scan_{number:04d}.png")
    table(root / "train.csv", ({"id": f"scan_{n:04d}_v2", "label": n % 2} for n in range(8)))


def two_tables(root):
    numbered(root, 8, lambda n: {"label": n % 2})
    (root / "train.csv").rename(root / "labels_a.csv")
    table(root / "labels_b.csv", ({"id": f"{n:04d}", "label": n % 3} for n in range(8)))


def frames(root):
    for number in range(6):
        for frame in range(20 + number):
            image(root / "train" / f"v{number:03d}" / f"f{frame}.jpg")
    table(root / "train.csv", ({"id": f"v{n:03d}", "label": n % 2} for n in range(6)))


def video(root):
    (root / "train").mkdir()
    for number in range(3):
        (root / "train" / f"{number}.mp4").write_bytes(b"x")
    write_json(root / "metadata.json", {f"{n}.mp4": {"label": "FAKE"} for n in range(3)})


def slices(root):
    for number in range(18):
        image(root / "train" / f"p{number // 3}" / f"{number % 3}.png")
    table(root / "train.csv", ({"patient": f"p{n // 3}", "slice": n % 3, "label": n % 2} for n in range(18)))


REFUSED = {
    "two labels": (slices, "'p0' in patient of train.csv has two different values of label"),
    "no images": (lambda root: table(root / "t.csv", [{"id": 1, "label": 0}]), "holds no images"),
    "empty": (lambda root: None, "it is empty"),
    "video": (video, "3 files of video"),
    "frames": (frames, "a sequence"),
    "no match": (no_match, "of 'scan_0000_v2' the part 'scan_0000' would, with .png: train/scan_0000.png"),
    "two tables": (two_tables, "labels_a.csv, labels_b.csv: each of them names the images: give --set table="),
    "a label each": (lambda root: numbered(root, 60, lambda n: {"label": f"text {n}"}), "60 different values"),
    "one label": (lambda root: numbered(root, 8, lambda n: {"label": 1}), "nothing to tell apart"),
    "which": (lambda root: numbered(root, 8, lambda n: {"wind": n % 2, "rain": n % 3}), "give --set target=wind"),
    "no labels": (lambda root: image(root / "a.png"), "no table names the images"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nothing_tells_is_one_line(tmp_path, name):
    build, said = REFUSED[name]
    build(tmp_path)
    try:
        text = " ".join(proposed(tmp_path).missing)
    except KitError as error:
        text = str(error)
    assert said in text
    assert "\n" not in text


def test_ten_thousand_labels_are_none(tmp_path):
    image(tmp_path / "train" / "0.png")
    for number in range(1, 12_000):
        (tmp_path / "train" / f"{number}.png").touch()
    table(tmp_path / "train.csv", ({"id": n, "label": f"label {n % 10_000}"} for n in range(12_000)))
    with pytest.raises(KitError, match="10,000 different values in 12,000 rows"):
        proposed(tmp_path)


ANSWERS = {
    "target": ({"target": "rain"}, {"target": "rain", "task": "multiclass"}),
    "task": ({"target": "rain", "task": "ordinal"}, {"task": "ordinal", "metric": "quadratic_kappa"}),
    "metric": ({"target": "rain", "metric": "macro_f1"}, {"metric": "macro_f1"}),
    "group": ({"target": "rain", "group": "wind"}, {"group": "wind"}),
    "classes": ({"target": "rain", "classes": "2,1,0"}, {"classes": ["2", "1", "0"]}),
    "submission": ({"target": "wind", "submission": "classes"}, {"task": "binary", "metric": "accuracy"}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_beforehand_counts(tmp_path, name):
    answers, right = ANSWERS[name]
    numbered(tmp_path, 12, lambda n: {"wind": n % 2, "rain": n % 3})
    document = proposed(tmp_path, **answers).document()
    assert {key: document[key] for key in right} == right
    assert all(document["reasons"][key] == "given with --set" for key in answers)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"colour": "red"}, "no key"),
        ({"target": "rian"}, "no column 'rian': give --set target=COLUMN; did you mean rain"),
        ({"task": "guess"}, "none of"),
        ({"table": "x.csv"}, "no table"),
        ({"id": "nothing"}, "no column"),
        ({"submission": "x.csv"}, "no table"),
        ({"target": "rain", "metadata": "x"}, "--set metadata=x: 'x' is no column of"),
        ({"target": "rain", "train": "nowhere"}, "no images lie in a folder nowhere"),
        ({"target": "rain", "test": "nowhere"}, "no images lie in a folder nowhere"),
        ({"target": "rain", "classes": "a,b"}, "other values"),
        ({"target": "rain", "metadata": "wind"}, "'wind' is no column of a table of the test images"),
    ],
)
def test_an_answer_that_can_not_be_is_named(tmp_path, answers, said):
    numbered(tmp_path, 12, lambda n: {"wind": n % 2, "rain": n % 3})
    with pytest.raises(KitError, match=said):
        proposed(tmp_path, **answers)


def test_breeds_that_only_the_sample_names_are_classes(tmp_path):
    breeds = [f"breed {number}" for number in range(60)]
    for number in range(30):
        image(tmp_path / ("train" if number < 24 else "test") / f"{number:032x}.jpg")
    table(tmp_path / "labels.csv", ({"id": f"{n:032x}", "breed": breeds[7 * n % 60]} for n in range(24)))
    table(tmp_path / "sample_submission.csv", ({"id": f"{n:032x}", **dict.fromkeys(breeds, 0)} for n in range(24, 30)))
    found = proposed(tmp_path)
    assert (found.task, found.target, sorted(found.classes)) == ("multiclass", "breed", sorted(breeds))


def test_links_round_in_a_circle_and_files_of_other_kinds_do_no_harm(tmp_path):
    LAYOUTS["cactus"].build(tmp_path)
    (tmp_path / "train" / "again").symlink_to(tmp_path)
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "broken.json").write_text("{")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "broken.csv").write_bytes(b"a,b\n\xff\xfe\0")
    found = proposed(tmp_path)
    assert (found.train, found.test, found.target) == (24, 6, "has_cactus")
    assert any("broken.csv" in note for note in found.notes)


HEADERS = {
    "ending": ("{}.png,cat", "image", "label"),
    "numbers": ("{},3", "image", "label"),
    "texts": ("{};cat", "image", "label"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_table_without_names_of_columns(tmp_path, name):
    row, id_, target = HEADERS[name]
    for number in range(12):
        image(tmp_path / "all" / f"a{number}.png")
    lines = [row.format(f"a{n}") if n % 2 else row.format(f"a{n}")[:-1] + "4" for n in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    found = proposed(tmp_path)
    assert (found.id, found.target, len(found.classes), found.train) == (id_, target, 2, 12)


def test_a_site_of_the_body_is_no_group_and_a_location_is(tmp_path):
    numbered(tmp_path, 40, lambda n: {"label": n % 2, "anatom_site": ("arm", "leg", "head")[n % 3]})
    assert proposed(tmp_path, target="label").group is None
    numbered(tmp_path, 40, lambda n: {"label": n % 2, "location": n // 3})
    assert proposed(tmp_path, target="label").group == "location"
