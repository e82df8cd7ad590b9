"""Pictures of a competition's training data: those that every competition gets, then the competition's own."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kit.console import Console
from kit.data.images import read_sample, resize
from kit.data.index import Index
from kit.hooks.specs import DatasetSpec, Picture
from kit.images.levels import reading
from kit.reports import figures
from kit.task import ORDINAL

SAMPLE = 2000  # images read for means and histograms
SHOWN = 24  # classes with a mean image
OUTLINED = 8  # classes with a histogram
BARS = 40  # classes with a bar, or with a row and a column of the heat map
SIDE = 96  # pixels, of mean images and grid tiles
GRID = 64  # images in the grid
ALONG = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # the quantiles of a target at which images are shown
RAREST, EACH, LARGE = 8, 8, 160  # rarest classes, images per class, their side in pixels
SEED = 0


@dataclass
class Statistics:
    """Statistics of the images of one class: the sum of composites (SIDE x SIDE x 3) and each image's brightness."""

    total: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE, 3)))
    brightness: list[float] = field(default_factory=list)

    @property
    def mean(self) -> np.ndarray:
        """The mean composite as SIDE x SIDE x 3 uint8."""
        return (self.total / max(len(self.brightness), 1)).round().astype(np.uint8)


def composite(dataset: DatasetSpec, index: Index, row: int) -> np.ndarray:
    """Return one training sample as an RGB picture, HxWx3 uint8, at its own size."""
    return dataset.picture(read_sample(dataset, index.root, index.train["files"].iat[row]))


def write_pictures(dataset: DatasetSpec, index: Index, folder: Path, console: Console) -> list[tuple[Path, str]]:
    """Write all pictures to `folder` as PNG and return each path with its caption.

    At most `SAMPLE` training samples are read for statistics, and `GRID` plus `RAREST` times `EACH` to be shown; all
    are drawn with a fixed seed, so equal data gives equal pictures.
    """
    written = []
    for picture in _pictures(dataset, index, console):
        path = folder / f"{picture.name}.png"
        with console.waiting(f"drawing {picture.name}"):
            figures.save(picture.figure, path)
        written.append((path, picture.caption))
    return written


def _pictures(dataset: DatasetSpec, index: Index, console: Console) -> Iterator[Picture]:
    if len(index.train):
        yield from _general(dataset, index, console)
    # Controls alone may have pictures of the competition's own, never general ones.
    if dataset.figures is not None and (len(index.train) or len(index.controls)):
        yield from _own(dataset.figures(index), index.root, console)


def _general(dataset: DatasetSpec, index: Index, console: Console) -> Iterator[Picture]:
    yield _grid(dataset, index, console)
    if not index.task.has_classes:
        yield from _targets(index)
        yield from _by_target(dataset, index, console)
        return
    yield _frequency(index)
    if not index.task.single_label:
        labels = index.targets(index.train.drop_duplicates("id"))
        yield _per_image(labels)
        yield _correlation(index, labels)
        yield from _rarest(dataset, index, console)
    yield from _by_class(dataset, index, console)


def _own(pictures: Iterable[Picture], root: Path, console: Console) -> Iterator[Picture]:
    """Yield the competition's own pictures, with a spinner while each is made."""
    iterator = iter(pictures)
    while True:
        with console.waiting("reading"), reading(root):
            picture = next(iterator, None)
        if picture is None:
            return
        yield picture


def _grid(dataset: DatasetSpec, index: Index, console: Console) -> Picture:
    rows = np.random.default_rng(SEED).permutation(len(index.train))[:GRID].tolist()
    images = _composites(dataset, index, rows, SIDE, console)
    titles = [_said(index, row) for row in rows]
    what = "classes" if index.task.has_classes else "targets"
    text = f"{len(rows)} training images drawn at random, with their {what}"
    return Picture("grid", text, figures.image_grid(images, titles, text))


def _composites(
    dataset: DatasetSpec, index: Index, rows: Sequence[int], side: int, console: Console
) -> list[np.ndarray]:
    """Read the composites of training samples, side x side x 3 uint8."""
    images = []
    with console.progress("reading", len(rows)) as bar:
        for row in rows:
            images.append(resize(composite(dataset, index, row), side))
            bar.advance()
    return images


