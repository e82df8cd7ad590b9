"""The pictures of protein's own in `kit explore`: channels in their colours, green images of each class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kit.data.index import Index
from kit.plugin import Picture
from kit.reports.figures import save
from kit_protein import figures
from kit_protein.dataset import CLASSES, COLOURS, index

SIDE = 24


def protein(root: Path, labels: list[str]) -> Index:
    """Images id0, id1, ... with these labels; their four channels are noise of 0 to 39."""
    rng = np.random.default_rng(0)
    (root / "train").mkdir(parents=True)
    rows = ["Id,Target"]
    for number, label in enumerate(labels):
        rows.append(f"id{number},{label}")
        for colour in COLOURS:
            pixels = rng.integers(0, 40, (SIDE, SIDE), np.uint8)
            Image.fromarray(pixels).save(root / "train" / f"id{number}_{colour}.png")
    (root / "train.csv").write_text("\n".join(rows) + "\n")
    return index(root)


def arrays(picture: Picture) -> list[np.ndarray]:
    """The pixels of the images of a figure, row by row."""
    return [np.asarray(image.get_array()) for axes in picture.figure.axes for image in axes.images]


def pixels(found: Index, number: int, colour: str) -> np.ndarray:
    return np.asarray(Image.open(found.root / "train" / f"id{number}_{colour}.png"))


def stretched(channel: np.ndarray) -> np.ndarray:
    """By the rule as it is written, in float64."""
    top = np.percentile(channel.astype(np.float64), 99.8)
    return np.rint(np.minimum(channel * min(4.0, 255 / top if top else 4.0), 255))


@pytest.mark.parametrize(
    "channel",
    [
        np.full((10, 10), 10, np.uint8),  # would need 25.5 times: 4 it is
        np.full((10, 10), 100, np.uint8),  # white
        np.zeros((10, 10), np.uint8),
        np.random.default_rng(0).integers(0, 200, (100, 100), np.uint8),
        np.random.default_rng(1).integers(0, 60, (100, 100), np.uint8),
        np.random.default_rng(2).integers(0, 256, (100, 100), np.uint8),
    ],
)
def test_the_stretch_is_bounded(channel: np.ndarray) -> None:
    found = figures.brightened(channel)
    assert found.dtype == np.uint8
    assert np.abs(found - stretched(channel)).max() <= 1
    assert (found <= 4 * channel.astype(int)).all()
    assert (found >= channel).all()


def test_one_bright_speck_does_not_keep_the_rest_dark() -> None:
    channel = np.full((100, 100), 80, np.uint8)
    channel[0, 0] = 255
    assert figures.brightened(channel)[1, 1] == 255


@pytest.mark.parametrize(
    ("colour", "paint"), [("red", (1, 0, 0)), ("green", (0, 1, 0)), ("blue", (0, 0, 1)), ("yellow", (1, 1, 0))]
)
def test_each_channel_is_drawn_in_its_colour_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: str, paint: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(figures, "LARGE", SIDE)
    found = protein(tmp_path, ["0", "1 2", "27"])
    (picture, _) = figures.figures(found)
    place = ("red", "green", "blue", "yellow").index(colour) + 1
    headings = [axes.get_title().replace("\n", " ") for axes in picture.figure.axes[:5]]
    assert headings[0] == "composite"
    assert headings[place].startswith(f"{colour}: ")
    labels = {CLASSES[0]: 0, f"{CLASSES[1]},\n{CLASSES[2]}": 1, CLASSES[27]: 2}
    assert {axes.get_ylabel() for axes in picture.figure.axes[::5]} == set(labels)
    for row in range(3):
        number = labels[picture.figure.axes[5 * row].get_ylabel()]
        panel = arrays(picture)[5 * row + place].astype(np.float64)
        wanted = stretched(pixels(found, number, colour))[..., None] * np.array(paint)
        assert np.abs(panel - wanted).max() <= 1


def test_the_composite_is_of_the_stretched_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Yellow light is half red and half green."""
    monkeypatch.setattr(figures, "LARGE", SIDE)
    found = protein(tmp_path, ["5"])
    red, green, blue, yellow = (stretched(pixels(found, 0, colour)) for colour in COLOURS)
    wanted = np.stack([red + yellow / 2, green + yellow / 2, blue], 2).clip(0, 255)
    panel = arrays(next(iter(figures.figures(found))))[0]
    assert np.abs(panel - wanted).max() <= 2
    assert figures.composite(np.dstack([pixels(found, 0, colour) for colour in COLOURS])).max() < 60  # as it was


