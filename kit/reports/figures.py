"""Small figures on matplotlib's own `Figure` and its Agg canvas: no pyplot, no global state, no window."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from kit.files import atomic

# Okabe and Ito's colours, told apart by every kind of colour vision; blue and vermilion come first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")
DPI = 120
INK = "#333333"
NARROWEST = 6.0  # inches, so that titles have room


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically; equal figures give equal bytes."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})


def image_grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    title: str,
    columns: int = 8,
    box: tuple[int, int, int, int] | None = None,
    side: float = 1.25,
) -> Figure:
    """Pictures (HxWx3 uint8) side by side, each with a short title above it.

    Args:
        images: at least one.
        titles: one an image; may be empty.
        title: above all.
        columns: images a row.
        box: left, top, width, height of a frame drawn on each image, pixels.
        side: of one image, inches.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    label = 0.22 if any(titles) else 0.0
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=(max(columns * side + 0.3, NARROWEST), rows * (side + label) + 0.6), layout=layout)
    _title(figure, title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, text in zip(grid.flat, images, titles, strict=False):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(textwrap.shorten(text, 22, placeholder=" ..."), fontsize=8, pad=2, color=INK)
        if box is not None:
            left, top, width, height = box
            # Black under white stands out on light and dark pixels alike.
            for colour, line in (("black", 2.4), ("white", 1.1)):
                frame = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=line)
                axes.add_patch(frame)
    return figure


def panel(rows: Sequence[tuple[str, Sequence[np.ndarray]]], title: str, columns: int = 8, side: float = 1.25) -> Figure:
    """Blocks of pictures one under another, each block under its own heading."""
    blocks = [(heading, images) for heading, images in rows if len(images)]
    heights = [-(-len(images) // columns) for _, images in blocks]
    size = (columns * side + 0.3, sum(heights) * side + 0.45 * len(blocks) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    _title(figure, title)
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=[0.36 + height for height in heights])
    for number, (part, (heading, images), height) in enumerate(zip(parts[:, 0], blocks, heights, strict=True)):
        part.suptitle(heading, fontsize=11, color=COLOURS[number % len(COLOURS)], fontweight="bold")
        grid = part.subplots(height, columns, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, image in zip(grid.flat, images, strict=False):
            axes.imshow(image, interpolation="nearest")
    return figure


def bars(names: Sequence[str], counts: Sequence[int], total: int, title: str, unit: str) -> Figure:
    """One horizontal bar a class with its count and its share of `total`."""
    figure = Figure(figsize=(8, 1.3 + 0.36 * len(names)), layout="constrained")
    _title(figure, title)
    axes = figure.subplots()
    places = np.arange(len(names))
    axes.barh(places, counts, color=COLOURS[0], height=0.7)
    for place, count in enumerate(counts):
        axes.text(count, place, f" {count:,} ({count / max(total, 1):.1%})", va="center", fontsize=9, color=INK)
    axes.set_yticks(places, [textwrap.shorten(name, 34, placeholder=" ...") for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.22 * max(*counts, 1))
    axes.set_xlabel(unit)
    _plain(axes)
    return figure


def ranked(counts: Sequence[int], title: str, unit: str) -> Figure:
    """Counts of more classes than bars can show, from the most frequent to the rarest."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    _title(figure, title)
    axes = figure.subplots()
    axes.step(np.arange(1, len(counts) + 1), sorted(counts, reverse=True), where="mid", color=COLOURS[0])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("class, by frequency")
    axes.set_ylabel(unit)
    _plain(axes)
    return figure


def histograms(values: dict[str, np.ndarray], title: str, label: str, limits: tuple[float, float]) -> Figure:
    """Outlined histograms of several classes over one another, each of area 1."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    _title(figure, title)
    axes = figure.subplots()
    edges = np.linspace(*limits, 41)
    for number, (name, numbers) in enumerate(values.items()):
        colour, style = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        heights, _ = np.histogram(numbers, edges, density=True)
        axes.stairs(
            heights, edges, color=colour, linestyle=style, linewidth=1.8, label=f"{name} (n = {len(numbers):,})"
        )
    axes.set_xlim(*limits)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label)
    axes.set_ylabel("density")
    axes.legend(frameon=False, fontsize=9)
    _plain(axes)
    return figure


def curve(x: Sequence[float], y: Sequence[float], mark: float, title: str, labels: tuple[str, str]) -> Figure:
    """A line over a logarithmic axis with one marked value of x."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, y, color=COLOURS[0])
    axes.axvline(mark, color=COLOURS[1], linestyle="--", label=f"{mark:.1e}")
    axes.set_xscale("log")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.legend(frameon=False)
    _plain(axes)
    _title(figure, title)
    return figure


def _title(figure: Figure, title: str) -> None:
    """Above all, broken into lines that fit the figure's width (some ten letters an inch)."""
    figure.suptitle(textwrap.fill(title, int(10 * figure.get_figwidth())), fontsize=12, color=INK)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
