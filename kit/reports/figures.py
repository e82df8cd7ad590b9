"""Small figures on matplotlib's own `Figure` and its Agg canvas: no pyplot, no global state, no window."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from kit.files import atomic

# Okabe and Ito's colours, distinct for every kind of colour vision; blue and vermilion come first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")
DPI = 120
INK = "#333333"
NARROWEST = 6.0  # inches, so that titles fit
SMALL = 8  # points, for titles and labels of single pictures
LETTER, LINE = 0.062, 0.14  # inches, of such text: mean width of a letter, height of a line
LINES = 6  # at most, of such a title
# Smooths where the pixels of picture and figure don't coincide, so that none is dropped or doubled.
SMOOTH = "antialiased"


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
    """Draw pictures (HxWx3 uint8) side by side, each below a title of one or a few lines.

    Args:
        images: at least one.
        titles: one per image; may be empty.
        title: of the whole figure.
        columns: images per row.
        box: left, top, width, height of a frame drawn on each image, in pixels.
        side: of one image, in inches.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    across = max(columns * side + 0.3, NARROWEST)
    broken = [_broken(text, across / columns) for text in titles]
    # Each row is as high as its longest title needs.
    lines = sum(max(map(len, broken[first : first + columns])) for first in range(0, len(images), columns))
    figure = _tight(across, rows * (side + 0.1) + lines * LINE, title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, text in zip(grid.flat, images, broken, strict=False):
        axes.imshow(image, interpolation=SMOOTH)
        axes.set_title("\n".join(text), fontsize=SMALL, pad=2, color=INK)
        if box is not None:
            left, top, width, height = box
            # Black under white stands out on light and dark pixels alike.
            for colour, line in (("black", 2.4), ("white", 1.1)):
                frame = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=line)
                axes.add_patch(frame)
    return figure


def panel(rows: Sequence[tuple[str, Sequence[np.ndarray]]], title: str, columns: int = 8, side: float = 1.25) -> Figure:
    """Draw blocks of pictures one below another, each under its own heading."""
    blocks = [(heading, images) for heading, images in rows if len(images)]
    heights = [-(-len(images) // columns) for _, images in blocks]
    size = (columns * side + 0.3, sum(heights) * side + 0.3 * len(blocks) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    _title(figure, title)
    strips = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=[0.24 + height for height in heights])
    for strip, (heading, images), height in zip(strips[:, 0], blocks, heights, strict=True):
        strip.suptitle(heading, x=0.005, ha="left", fontsize=11, color=INK, fontweight="bold")
        grid = strip.subplots(height, columns, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, image in zip(grid.flat, images, strict=False):
            axes.imshow(image, interpolation=SMOOTH)
    return figure


def table(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], headings: Sequence[str], title: str, side: float = 1.9
) -> Figure:
    """Draw a table of pictures (HxWx3 uint8): a heading above each column, a label (lines as given) before each row."""
    longest = max(len(line) for label, _ in rows for line in label.splitlines() or [""])
    figure = _tight(len(headings) * side + longest * LETTER + 0.1, len(rows) * side + 0.3, title)
    grid = figure.subplots(len(rows), len(headings), squeeze=False)
    for axes, heading in zip(grid[0], headings, strict=True):
        axes.set_title("\n".join(_broken(heading, side)), fontsize=SMALL, pad=4, color=INK)
    for line, (label, images) in zip(grid, rows, strict=True):
        line[0].set_ylabel(label, rotation="horizontal", ha="right", va="center", fontsize=SMALL, color=INK)
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image, interpolation=SMOOTH)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    return figure


def heat_map(values: np.ndarray, names: Sequence[str], title: str, label: str) -> Figure:
    """Draw a symmetric KxK matrix of numbers from -1 to 1, blue above and red below 0; NaN is grey.

    Cells show their number if its magnitude is 0.05 or more.
    """
    short = [textwrap.shorten(name, 34, placeholder=" ...") for name in names]
    side = max(0.34 * len(names), 4)  # inches
    label_room = LETTER * max(map(len, short))
    figure = Figure(figsize=(side + label_room + 1.5, side + 0.75 * label_room + 0.9), layout="compressed")
    _title(figure, title)
    axes = figure.subplots()
    colours = colormaps["RdBu"].with_extremes(bad="#B0B0B0")
    known = np.ma.masked_invalid(values)
    mesh = axes.pcolormesh(known, cmap=colours, vmin=-1, vmax=1, edgecolors="white", linewidth=0.5)
    for row, column in np.argwhere(np.abs(values) >= 0.05):
        value = values[row, column]
        ink = "white" if abs(value) > 0.6 else INK
        axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=ink)
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, short, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, short)
    axes.tick_params(length=0, labelsize=SMALL)
    axes.spines[:].set_visible(False)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    figure.colorbar(mesh, ax=axes, label=label, shrink=0.6, ticks=[-1, -0.5, 0, 0.5, 1])
    return figure