def shown(found: Index, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, list[int]], str]:
    """Title -> numbers of the images in its mosaic, recognised by their pixels; and the caption."""
    monkeypatch.setattr(figures, "SMALL", SIDE)
    *_, picture = figures.figures(found)
    step, known = SIDE + figures.GAP, {}
    for number in range(len(found.train)):
        known[stretched(pixels(found, number, "green")).astype(np.uint8).tobytes()] = number
    titles = {}
    for axes in (axes for axes in picture.figure.axes if axes.images):
        mosaic = np.asarray(axes.images[0].get_array())
        tiles = [mosaic[top : top + SIDE, left : left + SIDE] for top in (0, step) for left in (0, step)]
        tiles = [tile for tile in tiles if (tile != 255).any()]
        assert all((tile[..., [0, 2]] == 0).all() for tile in tiles)
        titles[axes.get_title().replace("\n", " ")] = [known[tile[..., 1].tobytes()] for tile in tiles]
    return titles, picture.caption


def test_green_images_of_each_class_that_have_its_label_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of 3 there are six alone, of 7 two alone and four in company, of 9 none alone; the rest has no image.
    labels = ["3"] * 6 + ["7"] * 2 + ["7 9"] * 4
    titles, caption = shown(protein(tmp_path, labels), monkeypatch)
    nuclear, golgi, endosomes = (f"{CLASSES[number]} ({count})" for number, count in ((3, 6), (7, 6), (9, 4)))
    assert list(titles) == [nuclear, golgi, endosomes]
    assert len(set(titles[nuclear])) == 4
    assert set(titles[nuclear]) <= set(range(6))
    assert set(titles[golgi][:2]) == {6, 7}
    assert set(titles[golgi][2:]) <= {8, 9, 10, 11}
    assert len(set(titles[golgi])) == 4
    assert set(titles[endosomes]) == {8, 9, 10, 11}
    assert caption.endswith("25 classes have no image")


def test_a_single_image_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles, _ = shown(protein(tmp_path, ["21"]), monkeypatch)
    assert titles == {"Plasma membrane (1)": [0]}


def test_reading_is_bounded_and_equal_data_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = protein(tmp_path / "data", [str(number % 28) for number in range(200)])
    read: list[Any] = []
    for name in ("read", "read_grey"):
        real = getattr(figures, name)
        monkeypatch.setattr(figures, name, lambda path, real=real: (read.append(path), real(path))[1])
    written = []
    for folder in ("a", "b"):
        for picture in figures.figures(found):
            path = tmp_path / folder / f"{picture.name}.png"
            path.parent.mkdir(exist_ok=True)
            save(picture.figure, path)
            written.append((picture.name, picture.caption, path.read_bytes()))
    assert [name for name, _, _ in written[:2]] == ["rgby-panels", "green-by-class"]
    assert written[:2] == written[2:]
    assert len(read) == 2 * (6 + 28 * 4)
    for _, caption, _ in written:
        assert "brightened for display (99.8th percentile to white, at most 4 times)" in caption
    for name, width in (("rgby-panels", 1000), ("green-by-class", 1500)):
        with Image.open(tmp_path / "a" / f"{name}.png") as image:
            assert width <= image.width <= 2000
            assert 800 <= image.height <= 1600
