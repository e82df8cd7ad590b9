"""Figures for `kit explore`: images per lesion, age and site by class, a grid per class, unknown metadata."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kit.plugin import Picture
from kit.plugin.data import Index
from kit.plugin.figures import COLOURS, INK, panel
from kit_ham10000.dataset import FACTS, UNKNOWN, read

EACH, WIDE, SIDE = 8, 240, 1.6  # images per class in the grid, their width in pixels and in inches
MOST = 8  # lesions with this many images or more share a bar
SIZES = {"1 image": "#D9D9D9", "2 images": "#9ECAE1", "3 images": "#4292C6", "4 or more": "#08519C"}
STEP, OLD = 5, 85  # years: the step between the ages in the metadata, and the highest one
SEED = 5


def figures(index: Index) -> Iterator[Picture]:
    """Yield five figures of the training rows; at most `EACH` images per class are read."""
    facts = facts_of(index)
    if facts.empty:
        return
    yield _images_per_lesion(facts)
    yield _age(facts)
    yield _sites(facts)
    yield _grids(index, facts)
    yield _unknown(facts)


def facts_of(index: Index) -> pd.DataFrame:
    """Return `dx`, `lesion`, age, sex and localization of each training row, NaN where unknown.

    An image without a lesion id counts as a lesion of its own.
    """
    train = index.train
    facts = train[list(FACTS)].replace(dict.fromkeys(UNKNOWN, np.nan))
    facts["dx"] = pd.Categorical.from_codes(train["target"].to_numpy(np.int64), index.classes)
    facts["lesion"] = train["group"].fillna(train["id"])
    return facts


def counts_by_class(values: pd.Series, dx: pd.Series) -> pd.DataFrame:
    """Count the rows with each value (rows, sorted) in each class (columns, and `all`)."""
    return _with_all(pd.crosstab(values.to_numpy(), dx.to_numpy()).reindex(columns=dx.cat.categories, fill_value=0))


def unknown_by_class(facts: pd.DataFrame) -> pd.DataFrame:
    """Count the images with unknown age, sex and localization (rows) in each class (columns, and `all`)."""
    return _with_all(facts[list(FACTS)].isna().groupby(facts["dx"], observed=False).sum().T)


def images_by_class(facts: pd.DataFrame) -> pd.Series:
    """Count the images of each class, and `all`."""
    return _with_all(facts.groupby("dx", observed=False).size().to_frame().T).iloc[0]


def _with_all(counts: pd.DataFrame) -> pd.DataFrame:
    return counts.rename(columns=str).assign(all=counts.sum(axis=1))


def _images_per_lesion(facts: pd.DataFrame) -> Picture:
    sizes = facts.groupby("lesion").size()
    of_image = facts["lesion"].map(sizes)
    figure = _figure(12, 4.4, "Images per lesion")
    left, right = figure.subplots(1, 2)
    counts = np.bincount(np.minimum(sizes, MOST))[1:]
    left.barh(range(len(counts)), counts, height=0.7, color=COLOURS[0])
    for place, count in enumerate(counts.tolist()):
        left.text(count, place, f" {count:,} ({count / len(sizes):.1%})", va="center", fontsize=9, color=INK)
    names = [f"{number} image{'s' * (number > 1)}" for number in range(1, len(counts) + 1)]
    if sizes.max() > MOST:
        names[-1] = f"{MOST} or more"
    _rows(left, names)
    left.locator_params(axis="x", integer=True)
    left.xaxis.set_major_formatter("{x:,.0f}")
    left.set_xlabel("lesions")

    by_class = counts_by_class(of_image.clip(upper=len(SIZES)), facts["dx"])
    images, start = images_by_class(facts), np.zeros(by_class.shape[1])
    for size, (name, colour) in enumerate(SIZES.items(), 1):
        share = (by_class.reindex([size]).fillna(0).iloc[0] / images.clip(lower=1)).to_numpy()
        right.barh(range(len(images)), share, left=start, height=0.7, color=colour, label=name)
        start += share
    for place, (name, several) in enumerate(by_class.drop(index=1, errors="ignore").sum().items()):
        if images[name]:
            note = f"{several / images[name]:.1%} not alone"
            right.text(1.01, place, note, va="center", fontsize=9, color=INK)
    _rows(right, [f"{name} ({count:,})" for name, count in images.items()])
    right.set_xlim(0, 1)
    right.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    right.set_xlabel("share of a class's images, by how many images their lesion has")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=4, frameon=False, fontsize=9)
    text = (
        f"{len(facts):,} images of {len(sizes):,} lesions: {(of_image > 1).mean():.1%} of the images share their "
        "lesion with another one. A split that ignores lesions has such images on both sides."
    )
    return Picture("images-per-lesion", text, figure)


def _age(facts: pd.DataFrame) -> Picture:
    """Draw one histogram per class, one below the other."""
    classes = facts["dx"].cat.categories
    figure = _figure(8, 0.85 * len(classes) + 1.2, "Age by class, as share of the class's images with known age")
    grid = figure.subplots(len(classes), sharex=True, sharey=True)
    for axes, name in zip(grid, classes, strict=True):
        of_class = facts.loc[facts["dx"] == name, "age"]
        known = of_class.dropna()
        note = f"{len(known):,} known\n{len(of_class) - len(known):,} unknown"
        if len(known):
            ages = known.round().value_counts()
            axes.bar(ages.index, ages / len(known), width=0.8 * STEP, color=COLOURS[0])
            axes.axvline(known.median(), color=COLOURS[1], linewidth=2)
            note = f"median {known.median():.0f}\n{note}"
        axes.text(1.01, 0.5, note, transform=axes.transAxes, va="center", fontsize=9, color=INK)
        axes.set_ylabel(name, rotation="horizontal", ha="right", va="center", fontsize=10, color=INK)
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        _plain(axes)
    grid[-1].set_xlim(-STEP, STEP + np.fmax(OLD, facts["age"].max()))  # fmax ignores NaN
    grid[-1].set_xlabel("years")
    unknown = int(facts["age"].isna().sum())
    text = f"Age by class; line: median. Of {len(facts):,} images {unknown:,} have no age ({unknown / len(facts):.1%})"
    return Picture("age-by-class", text, figure)


def _sites(facts: pd.DataFrame) -> Picture:
    counts = counts_by_class(facts["localization"].fillna("unknown"), facts["dx"])
    order = counts.drop(index="unknown", errors="ignore")["all"].sort_values(ascending=False, kind="stable").index
    counts = counts.reindex([*order, *counts.index.intersection(["unknown"])])
    text = "Body site by class: share of the class's images, and their number"
    return Picture("site-by-class", text, share_map(counts, images_by_class(facts), text))


def _unknown(facts: pd.DataFrame) -> Picture:
    text = "Unknown metadata by class: share of the class's images, and their number"
    figure = share_map(unknown_by_class(facts), images_by_class(facts), text)
    return Picture("metadata-unknown", text, figure)


def share_map(counts: pd.DataFrame, totals: pd.Series, title: str) -> Figure:
    """Draw a heat map of counts as shares of their column's total; a column with a total of 0 is grey."""
    figure = _figure(1.05 * counts.shape[1] + 2.2, 0.4 * len(counts) + 1.5, title)
    axes = figure.subplots()
    shares = counts.div(totals.where(totals > 0), axis=1).to_numpy(np.float64)
    top = max(np.nanmax(shares), 0.01)
    colours = colormaps["Blues"].with_extremes(bad="#B0B0B0")
    axes.pcolormesh(np.ma.masked_invalid(shares), cmap=colours, vmin=0, vmax=top, edgecolors="white", linewidth=0.5)
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            cell, ink = f"{share:.1%} ({counts.iat[row, column]:,})", "white" if share > 0.55 * top else INK
            axes.text(column + 0.5, row + 0.5, cell, ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(np.arange(counts.shape[1]) + 0.5, [f"{name}\n{totals[name]:,}" for name in counts])
    axes.set_xlabel("class, and its number of images", fontsize=9, color=INK)
    axes.set_yticks(np.arange(len(counts)) + 0.5, list(counts.index))
    axes.invert_yaxis()
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    return figure


def _grids(index: Index, facts: pd.DataFrame) -> Picture:
    """Show images of each class, drawn at random from different lesions."""
    order = np.random.default_rng(SEED).permutation(len(facts))
    shown = facts.assign(row=np.arange(len(facts))).iloc[order].drop_duplicates(["dx", "lesion"])
    blocks = []
    for name, lesions in shown.groupby("dx", observed=True):
        paths = index.paths(index.train.iloc[lesions["row"].to_numpy()[:EACH]])
        images = int((facts["dx"] == name).sum())
        heading = f"{name}: {images:,} image{'s' * (images != 1)} of {len(lesions):,} lesion{'s' * (len(lesions) != 1)}"
        blocks.append((heading, [_small(read(files)) for files in paths]))
    text = f"Up to {EACH} images per class, no two of the same lesion"
    figure = panel(blocks, text, columns=EACH, side=SIDE)
    # The panel reserves room for square images.
    tallest = max(image.shape[0] / image.shape[1] for _, images in blocks for image in images)
    figure.set_figheight(figure.get_figheight() - len(blocks) * SIDE * max(1 - tallest, 0))
    return Picture("class-grids", text, figure)


def _small(image: np.ndarray) -> np.ndarray:
    """Shrink an image (HxWx3 uint8) to a width of at most `WIDE`, keeping its aspect ratio."""
    if image.shape[1] <= WIDE:
        return image
    return cv2.resize(image, (WIDE, round(WIDE * image.shape[0] / image.shape[1])), interpolation=cv2.INTER_AREA)


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Label horizontal bars, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