def _said(index: Index, row: int) -> str:
    """Name the classes of a training row, in the order of its label, or give its numbers."""
    target = index.train["target"].iat[row]
    if not index.task.has_classes:
        return index.task.label_text(index.classes, np.ravel(target))
    numbers = target if isinstance(target, tuple) else (int(target),)
    return ", ".join(index.classes[number] for number in numbers) or "none"


def _targets(index: Index) -> Iterator[Picture]:
    """Yield a histogram of each target over the training ids."""
    numbers = index.targets(index.train.drop_duplicates("id")).astype(np.float64)
    for place, values in enumerate(numbers.T):
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        text = (
            f"{index.classes[place]} of {len(values):,} training ids: median {middle:.4g}, "
            f"90 % between {low:.4g} and {high:.4g}"
        )
        figure = figures.histogram(values, (low, middle, high), text, index.classes[place])
        yield Picture(_name("target", place, index), text, figure)


def _by_target(dataset: DatasetSpec, index: Index, console: Console) -> Iterator[Picture]:
    """Yield images along the quantiles of each target, `EACH` at each."""
    numbers = index.targets(index.train).astype(np.float64)
    for place, values in enumerate(numbers.T):
        order = np.argsort(values, kind="stable")
        blocks = []
        for share in ALONG:
            middle = round(share * (len(order) - 1))
            first = min(max(middle - EACH // 2, 0), max(len(order) - EACH, 0))
            rows = order[first : first + EACH].tolist()
            heading = f"{100 * share:g} %: {index.classes[place]} {values[order[middle]]:.4g}"
            blocks.append((heading, _composites(dataset, index, rows, LARGE, console)))
        text = f"Training images along the quantiles of {index.classes[place]}, {EACH} at each"
        yield Picture(_name("images-by-target", place, index), text, figures.panel(blocks, text, EACH))


def _name(name: str, place: int, index: Index) -> str:
    """Return the name of a target's picture; several targets are numbered, whatever they are called."""
    return name if len(index.classes) == 1 else f"{name}-{place + 1}"


def _frequency(index: Index) -> Picture:
    counts = index.class_counts()
    ids = index.train["id"].nunique()
    if len(counts) > BARS:
        text = f"Training ids per class, {len(counts)} classes"
        return Picture("label-frequency", text, figures.ranked(list(counts.values()), text, "ids"))
    several = "" if index.task.single_label else "; an id may have several labels"
    text = f"How often each label occurs among {ids:,} training ids{several}"
    names, numbers = list(counts), list(counts.values())
    return Picture("label-frequency", text, figures.bars(names, numbers, ids, text, "training ids"))


def _per_image(labels: np.ndarray) -> Picture:
    """Draw a bar per number of labels: how many of the n ids (labels: n x K of 0 and 1) have that many."""
    numbers = labels.sum(1).astype(np.int64)
    counts = np.bincount(np.minimum(numbers, BARS))
    first = 0 if counts[0] else 1
    names = [f"{number} label{'s' * (number != 1)}" for number in range(len(counts))]
    if numbers.max() > BARS:
        names[-1] = f"{BARS} labels or more"
    text = f"Labels per id: {numbers.mean():.2f} on average over {len(labels):,} training ids"
    figure = figures.bars(names[first:], counts[first:].tolist(), len(labels), text, "training ids")
    return Picture("labels-per-image", text, figure)


def _correlation(index: Index, labels: np.ndarray) -> Picture:
    """Draw which labels go together, over the ids that have several: the others only say that one excludes the rest."""
    several = labels[labels.sum(1) > 1]
    which_ids = "training ids with more than one label" if len(several) > 1 else "training ids"
    labels = several if len(several) > 1 else labels
    shown = np.sort(np.argsort(-labels.sum(0), kind="stable")[:BARS])  # the most frequent, in the order of the classes
    values = label_correlation(labels[:, shown])
    names = [index.classes[number] for number in shown]
    most = _most(BARS, len(index.classes), index)
    text = f"Pearson correlation between the labels{most} of {len(labels):,} {which_ids}"
    if constant := [name for name, value in zip(names, values.diagonal(), strict=True) if np.isnan(value)]:
        which = ", ".join(constant) if len(constant) <= 3 else f"{len(constant)} of {len(names)}"
        text += f"; grey: no correlation, for labels that none or all of them have ({which})"
    return Picture("label-correlation", text, figures.heat_map(values, names, text, "Pearson correlation"))


def label_correlation(labels: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation, K x K, of the columns of an n x K matrix of 0 and 1; NaN for constant columns.

    For such columns it follows from counts alone (Pearson's phi): those of each column and of each pair.
    """
    exact = labels.astype(np.float64)
    counts, pairs = exact.sum(0), exact.T @ exact
    spread = counts * (len(labels) - counts)
    with np.errstate(invalid="ignore"):
        return (len(labels) * pairs - np.outer(counts, counts)) / np.sqrt(np.outer(spread, spread))


def _rarest(dataset: DatasetSpec, index: Index, console: Console) -> Iterator[Picture]:
    """Yield a picture of the rarest classes that have an image; nothing if none has."""
    counts, rows_of = list(index.class_counts().values()), _rows_of(index)
    shown = sorted(rows_of, key=lambda number: counts[number])[:RAREST]
    rng = np.random.default_rng(SEED)
    drawn = {number: rng.permutation(rows_of[number])[:EACH] for number in shown}
    rows = sorted({row for some in drawn.values() for row in some.tolist()})
    images = dict(zip(rows, _composites(dataset, index, rows, LARGE, console), strict=True))
    if not rows:
        return
    text = f"The rarest classes, each with up to {EACH} of its training images"
    if len(rows_of) < len(counts):
        text += f"; {len(counts) - len(rows_of)} of {len(counts)} classes have no image"
    ids = index.train["id"].nunique()
    blocks = [
        (f"{index.classes[number]}: {counts[number]:,} of {ids:,} training ids", [images[row] for row in some.tolist()])
        for number, some in drawn.items()
    ]
    yield Picture("rarest-classes", text, figures.panel(blocks, text, EACH))


def _by_class(dataset: DatasetSpec, index: Index, console: Console) -> Iterator[Picture]:
    rows_of = _draw(index)
    if not rows_of:
        return
    present = len(_rows_of(index))
    statistics = _measure(dataset, index, rows_of, console)
    read = len({row for rows in rows_of.values() for row in rows})
    base = f"{read:,} training images" + (f" of {len(index.train):,}" if read < len(index.train) else "")
    text = f"Mean image of each class{_most(SHOWN, present, index)}, from {base}"
    titles = [f"{index.classes[number]} ({len(of.brightness):,})" for number, of in statistics.items()]
    means = [of.mean for of in statistics.values()]
    yield Picture("mean-images", text, figures.image_grid(means, titles, text, columns=6, side=2.1))

    outlined = dict(list(statistics.items())[:OUTLINED])
    text = f"Brightness of the images of each class{_most(OUTLINED, present, index)}, from {base}"
    values = {index.classes[number]: np.array(of.brightness) for number, of in outlined.items()}
    brightest = max(int(numbers.max()) for numbers in values.values())
    label = "mean brightness of an image, 0 black to 255 white"
    yield Picture("brightness", text, figures.histograms(values, text, label, (0, brightest + 1)))


def _most(limit: int, present: int, index: Index) -> str:
    """Return the words for a title on which classes are shown, if there are more than `limit`."""
    return f" (the {limit} most frequent of {len(index.classes)})" if present > limit else ""


def _draw(index: Index) -> dict[int, np.ndarray]:
    """Draw the rows to read for each class shown, most frequent first, an equal share of `SAMPLE` per class; grades
    stay in their order."""
    rows_of = _rows_of(index)
    shown = sorted(rows_of, key=lambda number: -len(rows_of[number]))[:SHOWN]
    shown = sorted(shown) if index.task is ORDINAL else shown
    share = SAMPLE // max(len(shown), 1)
    rng = np.random.default_rng(SEED)
    return {number: np.sort(rng.permutation(rows_of[number])[:share]) for number in shown}


def _rows_of(index: Index) -> dict[int, np.ndarray]:
    """Return the training rows of each class that has any."""
    hot = index.task.one_hot(index.targets(index.train), len(index.classes))
    found = {number: np.flatnonzero(hot[:, number]) for number in range(len(index.classes))}
    return {number: rows for number, rows in found.items() if len(rows)}


def _measure(
    dataset: DatasetSpec, index: Index, rows_of: dict[int, np.ndarray], console: Console
) -> dict[int, Statistics]:
    """Read each drawn image once and add it to the classes it was drawn for."""
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