def maps(
    rows: Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]],
    headings: Sequence[str],
    places: tuple[Sequence[str], Sequence[str]],
    marks: Mapping[str, np.ndarray],
    title: str,
    label: str,
) -> Figure:
    """Draw maps of differences (HxW) in a table: red above and blue below 0, NaN is grey; a colour scale per column.

    A scale ends at the 99th percentile of its column's distances from 0, so that outliers don't wash out the rest.

    Args:
        rows: a label (lines as given), and a map per heading, each with a line of text to go above it.
        headings: one per column.
        places: names of the H rows and of the W columns of every map.
        marks: at most two kinds: name -> mask of the marked places, rows x H x W.
        title: of the whole figure.
        label: of each colour scale.
    """
    figure = Figure(figsize=(2.45 * len(headings) + 0.9, 1.65 * len(rows) + 1.4), layout="constrained")
    _title(figure, title)
    grid = figure.subplots(len(rows), len(headings), squeeze=False, sharex=True, sharey=True)
    colours = colormaps["RdBu_r"].with_extremes(bad="#B0B0B0")
    for column, heading in enumerate(headings):
        distances = np.abs([values[column][1] for _, values in rows])
        far = float(np.nanpercentile(distances, 99)) or 1.0
        for axes, (_, line) in zip(grid[:, column], rows, strict=True):
            note, values = line[column]
            image = axes.imshow(values, cmap=colours, vmin=-far, vmax=far, interpolation="nearest")
            axes.set_title(note, fontsize=SMALL, pad=2, color=INK)
        grid[0, column].set_title(f"{heading}\n{rows[0][1][column][0]}", fontsize=SMALL, pad=2, color=INK)
        bar = figure.colorbar(image, ax=grid[:, column], location="bottom", aspect=25, pad=0.01, extend="both")
        bar.ax.tick_params(labelsize=SMALL)
        bar.set_label(label, fontsize=SMALL)
    for row, (line, (text, _)) in enumerate(zip(grid, rows, strict=True)):
        line[0].set_ylabel(text, rotation="horizontal", ha="right", va="center", fontsize=9, color=INK)
        for axes in line:
            for (name, masks), marker in zip(marks.items(), ("s", "o"), strict=False):
                y, x = np.nonzero(masks[row])
                axes.scatter(x, y, 9, "white", marker=marker, edgecolors="black", linewidths=0.8, label=name)
            axes.tick_params(labelsize=6.5, length=2)
    for ticks, names, most in ((grid[0, 0].set_yticks, places[0], 7), (grid[0, 0].set_xticks, places[1], 11)):
        chosen = range(0, len(names), -(-len(names) // most))
        ticks(chosen, [names[place] for place in chosen])
    if marks:
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False)
    return figure


def ranges(
    panels: Mapping[str, Sequence[np.ndarray]], names: Sequence[str], groups: Sequence[str], title: str, label: str
) -> Figure:
    """Draw panels one below another: the spread of numbers at each of several places.

    A dot is the median, a thick line the middle half, a thin line the range from the 5th to the 95th percentile.

    Args:
        panels: heading -> the numbers of each place, at least one per place.
        names: of the places.
        groups: of the places, one colour per group; places of one group are adjacent.
        title: of the whole figure.
        label: of the numbers.
    """
    figure = Figure(figsize=(max(0.21 * len(names) + 1.4, 7), 1.35 * len(panels) + 1.9), layout="constrained")
    _title(figure, title)
    grid = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    places = np.arange(len(names))
    for axes, (heading, numbers) in zip(grid, panels.items(), strict=True):
        spread = np.array([np.percentile(some, [5, 25, 50, 75, 95]) for some in numbers])
        for number, group in enumerate(dict.fromkeys(groups)):
            at = np.array(groups) == group
            colour, (low, first, middle, third, high) = COLOURS[number % len(COLOURS)], spread[at].T
            axes.vlines(places[at], low, high, colour, linewidth=1)
            axes.vlines(places[at], first, third, colour, linewidth=4)
            axes.plot(places[at], middle, "o", markersize=4, color=colour, markerfacecolor="white", label=group)
        axes.set_title(heading, loc="left", fontsize=10, color=INK)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#E0E0E0", linewidth=0.6)
        axes.set_axisbelow(True)
        _plain(axes)
    grid[-1].set_xticks(places, names, rotation=90)
    grid[-1].set_xlim(-0.7, len(names) - 0.3)
    figure.supylabel(label, fontsize=10, color=INK)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False)
    return figure


