"""`kit explore`: pictures for any competition, and those of histopathology."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kit.console import Console
from kit.data.index import Index
from kit.plugin import DatasetSpec
from kit.plugin.specs import Task
from kit.reports import explore, figures

GENERAL = ["grid", "label-frequency", "mean-images", "brightness"]


def constant_data(root: Path, task: Task, targets: list[Any], classes: int) -> tuple[DatasetSpec, Index]:
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
    ],
)
def test_every_task_gets_the_general_pictures(tmp_path: Path, task: Task, targets: list[Any], classes: int) -> None:
    spec, index = constant_data(tmp_path, task, targets, classes)
    written = explore.write_pictures(spec, index, tmp_path / "explore", Console(json=True))
    assert [path.stem for path, _ in written] == GENERAL
    for path, caption in written:
        assert caption
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 100


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
    from kit.plugin.registry import Registry

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
