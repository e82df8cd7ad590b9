"""`kit explore`: pictures for any competition, and those of histopathology."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from helpers.figure_texts import assert_texts_lie_apart
from kit.console import Console
from kit.data.index import Index
from kit.hooks.specs import TaskName
from kit.plugin import DatasetSpec
from kit.reports import explore, figures

GENERAL = ["grid", "label-frequency", "mean-images", "brightness"]
NUMBERS_OF = {
    1: ["grid", "target", "images-by-target"],
    2: ["grid", "target-1", "target-2", "images-by-target-1", "images-by-target-2"],
}
MULTILABEL = ["grid", "label-frequency", "labels-per-image", "label-correlation", "rarest-classes", *GENERAL[2:]]


def constant_data(root: Path, task: TaskName, targets: list[Any], classes: int) -> tuple[DatasetSpec, Index]:
    """Two-channel 10x12 images, all pixels of image i equal to i in the first and 255 - i in the second channel."""

    def read(files: tuple[Path, ...]) -> np.ndarray:
        level = int(files[0].stem)
        return np.stack([np.full((10, 12), level), np.full((10, 12), 255 - level)], 2).astype(np.uint8)

    files = [(f"{number}.png",) for number in range(len(targets))]
    train = pd.DataFrame({"id": [str(n) for n in range(len(targets))], "files": files, "target": targets})
    index = Index(root, task, tuple(f"class {n}" for n in range(classes)), train, train.drop(columns="target"))
    return DatasetSpec("constant", 2, lambda _: index, read), index


def statistics(spec: DatasetSpec, index: Index) -> dict[int, explore.Statistics]:
    return explore._measure(spec, index, explore._draw(index), Console(json=True))


def draw(figure: Any) -> tuple[int, int]:
    """Render a figure and give its size in pixels."""
    from io import BytesIO

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    with Image.open(buffer) as image:
        return image.size


def test_means_and_brightness_are_those_of_each_class(tmp_path: Path) -> None:
    spec, index = constant_data(tmp_path, "multiclass", [0, 1, 0, 1, 2, 0], 4)
    found = statistics(spec, index)
    assert list(found) == [0, 1, 2]  # most frequent first; class 3 has no image
    assert found[0].brightness == [0.0, 2.0, 5.0]
    assert found[1].brightness == [1.0, 3.0]
    assert found[1].mean.shape == (explore.SIDE, explore.SIDE, 3)
    assert (found[1].mean == 2).all()


def test_an_image_of_several_labels_counts_in_each(tmp_path: Path) -> None:
    spec, index = constant_data(tmp_path, "multilabel", [(0, 2), (2,), (), (0, 1, 2)], 3)
    found = statistics(spec, index)
    assert {number: of.brightness for number, of in found.items()} == {2: [0.0, 1.0, 3.0], 0: [0.0, 3.0], 1: [3.0]}


def test_the_number_of_images_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "SAMPLE", 10)
    _, index = constant_data(tmp_path, "binary", [0] * 90 + [1] * 10, 2)
    drawn = explore._draw(index)
    assert [len(rows) for rows in drawn.values()] == [5, 5]
    assert (drawn[1] >= 90).all()
    assert all((rows == again).all() for rows, again in zip(drawn.values(), explore._draw(index).values(), strict=True))


@pytest.mark.parametrize(
    ("task", "targets", "classes"),
    [
        ("binary", [0, 1, 0, 1, 1], 2),
        ("multiclass", [n % 50 for n in range(120)], 50),
        ("multilabel", [(0,), (0, 1), (), (2, 1), (0, 1, 2)], 3),
        ("multiclass", [0], 2),
        ("multilabel", [(1,)], 3),
        ("ordinal", [0, 1, 1, 4, 2, 0], 5),
        ("regression", [0.5, 3.25, -7.0, 0.5], 1),
        ("regression", [(float(n), 1e6 * n) for n in range(30)], 2),
        ("regression", [5.0], 1),
    ],
)
def test_every_task_gets_the_general_pictures(tmp_path: Path, task: TaskName, targets: list[Any], classes: int) -> None:
    spec, index = constant_data(tmp_path, task, targets, classes)
    written = explore.write_pictures(spec, index, tmp_path / "explore", Console(json=True))
    names = {"multilabel": MULTILABEL, "regression": NUMBERS_OF.get(classes, [])}.get(task, GENERAL)
    assert [path.stem for path, _ in written] == names
    for path, caption in written:
        assert caption
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 100


def test_images_lie_along_the_quantiles_of_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).permutation(101).astype(float)
    spec, index = constant_data(tmp_path, "regression", values.tolist(), 1)
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "panel", lambda blocks, *rest: drawn.extend(blocks))
    list(explore._by_target(spec, index, Console(json=True)))
    shares = (0, 10, 25, 50, 75, 90, 100)
    assert [heading for heading, _ in drawn] == [f"{share} %: class 0 {share}" for share in shares]
    for (_, images), share in zip(drawn, shares, strict=True):
        shown = [values[int(image[0, 0, 0])] for image in images]
        assert len(shown) == 8
        assert share in shown
        assert shown == sorted(shown)


def test_means_of_grades_stay_in_their_order(tmp_path: Path) -> None:
    spec, index = constant_data(tmp_path, "ordinal", [4, 4, 4, 0, 2, 2], 5)
    assert list(statistics(spec, index)) == [0, 2, 4]


def test_composites_are_the_datasets_own(tmp_path: Path) -> None:
    spec, index = constant_data(tmp_path, "binary", [0, 1], 2)
    assert explore.composite(spec, index, 1).shape == (10, 12, 3)
    assert (explore.composite(spec, index, 1) == 1).all()
    red = DatasetSpec(
        "red", 2, spec.index, spec.read, composite=lambda array: np.full((4, 4, 3), (255, 0, 0), np.uint8)
    )
    assert (explore.composite(red, index, 1)[0, 0] == (255, 0, 0)).all()


def test_the_frame_lies_where_it_is_said() -> None:
    """A white 32x32 square on black, framed: its outline changes, the pixels two further in and out do not."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[32:64, 32:64] = 255
    figure = figures.image_grid([image], [""], "", box=(32, 32, 32, 32), side=4)
    axes = figure.axes[0]
    boxes = {patch.get_bbox().bounds for patch in axes.patches}
    assert boxes == {(31.5, 31.5, 32.0, 32.0)}  # pixel i covers i - 0.5 to i + 0.5


