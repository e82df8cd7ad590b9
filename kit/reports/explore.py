"""Pictures of a competition's training data, the same for every competition, then the competition's own."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kit.console import Console
from kit.data.index import Index, multi_hot
from kit.data.pixels import resize
from kit.plugin.specs import DatasetSpec, Picture
from kit.reports import figures

SAMPLE = 2000  # images read for means and histograms
SHOWN = 24  # classes with a mean image
OUTLINED = 8  # classes with a histogram
BARS = 40  # classes with a bar
SIDE = 96  # of mean images and grid tiles, pixels
GRID = 64
SEED = 0


@dataclass
class Statistics:
    """What is kept of the images of one class: the sum of composites (SIDE x SIDE x 3) and each one's brightness."""

    total: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE, 3)))
    brightness: list[float] = field(default_factory=list)

    @property
    def mean(self) -> np.ndarray:
        """The mean composite as SIDE x SIDE x 3 uint8."""
        return (self.total / max(len(self.brightness), 1)).round().astype(np.uint8)


def composite(dataset: DatasetSpec, index: Index, row: int) -> np.ndarray:
    """One training sample as an RGB picture, HxWx3 uint8, at its own size."""
    files = tuple(index.root / name for name in index.train["files"].iat[row])
    return dataset.picture(dataset.read(files))


def write_pictures(dataset: DatasetSpec, index: Index, folder: Path, console: Console) -> list[tuple[Path, str]]:
    """Write all pictures to `folder` as PNG and give each path with its caption.

    Images are read for at most `SAMPLE` training samples, drawn with a fixed seed: equal data gives equal pictures.
    """
    written = []
    for picture in _pictures(dataset, index, console):
        path = folder / f"{picture.name}.png"
        figures.save(picture.figure, path)
        written.append((path, picture.caption))
    return written


def _pictures(dataset: DatasetSpec, index: Index, console: Console) -> Iterator[Picture]:
    if not len(index.train):
        return
    yield _grid(dataset, index)
    yield _frequency(index)
    yield from _by_class(dataset, index, console)
    if dataset.figures is not None:
        yield from dataset.figures(index)


def _grid(dataset: DatasetSpec, index: Index) -> Picture:
    rows = np.random.default_rng(SEED).permutation(len(index.train))[:GRID]
    images = [resize(composite(dataset, index, row), SIDE) for row in rows]
    titles = [_class_names(index, index.train["target"].iat[row]) for row in rows]
    text = f"{len(rows)} training images drawn at random, with their classes"
    return Picture("grid", text, figures.image_grid(images, titles, text))


def _class_names(index: Index, target: int | tuple[int, ...]) -> str:
    numbers = target if isinstance(target, tuple) else (int(target),)
    return ", ".join(index.classes[number] for number in numbers) or "none"


def _frequency(index: Index) -> Picture:
    counts = index.class_counts()
    ids = index.train["id"].nunique()
    if len(counts) > BARS:
        text = f"Training ids in each of the {len(counts)} classes"
        return Picture("label-frequency", text, figures.ranked(list(counts.values()), text, "ids"))
    several = "; an id may have several labels" if index.task == "multilabel" else ""
    text = f"How often each label occurs among {ids:,} training ids{several}"
    names, numbers = list(counts), list(counts.values())
    return Picture("label-frequency", text, figures.bars(names, numbers, ids, text, "training ids"))


def _by_class(dataset: DatasetSpec, index: Index, console: Console) -> Iterator[Picture]:
    rows_of = _draw(index)
    statistics = _measure(dataset, index, rows_of, console)
    read = len({row for rows in rows_of.values() for row in rows})
    base = f"{read:,} training images" + (f" of {len(index.train):,}" if read < len(index.train) else "")
    most = "" if len(rows_of) == len(index.classes) else f" (the {len(rows_of)} most frequent)"
    text = f"Mean image of each class{most}, from {base}"
    titles = [f"{index.classes[number]} ({len(of.brightness):,})" for number, of in statistics.items()]
    means = [of.mean for of in statistics.values()]
    yield Picture("mean-images", text, figures.image_grid(means, titles, text, columns=6, side=2.0))

    outlined = dict(list(statistics.items())[:OUTLINED])
    most = "" if len(outlined) == len(index.classes) else f" (the {len(outlined)} most frequent)"
    text = f"Brightness of the images of each class{most}, from {base}"
    values = {index.classes[number]: np.array(of.brightness) for number, of in outlined.items()}
    label = "mean brightness of an image, 0 black to 255 white"
    yield Picture("brightness", text, figures.histograms(values, text, label, (0, 255)))


def _draw(index: Index) -> dict[int, np.ndarray]:
    """Rows to read for each class to show, most frequent first, an equal share of `SAMPLE` each."""
    frame = index.train
    if index.task == "multilabel":
        member = multi_hot(frame["target"].tolist(), len(index.classes)) > 0
        rows_of = {number: np.flatnonzero(member[:, number]) for number in range(len(index.classes))}
    else:
        targets = frame["target"].to_numpy()
        rows_of = {number: np.flatnonzero(targets == number) for number in range(len(index.classes))}
    present = [number for number, rows in rows_of.items() if len(rows)]
    shown = sorted(present, key=lambda number: -len(rows_of[number]))[:SHOWN]
    share = SAMPLE // max(len(shown), 1)
    rng = np.random.default_rng(SEED)
    return {number: np.sort(rng.permutation(rows_of[number])[:share]) for number in shown}


def _measure(
    dataset: DatasetSpec, index: Index, rows_of: dict[int, np.ndarray], console: Console
) -> dict[int, Statistics]:
    """Read each drawn image once and add it to the classes for which it was drawn."""
    classes_of: dict[int, list[int]] = {}
    for number, rows in rows_of.items():
        for row in rows.tolist():
            classes_of.setdefault(row, []).append(number)
    statistics = {number: Statistics() for number in rows_of}
    with console.progress("reading", len(classes_of)) as bar:
        for row, numbers in classes_of.items():
            image = resize(composite(dataset, index, row), SIDE)
            brightness = float(image.mean())
            for number in numbers:
                statistics[number].total += image
                statistics[number].brightness.append(brightness)
            bar.advance()
    return statistics
