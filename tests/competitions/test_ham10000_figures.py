"""The pictures of HAM10000's own in `kit explore`: lesions, ages, sites, grids and what is unknown."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from kit.data.index import Index
from kit.plugin import Picture
from kit.reports.figures import DPI, save
from kit_ham10000 import figures
from kit_ham10000.dataset import CLASSES, index

NAMES = ["images-per-lesion", "age-by-class", "site-by-class", "class-grids", "metadata-unknown"]
# lesion, dx, age, sex, site: five lesions, one of three and one of two images.
ROWS = [
    ("A", "mel", "70.0", "male", "back"),
    ("A", "mel", "70.0", "male", "back"),
    ("A", "mel", "70.0", "male", "back"),
    ("B", "mel", "50.0", "female", "face"),
    ("C", "nv", "", "unknown", "unknown"),
    ("D", "nv", "35.0", "female", "back"),
    ("E", "bkl", "85.0", "male", ""),
    ("E", "bkl", "85.0", "male", ""),
]


def ham(root: Path, rows: list[tuple[str, str, str, str, str]], size: tuple[int, int] = (8, 6)) -> Index:
    """Images 1, 2, ... with these facts; each is of one colour, that tells its number."""
    root.mkdir(parents=True)
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for number, (lesion, dx, *facts) in enumerate(rows, 1):
        lines.append(",".join([lesion, f"ISIC_{number:07}", dx, "histo", *facts]))
        Image.new("RGB", size, (number % 200, number // 200, 77)).save(root / f"ISIC_{number:07}.png")
    (root / "HAM10000_metadata.csv").write_text("\n".join(lines) + "\n")
    return index(root)


def drawn(found: Index) -> dict[str, Picture]:
    return {picture.name: picture for picture in figures.figures(found)}


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def cells(picture: Picture) -> dict[tuple[str, str], str]:
    """The texts of a heat map by row and class; the class alone -> its number of images."""
    axes = picture.figure.axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    below = [label.get_text().split("\n") for label in axes.get_xticklabels()]
    names = [name for name, _ in below]
    found = {("", name): count for name, count in below}
    for text in axes.texts:
        x, y = text.get_position()
        found[rows[int(y)], names[int(x)]] = text.get_text()
    return found


def shown(picture: Picture) -> dict[str, list[int]]:
    """The numbers of the images in a grid, by the first word of their heading."""
    found = {}
    for part in picture.figure.subfigs:
        images = [np.asarray(axes.images[0].get_array())[0, 0] for axes in part.axes if axes.images]
        found[part.get_suptitle()] = [int(red) + 200 * int(green) for red, green, _ in images]
    return found


def test_lesions_by_their_images(tmp_path: Path) -> None:
    picture = drawn(ham(tmp_path / "d", ROWS))["images-per-lesion"]
    left, right = picture.figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["1 image", "2 images", "3 images"]
    assert texts(left) == [" 3 (60.0%)", " 1 (20.0%)", " 1 (20.0%)"]
    assert [bar.get_width() for bar in left.patches] == [3, 1, 1]
    names = [label.get_text() for label in right.get_yticklabels()]
    assert names == ["mel (4)", "nv (2)", "bcc (0)", "akiec (0)", "bkl (2)", "df (0)", "vasc (0)", "all (8)"]
    alone, two, three, four = ([bar.get_width() for bar in bars] for bars in right.containers)
    assert alone == [0.25, 1, 0, 0, 0, 0, 0, 0.375]
    assert two == [0, 0, 0, 0, 1, 0, 0, 0.25]
    assert three == [0.75, 0, 0, 0, 0, 0, 0, 0.375]
    assert four == [0] * 8
    starts = [bar.get_x() for bar in right.containers[2]]
    assert starts == [0.25, 1, 0, 0, 1, 0, 0, 0.625]
    assert texts(right) == [f"{share}% not alone" for share in ("75.0", "0.0", "100.0", "62.5")]
    assert picture.caption.startswith("8 images of 5 lesions: 62.5% of the images share their lesion")


def test_many_images_of_a_lesion_have_one_bar(tmp_path: Path) -> None:
    rows = [(lesion, "nv", "50", "male", "back") for lesion in "A" * 30 + "B" * 9 + "C" * 8 + "D" * 4 + "E"]
    left, right = drawn(ham(tmp_path / "d", rows))["images-per-lesion"].figure.axes
    assert [bar.get_width() for bar in left.patches] == [1, 0, 0, 1, 0, 0, 0, 3]
    assert left.get_yticklabels()[-1].get_text() == "8 or more"
    assert [bars[-1].get_width() for bars in right.containers] == pytest.approx([1 / 52, 0, 0, 51 / 52])


def test_images_without_a_lesion_stand_alone(tmp_path: Path) -> None:
    found = ham(tmp_path / "d", [("", dx, *facts) for _, dx, *facts in ROWS[:4]])
    pictures = drawn(found)
    assert pictures["images-per-lesion"].caption.startswith("4 images of 4 lesions: 0.0% ")
    assert list(shown(pictures["class-grids"])) == ["mel: 4 images of 4 lesions"]


def test_the_real_counts(archives: Path) -> None:
    """Counts of all 10,015 images, against pandas on the table itself; their files are not needed."""
    table = pd.read_csv(archives / "HAM10000_metadata_full.csv")
    files = pd.Series([(f"{id_}.jpg",) for id_ in table["image_id"]])
    train = table.assign(id=table["image_id"], files=files, target=table["dx"].map(CLASSES.index))
    found = Index(archives, "multiclass", CLASSES, train.assign(group=table["lesion_id"]), train.iloc[:0])
    facts = figures.facts_of(found)
    unknown = figures.unknown_by_class(facts)
    assert unknown["all"].to_dict() == {
        "age": table["age"].isna().sum(),
        "sex": (table["sex"] == "unknown").sum(),
        "localization": (table["localization"] == "unknown").sum(),
    }
    assert unknown.at["age", "nv"] == 45
    on_back = figures.counts_by_class(facts["localization"].fillna("unknown"), facts["dx"]).loc["back"]
    for dx in CLASSES:
        assert on_back[dx] == ((table["dx"] == dx) & (table["localization"] == "back")).sum()
    assert on_back["all"] == (table["localization"] == "back").sum()
    first = next(figures.figures(found))
    assert first.caption.startswith("10,015 images of 7,470 lesions: 44.9% ")
    assert texts(first.figure.axes[1])[0] == "79.3% not alone"  # of 1,113 melanomas 883


def test_ages_by_class(tmp_path: Path) -> None:
    picture = drawn(ham(tmp_path / "d", ROWS))["age-by-class"]
    grid = dict(zip(CLASSES, picture.figure.axes, strict=True))
    bars = {
        name: {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in axes.patches}
        for name, axes in grid.items()
    }
    assert bars["mel"] == pytest.approx({70: 0.75, 50: 0.25})
    assert bars["nv"] == pytest.approx({35: 1})
    assert bars["bkl"] == pytest.approx({85: 1})
    assert bars["bcc"] == {}
    assert [line.get_xdata()[0] for line in grid["mel"].lines] == [70]
    assert not grid["bcc"].lines
    assert texts(grid["mel"]) == ["median 70\n4 known\n0 unknown"]
    assert texts(grid["nv"]) == ["median 35\n1 known\n1 unknown"]
    assert texts(grid["bcc"]) == ["0 known\n0 unknown"]
    assert picture.caption.endswith("Of 8 images 1 have no age (12.5%)")


@pytest.mark.parametrize(("age", "last"), [("35", 90), ("100", 105)])
def test_the_axis_of_ages_reaches_the_oldest_and_85_at_least(tmp_path: Path, age: str, last: int) -> None:
    picture = drawn(ham(tmp_path / "d", [("A", "nv", age, "male", "back")]))["age-by-class"]
    assert {axes.get_xlim() for axes in picture.figure.axes} == {(-5, last)}


def test_sites_by_class(tmp_path: Path) -> None:
    found = cells(drawn(ham(tmp_path / "d", ROWS))["site-by-class"])
    assert {key: text for key, text in found.items() if key[0]} == {
        ("back", "mel"): "75.0% (3)",
        ("back", "nv"): "50.0% (1)",
        ("back", "all"): "50.0% (4)",
        ("face", "mel"): "25.0% (1)",
        ("face", "all"): "12.5% (1)",
        ("unknown", "nv"): "50.0% (1)",
        ("unknown", "bkl"): "100.0% (2)",
        ("unknown", "all"): "37.5% (3)",
    }
    assert {name: count for (row, name), count in found.items() if not row} == {
        "mel": "4",
        "nv": "2",
        "bcc": "0",
        "akiec": "0",
        "bkl": "2",
        "df": "0",
        "vasc": "0",
        "all": "8",
    }


def test_frequent_sites_come_first_and_unknown_last(tmp_path: Path) -> None:
    rows = [("A", "nv", "5", "male", site) for site in ("unknown",) * 3 + ("chest",) + ("back",) * 2 + ("abdomen",)]
    axes = drawn(ham(tmp_path / "d", rows))["site-by-class"].figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["back", "abdomen", "chest", "unknown"]
    assert axes.yaxis_inverted()


def test_classes_without_images_are_grey_and_others_are_not(tmp_path: Path) -> None:
    mesh = drawn(ham(tmp_path / "d", ROWS))["site-by-class"].figure.axes[0].collections[0]
    values = np.ma.getmaskarray(mesh.get_array())
    assert values.any(0).tolist() == [False, False, True, True, False, True, True, False]
    assert values.all(0).tolist() == values.any(0).tolist()


def test_what_is_unknown(tmp_path: Path) -> None:
    found = cells(drawn(ham(tmp_path / "d", ROWS))["metadata-unknown"])
    assert {key: text for key, text in found.items() if key[0]} == {
        ("age", "nv"): "50.0% (1)",
        ("age", "all"): "12.5% (1)",
        ("sex", "nv"): "50.0% (1)",
        ("sex", "all"): "12.5% (1)",
        ("localization", "nv"): "50.0% (1)",
        ("localization", "bkl"): "100.0% (2)",
        ("localization", "all"): "37.5% (3)",
    }


def test_nothing_unknown_and_nothing_known(tmp_path: Path) -> None:
    known = [("A", "mel", "70", "male", "back"), ("B", "nv", "35", "female", "back")]
    texts_of = {("", name) for name in (*CLASSES, "all")}
    assert set(cells(drawn(ham(tmp_path / "known", known))["metadata-unknown"])) == texts_of
    unknown = [("A", "mel", "", "", ""), ("B", "nv", "", "unknown", "unknown")]
    pictures = drawn(ham(tmp_path / "unknown", unknown))
    assert list(pictures) == NAMES
    assert cells(pictures["metadata-unknown"])["age", "all"] == "100.0% (2)"
    assert cells(pictures["site-by-class"])["unknown", "all"] == "100.0% (2)"
    ages = pictures["age-by-class"].figure.axes
    assert not any(axes.patches for axes in ages)
    assert ages[-1].get_xlim() == (-5, 90)


def test_the_grid_has_lesions_once(tmp_path: Path) -> None:
    rows = [(f"M{number % 5}", "mel", "50", "male", "back") for number in range(15)]
    rows += [(f"N{number}", "nv", "50", "male", "back") for number in range(30)]
    rows += [("V", "vasc", "50", "male", "back")]
    titles = shown(drawn(ham(tmp_path / "d", rows))["class-grids"])
    melanomas, naevi, single = "mel: 15 images of 5 lesions", "nv: 30 images of 30 lesions", "vasc: 1 image of 1 lesion"
    assert list(titles) == [melanomas, naevi, single]
    assert sorted((number - 1) % 5 for number in titles[melanomas]) == [0, 1, 2, 3, 4]
    assert set(titles[melanomas]) <= set(range(1, 16))
    assert len(set(titles[naevi])) == 8
    assert set(titles[naevi]) <= set(range(16, 46))
    assert titles[naevi] != sorted(titles[naevi])
    assert titles[single] == [46]


@pytest.mark.parametrize(("size", "wanted"), [((600, 450), (180, 240)), ((224, 224), (224, 224)), ((8, 6), (6, 8))])
def test_images_keep_their_ratio(tmp_path: Path, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    figure = drawn(ham(tmp_path / "d", ROWS, size))["class-grids"].figure
    images = [axes.images[0] for part in figure.subfigs for axes in part.axes if axes.images]
    assert {image.get_array().shape[:2] for image in images} == {wanted}
    # Three rows of 1.6 inches wide, with room for headings.
    assert figure.get_figheight() == pytest.approx(3 * (1.6 * wanted[0] / wanted[1] + 0.3) + 0.5)


def test_no_rows_no_pictures(tmp_path: Path) -> None:
    found = ham(tmp_path / "d", ROWS)
    assert drawn(replace(found, train=found.train.iloc[:0])) == {}
    assert list(drawn(replace(found, train=found.train.iloc[:1]))) == NAMES


def test_reading_is_bounded_and_equal_data_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(str(number), CLASSES[number % 7], "50", "male", "back") for number in range(140)]
    found = ham(tmp_path / "data", rows)
    read: list[Any] = []
    real = figures.read
    monkeypatch.setattr(figures, "read", lambda files: (read.append(files), real(files))[1])
    written = []
    for folder in ("a", "b"):
        for picture in figures.figures(found):
            path = tmp_path / folder / f"{picture.name}.png"
            save(picture.figure, path)
            written.append((picture.name, picture.caption, path.read_bytes()))
    assert [name for name, _, _ in written[:5]] == NAMES
    assert written[:5] == written[5:]
    assert len(read) == 2 * 7 * 8


MANY = [
    (str(number // 3), CLASSES[number % 7], str(number % 18 * 5), "male", ("lower extremity", "back")[number % 2])
    for number in range(2100)
]
CASES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "many": lambda train: train,
    "few": lambda train: train.iloc[:5],
    "without ages": lambda train: train.assign(age=np.nan),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return ham(tmp_path_factory.mktemp("many") / "d", MANY, (4, 3))


def overlaps(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that leave the figure or lie on another one."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    seen: dict[Text, None] = {}  # tick labels outside the view are not drawn
    draw = Text.draw
    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: (seen.setdefault(text), draw(text, renderer)))
        canvas.draw()
    drawn_texts = [text for text in seen if text.get_visible() and text.get_text().strip()]
    boxes = [text.get_window_extent(canvas.get_renderer()).padded(-1) for text in drawn_texts]  # a pixel is rounding
    return [
        text.get_text()
        for number, (text, box) in enumerate(zip(drawn_texts, boxes, strict=True))
        if min(box.x0, box.y0) < 0
        or box.x1 > figure.bbox.width
        or box.y1 > figure.bbox.height
        or box.count_overlaps(boxes[number + 1 :])
    ]


@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_or_lies_on_another(case: str, many: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    found = replace(many, train=CASES[case](many.train))
    assert {name: overlaps(picture.figure, monkeypatch) for name, picture in drawn(found).items()} == {
        name: [] for name in NAMES
    }