def test_bars_show_counts_and_shares() -> None:
    figure = figures.bars(["a", "b"], [30, 10], 40, "title", "ids")
    axes = figure.axes[0]
    assert [patch.get_width() for patch in axes.patches] == [30, 10]
    assert [text.get_text().strip() for text in axes.texts] == ["30 (75.0%)", "10 (25.0%)"]


def test_histograms_have_area_one() -> None:
    figure = figures.histograms({"a": np.array([1.0, 2, 3]), "b": np.full(7, 200.0)}, "t", "x", (0, 255))
    for patch in figure.axes[0].patches:
        values, edges, _ = patch.get_data()
        assert np.sum(values * np.diff(edges)) == pytest.approx(1)


def test_equal_figures_are_equal_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figures.save(figures.bars(["x"], [1], 1, "t", "ids"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != "" or path.is_file()) == ["a.png", "b.png"]


def test_a_panel_leaves_out_an_empty_block() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    figure = figures.panel([("one", [image] * 9), ("none", [])], "title")
    assert len(figure.subfigs) == 1
    assert draw(figure)[0] > 100


def test_the_command_writes_the_pictures_of_histopathology(kit: Callable[..., Any], tmp_path: Path) -> None:
    from kit.data.store import Store
    from kit.hooks.registry import Registry

    store = Store.of(Registry(), "histo")
    rng = np.random.default_rng(0)
    for split, count in (("train", 9), ("test", 2)):
        (store.root / split).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (96, 96, 3), np.uint8)
            Image.fromarray(pixels).save(store.root / split / f"{split}{number}.tif")
    labels = "".join(f"train{n},{n % 2}\n" for n in range(9))
    (store.root / "train_labels.csv").write_text("id,label\n" + labels)
    (store.root / "sample_submission.csv").write_text("id,label\ntest0,0\ntest1,0\n")
    store.set_origin("archive", "test")
    document = kit("explore", "histo", "--json").json
    names = [Path(picture["path"]).stem for picture in document["pictures"]]
    assert names == [*GENERAL, "centre-box", "positive-negative"]
    folder = store.root / "explore"
    assert document["folder"] == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.png" for name in names)
    done = kit("explore", "histo")
    assert all(picture["path"] in done.out and picture["caption"] in done.out for picture in document["pictures"])