def bars(names: Sequence[str], counts: Sequence[int], total: int, title: str, unit: str) -> Figure:
    """Draw one horizontal bar per class with its count and its share of `total`."""
    figure = Figure(figsize=(8, 1.3 + 0.36 * len(names)), layout="constrained")
    _title(figure, title)
    axes = figure.subplots()
    places = np.arange(len(names))
    axes.barh(places, counts, color=COLOURS[0], height=0.7)
    for place, count in enumerate(counts):
        share = count / max(total, 1)
        percent = "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"
        axes.text(count, place, f" {count:,} ({percent})", va="center", fontsize=9, color=INK)
    axes.set_yticks(places, [textwrap.shorten(name, 34, placeholder=" ...") for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.22 * max(*counts, 1))
    axes.locator_params(axis="x", integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(unit)
    _plain(axes)
    return figure


def ranked(counts: Sequence[int], title: str, unit: str) -> Figure:
    """Draw the counts of more classes than bars can show, from the most frequent to the rarest."""
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
    """Draw outlined histograms of several classes over one another, each of area 1."""
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


def histogram(values: np.ndarray, marks: Sequence[float], title: str, label: str) -> Figure:
    """Draw a histogram of numbers, with some of them marked."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    _title(figure, title)
    axes = figure.subplots()
    heights, edges = np.histogram(values, 50)
    axes.stairs(heights, edges, color=COLOURS[0], fill=True, alpha=0.7)
    for mark in marks:
        axes.axvline(mark, color=COLOURS[1], linestyle="--", linewidth=1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(textwrap.shorten(label, 60, placeholder=" ..."))
    axes.set_ylabel("training ids")
    _plain(axes)
    return figure


def curve(x: Sequence[float], y: Sequence[float], mark: float, title: str, labels: tuple[str, str]) -> Figure:
    """Draw a line over a logarithmic axis, with one value of x marked; what rises far above its start is cut off."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, y, color=COLOURS[0])
    axes.axvline(mark, color=COLOURS[1], linestyle="--", label=f"{mark:.1e}")
    axes.set_xscale("log")
    fall = y[0] - min(y)
    if fall > 0:
        axes.set_ylim(min(y) - 0.2 * fall, y[0] + fall)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.legend(frameon=False)
    _plain(axes)
    _title(figure, title)
    return figure


def losses(
    steps: Sequence[int],
    train: Sequence[float],
    mean: Sequence[float],
    valid: tuple[Sequence[float], Sequence[float]],
    title: str,
) -> Figure:
    """Draw the training loss of each step, its running mean, and the validation losses at (steps, losses)."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, train, color=COLOURS[5], linewidth=0.7, alpha=0.7, label="training, each step")
    axes.plot(steps, mean, color=COLOURS[0], label="training, running mean")
    if len(valid[0]):
        axes.plot(*valid, "o-", color=COLOURS[1], markersize=4, label="validation")
    # A few first steps far above the rest would flatten it.
    axes.set_ylim(0, 1.1 * max(float(np.quantile(train, 0.99)), *valid[1], 1e-9))
    axes.set_xlabel("step")
    axes.set_ylabel("loss per image")
    axes.legend(frameon=False, fontsize=9)
    _plain(axes)
    _title(figure, title)
    return figure


def _tight(width: float, height: float, title: str) -> Figure:
    """Create a figure for closely packed pictures, `height` inches high below its title."""
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    figure = Figure(figsize=(width, height), layout=layout)
    lines = _title(figure, title)
    figure.set_figheight(height + 0.1 + 0.2 * lines)
    return figure


def _broken(text: str, width: float) -> list[str]:
    """Break small text into at most `LINES` lines that fit a width in inches."""
    return textwrap.wrap(text, int(width / LETTER), max_lines=LINES, placeholder=" ...")


def _title(figure: Figure, title: str) -> int:
    """Set the title in even lines that fit the figure's width (about ten letters per inch); return their number."""
    most = int(10 * figure.get_figwidth())
    even = len(title) // -(-max(len(title), 1) // most) + 8  # and room for half a word
    lines = textwrap.wrap(title, min(most, even))
    figure.suptitle("\n".join(lines), fontsize=12, color=INK)
    return len(lines)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
