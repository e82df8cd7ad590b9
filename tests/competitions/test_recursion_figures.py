"""The pictures of recursion's own in `kit explore`: plates, experiments, channels, controls."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from helpers.figure_texts import assert_texts_lie_apart
from helpers.recursion_data import EXPERIMENTS, SIDE, write
from kit.console import Console
from kit.data.index import Index
from kit.plugin import DatasetSpec, Picture
from kit.reports import figures as general
from kit.reports.explore import write_pictures
from kit_recursion import figures
from kit_recursion.dataset import CHANNELS, composite, index

NAMES = ["plate-heat-maps", "channels-by-experiment", "channels", "controls"]
# rxrx1-utils, and how the issue names the channels.
PAINTS = {
    "1 nuclei": (19, 0, 249),
    "2 endoplasmic reticulum": (42, 255, 31),
    "3 actin": (255, 0, 25),
    "4 nucleoli": (45, 255, 252),
    "5 mitochondria": (250, 0, 253),
    "6 Golgi apparatus": (254, 255, 40),
}


def drawn(found: Index) -> dict[str, Picture]:
    return {picture.name: picture for picture in figures.figures(found)}


def pixels(root: Path, part: str, well: str, site: int) -> np.ndarray:
    """A site as HxWx6, decoded by Pillow; `well` is an id."""
    experiment, plate, place = well.rsplit("_", 2)
    folder = root / part / experiment / f"Plate{plate}"
    return np.dstack([np.asarray(Image.open(folder / f"{place}_s{site}_w{channel}.png")) for channel in range(1, 7)])


def wells(root: Path) -> dict[str, str]:
    """Id -> train or test, of every well that the csv files name."""
    return {
        id_: part
        for part in EXPERIMENTS
        for name in (part, f"{part}_controls")
        for id_ in pd.read_csv(root / f"{name}.csv")["id_code"]
    }


def write_statistics(root: Path, level: Callable[[str, int, int], float]) -> None:
    """`pixel_stats.csv` of all wells, whose means follow from id, site and channel (1 to 6)."""
    rows = [
        {"id_code": id_, "site": site, "channel": channel, "mean": level(id_, site, channel), "std": 1.0}
        for id_ in wells(root)
        for site in (1, 2)
        for channel in range(1, 7)
    ]
    pd.DataFrame(rows).to_csv(root / "pixel_stats.csv", index=False)


def dark(root: Path) -> Path:
    """The same images an eighth as bright, so that composites are not white."""
    for path in root.glob("*/*/*/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 8).save(path)
    return root


def controls_alone(root: Path) -> Index:
    """Of every plate only the wells of controls."""
    for path in [*root.glob("*/*/*/B03_*"), *root.glob("*/*/*/D10_*")]:
        path.unlink()
    return index(root)


def heat_maps(picture: Picture) -> dict[str, list[Any]]:
    """Plate -> its six axes."""
    grid = [axes for axes in picture.figure.axes if axes.images]
    return {grid[first].get_ylabel(): grid[first : first + 6] for first in range(0, len(grid), 6)}


def tiles(picture: Picture) -> dict[str, list[np.ndarray]]:
    """Label of a row -> its images, of a table of pictures."""
    rows: dict[str, list[np.ndarray]] = {}
    label = ""
    for axes in picture.figure.axes:
        label = axes.get_ylabel() or label
        rows.setdefault(label, []).append(np.asarray(axes.images[0].get_array()))
    return rows


def headings(picture: Picture) -> list[str]:
    return [title for axes in picture.figure.axes if (title := axes.get_title().replace("\n", " "))]


def test_a_heat_map_holds_the_wells_of_its_plate(tmp_path: Path) -> None:
    """Wells of a plate: B02 and C03 (controls), B03 and D10; nothing else between row B and D, column 2 and 10."""
    root = write(tmp_path / "d")
    # In channel 1 at both sites: 10, 20, 30, 60, whose median is 25; other channels some multiple of that.
    levels = {"B02": 10.0, "C03": 20.0, "B03": 30.0, "D10": 60.0}
    # The mean of the two sites is what counts.
    write_statistics(root, lambda id_, site, channel: levels[id_[-3:]] * channel * (0.8 if site == 1 else 1.2))
    picture = drawn(index(root))["plate-heat-maps"]
    plates = heat_maps(picture)
    assert list(plates) == [f"{name}-01\nplate {plate}" for name in ("HEPG2", "HUVEC", "RPE") for plate in (1, 2)]
    wanted = np.full((3, 9), np.nan)
    wanted[0, 0], wanted[1, 1], wanted[0, 1], wanted[2, 8] = -60, -20, 20, 140  # % of 25
    for plate, row in plates.items():
        for channel, axes in enumerate(row, 1):
            np.testing.assert_allclose(axes.images[0].get_array().filled(np.nan), wanted, rtol=1e-12)
            assert axes.get_title().endswith(f"median {25 * channel}.0"), plate
    first = plates["HEPG2-01\nplate 1"]
    assert [axes.get_title().split("\n")[0] for axes in first] == list(PAINTS)
    assert [label.get_text() for label in first[0].get_yticklabels()] == ["B", "C", "D"]
    last = plates["RPE-01\nplate 2"]
    assert [label.get_text() for label in last[0].get_xticklabels()] == [str(number) for number in range(2, 11)]
    # 99th percentile of 60, 20, 20, 140 times six plates: with 24 numbers the largest.
    assert first[0].images[0].get_clim() == (-140, 140)
    assert first[0].images[0].get_cmap().get_bad()[:3].tolist() == pytest.approx([0xB0 / 255] * 3)
    negative, positive = first[0].collections
    assert (negative.get_label(), negative.get_offsets().tolist()) == ("negative control", [[0, 0]])
    assert (positive.get_label(), positive.get_offsets().tolist()) == ("positive control", [[1, 1]])
    assert "from pixel_stats.csv" in picture.caption


def test_without_statistics_heat_maps_are_measured_in_the_first_site(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    picture = drawn(index(root))["plate-heat-maps"]
    row = heat_maps(picture)["RPE-01\nplate 2"]
    places = {"B02": (0, 0), "C03": (1, 1), "B03": (0, 1), "D10": (2, 8)}
    means = {well: pixels(root, "train", f"RPE-01_2_{well}", 1).astype(np.float64).mean((0, 1)) for well in places}
    median = np.median(list(means.values()), axis=0)
    for well, place in places.items():
        shown = [axes.images[0].get_array()[place] for axes in row]
        np.testing.assert_allclose(shown, 100 * (means[well] / median - 1), rtol=1e-9)
    assert "measured in one site per well" in picture.caption


def test_a_plate_of_one_well_and_black_channels_are_no_trouble(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    write_statistics(root, lambda id_, site, channel: 0.0)
    for path in root.glob("*/*/Plate2/[CD]*"):
        path.unlink()
    for path in root.glob("*/*/Plate2/B03_*"):
        path.unlink()
    plates = heat_maps(drawn(index(root))["plate-heat-maps"])
    assert list(plates) == [f"{name}-01\nplate 1" for name in ("HEPG2", "HUVEC", "RPE")]
    shown = plates["HUVEC-01\nplate 1"][0].images[0].get_array()
    assert np.ma.MaskedArray.sum(shown == 0) == 4
    assert shown.count() == 4


def spreads(axes: Any) -> dict[str, list[list[float]]]:
    """Cell type -> of each of its experiments 5th, 25th, 50th, 75th and 95th percentile, as drawn."""
    found = {}
    for number, line in enumerate(axes.lines):
        thin, thick = (axes.collections[2 * number + place].get_segments() for place in (0, 1))
        found[line.get_label()] = [
            [low[0][1], first[0][1], middle, first[1][1], low[1][1]]
            for low, first, middle in zip(thin, thick, line.get_ydata(), strict=True)
        ]
    return found


@pytest.mark.parametrize("brought", [True, False])
def test_channels_by_experiment_are_those_of_numpy(tmp_path: Path, brought: bool) -> None:
    root = write(tmp_path / "d")
    means = {
        (id_, site): pixels(root, part, id_, site).astype(np.float64).mean((0, 1))
        for id_, part in wells(root).items()
        for site in (1, 2)
    }
    if brought:
        means = {key: 200 - value for key, value in means.items()}  # what the images don't say
        write_statistics(root, lambda id_, site, channel: means[id_, site][channel - 1])
    picture = drawn(index(root))["channels-by-experiment"]
    names = sorted(name for some in EXPERIMENTS.values() for name in some)
    panels = picture.figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == list(PAINTS)
    assert [label.get_text() for label in panels[-1].get_xticklabels()] == names
    for channel, axes in enumerate(panels):
        for cell_type, shown in spreads(axes).items():
            own = [name for name in names if name.startswith(cell_type)]
            for name, percentiles in zip(own, shown, strict=True):
                values = [value[channel] for (id_, _), value in means.items() if id_.startswith(name)]
                assert len(values) == 16
                np.testing.assert_allclose(percentiles, np.percentile(values, [5, 25, 50, 75, 95]), rtol=1e-9)
    colours = {line.get_label(): line.get_color() for line in panels[0].lines}
    assert list(colours) == ["HEPG2", "HUVEC", "RPE"]
    assert len(set(colours.values())) == 3
    assert ("from pixel_stats.csv" in picture.caption) == brought
    assert "128 sites" in picture.caption


def test_statistics_that_lack_a_site_are_not_used(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    write_statistics(root, lambda id_, site, channel: 7.0)
    table = pd.read_csv(root / "pixel_stats.csv")
    table[(table["id_code"] != "RPE-02_2_C03") | (table["site"] != 2)].to_csv(root / "pixel_stats.csv", index=False)
    pictures = drawn(index(root))
    assert all("from pixel_stats.csv" not in pictures[name].caption for name in NAMES)
    assert pictures["channels-by-experiment"].figure.axes[0].lines[0].get_ydata()[0] != 7


def test_each_channel_is_drawn_in_its_colour_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "LARGE", SIDE)
    root = dark(write(tmp_path / "d"))
    picture = drawn(index(root))["channels"]
    assert headings(picture) == ["composite", *PAINTS]
    rows = tiles(picture)
    assert [label.split("-")[0] for label in rows] == ["HEPG2", "HUVEC", "RPE"]
    for label, (whole, *single) in rows.items():
        id_, site, kind, _ = label.split("\n")
        assert kind == "treatment"
        image = pixels(root, "train", id_, int(site[-1]))
        np.testing.assert_array_equal(whole, composite(image))
        for channel, paint, shown in zip(np.moveaxis(image, 2, 0), PAINTS.values(), single, strict=True):
            light = np.minimum(channel / np.percentile(channel.astype(np.float64), 99.8), 1)
            assert np.abs(shown - light[..., None] * np.array(paint)).max() <= 0.5 + 1e-9
            assert (shown.reshape(-1, 3) == paint).all(1).any()
    assert "stretched for display (its 99.8th percentile gets full colour)" in picture.caption


def test_a_black_channel_stays_black() -> None:
    assert all((image == 0).all() for image in figures._singles(np.zeros((4, 4, 6), np.uint8), np.zeros(6)))
    assert len(CHANNELS) == len(PAINTS)


def test_controls_stand_beside_treatments_a_sirna_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "SMALL", SIDE)
    root = dark(write(tmp_path / "d"))
    picture = drawn(index(root))["controls"]
    kinds = ["negative control: UNTREATED"] * 2 + ["positive control: sirna_50"] * 2
    treated = ["sirna_100", "sirna_12", "sirna_3"]
    assert headings(picture) == kinds + [f"treatment: {name}" for name in treated]
    train = pd.read_csv(root / "train.csv").set_index(["experiment", "sirna"])["id_code"]
    rows = tiles(picture)
    assert list(rows) == ["HEPG2-01", "HUVEC-01", "RPE-01"]
    for experiment, images in rows.items():
        ids = [f"{experiment}_{plate}_{well}" for well in ("B02", "C03") for plate in (1, 2)]
        ids += [train[experiment, name] for name in treated]
        assert all(0 < image.mean() < 250 for image in images)
        for id_, image in zip(ids, images, strict=True):
            np.testing.assert_array_equal(image, composite(pixels(root, "train", id_, 1)), err_msg=id_)
    assert picture.caption.startswith("Composites of negative controls, positive controls, treatments")
    assert "white" not in picture.caption


def test_what_an_experiment_lacks_is_white(tmp_path: Path) -> None:
    root = dark(write(tmp_path / "d"))
    for path in root.glob("train/HUVEC-0*/*/C03_*"):
        path.unlink()
    picture = drawn(index(root))["controls"]
    column = headings(picture).index("positive control: sirna_50")
    white = {experiment: (images[column] == 255).all() for experiment, images in tiles(picture).items()}
    assert white == {"HEPG2-01": False, "HUVEC-01": True, "RPE-01": False}
    assert "(white: no image)" in picture.caption


def test_an_experiment_whose_sirnas_are_known_is_shown(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    shutil.rmtree(root / "train" / "RPE-01")
    shutil.rmtree(root / "train" / "RPE-02")
    (root / "test" / "RPE-03" / "Plate1" / "B02_s1_w1.png").unlink()
    pictures = drawn(index(root))
    assert list(tiles(pictures["controls"])) == ["HEPG2-01", "HUVEC-01", "RPE-03"]
    label = list(tiles(pictures["channels"]))[2].split("\n")
    assert label[0][:6] == "RPE-03"
    assert label[2:] == ["treatment"]  # its siRNA is to be predicted


def test_controls_alone_are_enough(tmp_path: Path) -> None:
    found = controls_alone(write(tmp_path / "d"))
    assert found.train.empty
    pictures = drawn(found)
    assert list(pictures) == NAMES
    assert {label.split("\n")[2] for label in tiles(pictures["channels"])} <= {"negative control", "positive control"}
    assert [title.split(":")[0] for title in headings(pictures["controls"])] == [
        *["negative control"] * 2,
        *["positive control"] * 2,
    ]
    spec = DatasetSpec("d", 6, lambda _: found, figures.read, composite=composite, figures=figures.figures)
    written = write_pictures(spec, found, tmp_path / "explore", Console(json=True))
    assert [path.stem for path, _ in written] == NAMES


def test_one_well_a_plate_has_no_heat_map(tmp_path: Path) -> None:
    root = write(tmp_path / "d")
    controls_alone(root)
    for path in root.glob("*/*/*/C03_*"):
        path.unlink()
    pictures = drawn(index(root))
    assert list(pictures) == NAMES[1:]
    assert headings(pictures["controls"]) == ["negative control: UNTREATED"] * 2


def test_test_wells_alone_have_no_picture_of_controls_and_nothing_has_none(tmp_path: Path) -> None:
    found = index(write(tmp_path / "d"))
    nothing = {"train": found.train.iloc[:0], "controls": found.controls.iloc[:0]}
    assert list(drawn(replace(found, **nothing))) == NAMES[:3]
    assert list(drawn(replace(found, **nothing, test=found.test.iloc[:0]))) == []


def test_own_pictures_are_not_asked_of_a_competition_without_training_rows_and_controls(tmp_path: Path) -> None:
    found = index(write(tmp_path / "d", images=False))
    called: list[Index] = []
    spec = DatasetSpec("d", 6, lambda _: found, figures.read, figures=lambda some: (called.append(some), ())[1])
    assert write_pictures(spec, found, tmp_path / "explore", Console(json=True)) == []
    assert called == []


@pytest.mark.slow
def test_reading_is_bounded_and_equal_data_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = index(write(tmp_path / "data"))
    read: list[Any] = []
    real = figures.read
    monkeypatch.setattr(figures, "read", lambda files: (read.append(files), real(files))[1])
    monkeypatch.setattr(figures, "READ", 17)  # four plates of four wells, two sites of each of eight experiments
    written = []
    for folder in ("a", "b"):
        for picture in figures.figures(found):
            path = tmp_path / folder / f"{picture.name}.png"
            general.save(picture.figure, path)
            written.append((picture.name, picture.caption, path.read_bytes()))
    assert [name for name, _, _ in written[:4]] == NAMES
    assert written[:4] == written[4:]
    assert len(read) == 2 * (16 + 16 + 3 + 3 * 7)
    assert len(heat_maps(drawn(found)["plate-heat-maps"])) == 4
    assert "up to 2 sites of each" in written[1][1]


def test_one_plate_is_read_whole_even_beyond_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = index(write(tmp_path / "data"))
    monkeypatch.setattr(figures, "READ", 1)
    assert list(heat_maps(drawn(found)["plate-heat-maps"])) == ["HEPG2-01\nplate 1"]


def test_with_statistics_only_shown_images_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "d")
    write_statistics(root, lambda id_, site, channel: 10.0 * channel)
    read: list[Any] = []
    real = figures.read
    monkeypatch.setattr(figures, "read", lambda files: (read.append(files), real(files))[1])
    drawn(index(root))
    assert len(read) == 3 + 3 * 7


PLATE, ONE = np.random.default_rng(0).normal(size=(14, 22)), np.zeros((1, 1))
LETTERS, NUMBERS = "BCDEFGHIJKLMNO", [str(number) for number in range(2, 24)]
MARKS = {kind: np.random.default_rng(1).random((4, 14, 22)) < 0.1 for kind in ("negative control", "positive control")}
ROWS = [(f"HUVEC-{number:02}\nplate 1", [("median 12.3", PLATE)] * 6) for number in range(4)]
EXPERIMENT_NAMES = [f"{cell_type}-{number:02}" for cell_type in ("HEPG2", "HUVEC", "RPE") for number in range(17)]
FIGURES: dict[str, Callable[[], Figure]] = {
    "plates": lambda: general.maps(ROWS, list(PAINTS), (LETTERS, NUMBERS), MARKS, "A title", "% of the median"),
    "a plate": lambda: general.maps(ROWS[:1], list(PAINTS), (LETTERS, NUMBERS), {}, "A title", "% of the median"),
    "a well": lambda: general.maps([("", [("", ONE)])], ["1"], ("B", "2"), {}, "A title", "%"),
    "ranges": lambda: general.ranges(
        {name: [PLATE[:, 0] + 5] * 51 for name in PAINTS},
        EXPERIMENT_NAMES,
        [name.split("-")[0] for name in EXPERIMENT_NAMES],
        "A title",
        "mean grey level of a site, 0 to 255",
    ),
    "range": lambda: general.ranges({"1 nuclei": [ONE[0]]}, ["RPE-01"], ["RPE"], "A title", "level"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_or_lies_on_another(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in assert_texts_lie_apart(FIGURES[name](), general.DPI, monkeypatch):
        assert text.get_rotation() != 45, text