def test_pyplot_is_not_touched(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, kit.reports.explore; print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_label_correlation_is_that_of_pandas() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 9)) < rng.uniform(0.02, 0.9, 9)).astype(np.float32)
    labels[:, 3] = labels[:, 2] * (rng.random(300) < 0.9)
    labels[:, 7], labels[:, 8] = 0, 1
    found = explore.label_correlation(labels)
    np.testing.assert_allclose(found, pd.DataFrame(labels, dtype=np.float64).corr().to_numpy(), atol=1e-12)
    assert np.isnan(found[7:]).all()
    np.testing.assert_allclose(found[:7, :7], np.corrcoef(labels[:, :7].astype(np.float64), rowvar=False), atol=1e-12)


def test_label_correlation_worked_by_hand() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]], np.float32)
    # Means 1/2, 1/4, 1/2; covariances (over n) of the first with the others 1/8 and -1/4; variances 1/4, 3/16, 1/4.
    first = [1, (1 / 8) / (1 / 4 * 3 / 16) ** 0.5, -1]
    np.testing.assert_allclose(explore.label_correlation(labels)[0], first, atol=1e-15)


def test_the_heat_map_reaches_from_minus_one_to_one_and_greys_what_is_unknown(tmp_path: Path) -> None:
    _, index = constant_data(tmp_path, "multilabel", [(0, 1), (0,), (0, 1, 3), (0, 3), (0,)], 4)
    picture = explore._correlation(index, index.targets(index.train))
    axes, _ = picture.figure.axes
    (mesh,) = axes.collections
    assert mesh.get_clim() == (-1, 1)
    known = np.ones((4, 4), bool)
    known[[0, 2]] = known[:, [0, 2]] = False
    assert (np.ma.getmaskarray(mesh.get_array()).reshape(4, 4) == ~known).all()
    red, green, blue, alpha = mesh.get_cmap().get_bad()
    assert red == green == blue < 0.8
    assert alpha == 1
    assert "grey: no correlation, for labels that none or all of them have (class 0, class 2)" in picture.caption
    # Of 3 ids with several labels, 2 of class 1, 2 of class 3, 1 of both: (3 - 4) / (2 * 1)
    assert [text.get_text() for text in axes.texts] == ["1.00", "-0.50", "-0.50", "1.00"]
    assert "3 training ids with more than one label" in picture.caption
    red, _, blue, _ = mesh.get_cmap()(0.0)
    assert red > 3 * blue, "what excludes each other is red"
    red, _, blue, _ = mesh.get_cmap()(1.0)
    assert blue > 3 * red, "what goes together is blue"
    assert axes.yaxis_inverted()


def test_single_labels_say_nothing_of_what_goes_together(tmp_path: Path) -> None:
    """Over all ids two labels seem to exclude each other, because most ids have one of them alone."""
    targets: list[Any] = [(0,)] * 40 + [(1,)] * 40 + [(0, 1)] * 12 + [(0, 2), (1, 2), (2, 3), (2, 3)]
    _, index = constant_data(tmp_path, "multilabel", targets, 4)
    labels = index.targets(index.train)
    several = labels[80:]
    mesh = explore._correlation(index, labels).figure.axes[0].collections[0]
    drawn = np.ma.getdata(mesh.get_array()).reshape(4, 4)
    np.testing.assert_allclose(drawn, np.corrcoef(several.astype(float), rowvar=False), atol=1e-12)
    assert explore.label_correlation(labels)[0, 1] < -0.5 < 0.5 < drawn[0, 1]


def test_small_correlations_have_colour_but_no_number() -> None:
    figure = figures.heat_map(np.array([[1, 0.049], [0.049, 1]]), ["a", "b"], "t", "r")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "1.00"]


def test_the_heat_map_shows_the_most_frequent_of_many_classes(tmp_path: Path) -> None:
    targets: list[Any] = [(), *(tuple(range(first, 60)) for first in range(0, 60, 2))]  # the later, the more frequent
    _, index = constant_data(tmp_path, "multilabel", targets, 60)
    picture = explore._correlation(index, index.targets(index.train))
    axes = picture.figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"class {number}" for number in range(20, 60)]
    assert names == [label.get_text() for label in axes.get_xticklabels()]
    assert "the 40 most frequent of 60" in picture.caption


@pytest.mark.parametrize(
    ("targets", "names", "counts"),
    [
        ([(0,), (0, 1), (2,), (0, 1, 2, 3)], ["1 label", "2 labels", "3 labels", "4 labels"], [2, 1, 0, 1]),
        ([(), (0, 1), ()], ["0 labels", "1 label", "2 labels"], [2, 0, 1]),
        ([(), ()], ["0 labels"], [2]),
    ],
)
def test_labels_per_image(tmp_path: Path, targets: list[Any], names: list[str], counts: list[int]) -> None:
    _, index = constant_data(tmp_path, "multilabel", targets, 4)
    picture = explore._per_image(index.targets(index.train))
    axes = picture.figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert [patch.get_width() for patch in axes.patches] == counts
    assert f"{sum(map(len, targets)) / len(targets):.2f} on average" in picture.caption


def test_very_many_labels_share_a_bar() -> None:
    labels = np.zeros((4, 90), np.float32)
    for row, count in enumerate((39, 40, 41, 90)):
        labels[row, :count] = 1
    axes = explore._per_image(labels).figure.axes[0]
    assert [patch.get_width() for patch in axes.patches][-2:] == [1, 3]
    assert axes.get_yticklabels()[-1].get_text() == "40 labels or more"


def test_an_id_of_several_samples_counts_once(tmp_path: Path) -> None:
    spec, index = constant_data(tmp_path, "multilabel", [(0,), (0,), (1,), (0, 1)], 2)
    index.train["id"] = ["a", "a", "b", "c"]
    pictures = {picture.name: picture for picture in explore._pictures(spec, index, Console(json=True))}
    assert [patch.get_width() for patch in pictures["labels-per-image"].figure.axes[0].patches] == [2, 1]
    assert "3 training ids" in pictures["label-correlation"].caption
    assert pictures["label-correlation"].figure.axes[0].texts[1].get_text() == "-0.50"  # (3 - 4) / (2 * 1)


def test_the_rarest_classes_with_their_images(tmp_path: Path) -> None:
    """Class k has k images; the first pixel of an image is its number."""
    targets: list[Any] = [(number,) for number in range(12) for _ in range(number)]
    spec, index = constant_data(tmp_path, "multilabel", targets, 12)
    (picture,) = explore._rarest(spec, index, Console(json=True))
    headings = [part.get_suptitle() for part in picture.figure.subfigs]
    assert headings == [f"class {number}: {number} of 66 training ids" for number in range(1, 9)]
    assert "1 of 12 classes have no image" in picture.caption
    for number, part in enumerate(picture.figure.subfigs, 1):
        shown = [int(image.get_array()[0, 0, 0]) for axes in part.axes for image in axes.images]
        assert len(set(shown)) == min(number, 8)
        assert {targets[level] for level in shown} == {(number,)}


def test_without_any_label_there_is_no_picture_of_classes(tmp_path: Path) -> None:
    spec, index = constant_data(tmp_path, "multilabel", [(), ()], 3)
    written = explore.write_pictures(spec, index, tmp_path / "explore", Console(json=True))
    assert [path.stem for path, _ in written] == MULTILABEL[:4]


def test_equal_data_gives_equal_bytes_and_bounded_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, number in (("SAMPLE", 50), ("GRID", 6), ("RAREST", 2)):
        monkeypatch.setattr(explore, limit, number)
    rng = np.random.default_rng(0)
    targets = [tuple(np.flatnonzero(rng.random(5) < 0.3).tolist()) for _ in range(3000)]
    read: list[int] = []

    def picture_of(files: tuple[Path, ...]) -> np.ndarray:
        read.append(int(files[0].stem))
        return np.full((6, 6, 2), read[-1] % 256, np.uint8)

    _, index = constant_data(tmp_path, "multilabel", targets, 5)
    spec = DatasetSpec("counted", 2, lambda _: index, picture_of)
    first, second = (dict(explore.write_pictures(spec, index, tmp_path / name, Console(json=True))) for name in "ab")
    assert list(first.values()) == list(second.values())
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len(read) <= 2 * (50 + 6 + 2 * 8)


def test_the_brightest_image_lies_in_the_histogram(tmp_path: Path) -> None:
    spec, index = constant_data(tmp_path, "multilabel", [(0,), (0,), (1,)], 2)
    axes = list(explore._by_class(spec, index, Console(json=True)))[1].figure.axes[0]
    assert axes.get_xlim() == (0, 3)  # mean brightness 0, 1 and 2
    for patch in axes.patches:
        values, edges, _ = patch.get_data()
        assert np.sum(values * np.diff(edges)) == pytest.approx(1)


def test_small_shares_and_small_counts_are_told_right() -> None:
    axes = figures.bars(["a", "b", "c"], [1, 0, 9999], 10_000, "t", "ids").axes[0]
    assert [text.get_text().strip() for text in axes.texts] == ["1 (<0.1%)", "0 (0.0%)", "9,999 (100.0%)"]
    axes = figures.bars(["a"], [1], 1, "t", "ids").axes[0]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


LONG = ("Nucleoplasm", "Nucleoli fibrillar center", "Microtubule organizing center", "Rods & rings", "Cytosol") * 8
NUMBERS = [str(number) for number in range(20)]
SQUARE = np.zeros((8, 8, 3), np.uint8)
SENTENCE = "A title that is long enough to need several lines in the narrower ones of the figures that are drawn here"
FIGURES: dict[str, Callable[[], Figure]] = {
    "one": lambda: figures.image_grid([SQUARE], LONG[2:3], SENTENCE),
    "grid": lambda: figures.image_grid([SQUARE] * 20, [", ".join(LONG[n : n + n % 5]) for n in range(20)], SENTENCE),
    "large grid": lambda: figures.image_grid(
        [SQUARE] * 20, [f"{name} (12,345)" for name in LONG[:20]], "t", 7, side=2.2
    ),
    "wide letters": lambda: figures.image_grid([SQUARE] * 16, ["membrane membrane mammals"] * 16, "t"),
    "panel": lambda: figures.panel([(f"{name}: 1 of 31,072", [SQUARE] * 9) for name in LONG[:3]], SENTENCE),
    "table": lambda: figures.table([(",\n".join(LONG[:3]), [SQUARE] * 3), ("", [SQUARE] * 3)], LONG[:3], SENTENCE),
    "heat map": lambda: figures.heat_map(np.eye(40), LONG, SENTENCE, "r"),
    "heat map of short names": lambda: figures.heat_map(-np.ones((20, 20)), NUMBERS, SENTENCE, "Pearson correlation"),
    "small heat map": lambda: figures.heat_map(np.full((2, 2), np.nan), LONG[1:3], SENTENCE, "Pearson correlation"),
    "histogram": lambda: figures.histogram(np.arange(9000.0) ** 2, (1, 4e7, 8e7), SENTENCE, LONG[2]),
    "bars": lambda: figures.bars(LONG, range(0, 80_000, 2000), 80_000, SENTENCE, "training ids"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_or_lies_on_another(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in assert_texts_lie_apart(FIGURES[name](), figures.DPI, monkeypatch):
        assert " ..." not in text.get_text()
