"""Figures for `kit explore`: levels by well and by experiment, the six channels, controls beside treatments."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from kit.plugin import Picture
from kit.plugin.data import Index
from kit.plugin.figures import maps, ranges, table
from kit.plugin.images import resize
from kit_recursion.dataset import CHANNELS, COLOURS, composite, read, statistics

HEADINGS = tuple(f"{number} {name}" for number, name in enumerate(CHANNELS, 1))
NEGATIVE, POSITIVE, TREATMENT = "negative control", "positive control", "treatment"
BESIDE = {NEGATIVE: 2, POSITIVE: 3, TREATMENT: 3}  # columns of each kind in the figure of controls
PLATES = 2  # per experiment
READ, EACH = 400, 40  # sites read per figure and per experiment, if the data comes without statistics
LARGE, SMALL = 240, 192  # pixels: sides of the images in the two kinds of figure
FULL = 99.8  # percentile drawn in a channel's full colour
FAINTEST = 1e-6  # smallest median to divide by, grey levels
SEED = 3


def figures(index: Index) -> Iterator[Picture]:
    """Yield heat maps of plates, levels by experiment, channels and controls, from all wells on this disk.

    Levels come from `pixel_stats.csv` if it has all sites; otherwise at most `READ` sites are read per figure.
    """
    samples = _samples(index)
    if samples.empty:
        return
    from_csv = statistics(index, samples)
    levels = None if from_csv is None else 255 * from_csv[0]
    shown = _experiments(samples)
    yield from _plates(index, samples, shown, levels)
    yield _by_experiment(index, samples, levels)
    yield _channels(index, samples, shown)
    yield from _controls(index, samples, shown)


def _samples(index: Index) -> pd.DataFrame:
    """Return all sites sorted by experiment, plate, well and site, with `kind` and `sirna` (empty if to be predicted).

    `frame` (0 train, 1 test, 2 controls) and `row` say where in the index a site is.
    """
    names = np.array(index.classes, object)
    frames = (
        index.train.assign(kind=TREATMENT, sirna=names[index.train["target"].to_numpy(np.int64)]),
        index.test.assign(kind=TREATMENT, sirna=""),
        index.controls.assign(kind=np.where(index.controls["negative"].to_numpy(bool), NEGATIVE, POSITIVE)),
    )
    columns = ["id", "sample", "experiment", "plate", "well", "cell_type", "kind", "sirna"]
    rows = [frame[columns].assign(frame=number, row=np.arange(len(frame))) for number, frame in enumerate(frames)]
    return pd.concat(rows).sort_values(["id", "sample"], kind="stable", ignore_index=True)


def _experiments(samples: pd.DataFrame) -> list[str]:
    """Return, for each cell type, the experiment with the most sites whose siRNA is known."""
    known = (samples["sirna"] != "").groupby([samples["cell_type"], samples["experiment"]]).sum()
    return [experiment for _, experiment in known.groupby(level="cell_type").idxmax()]


def _image(index: Index, site: pd.Series) -> np.ndarray:
    frame = (index.train, index.test, index.controls)[site["frame"]]
    return read(tuple(index.root / name for name in frame["files"].iat[site["row"]]))


def _measured(index: Index, sites: pd.DataFrame) -> np.ndarray:
    """Measure the mean grey level of each site's channels, nx6."""
    return np.array([_image(index, site).mean((0, 1)) for _, site in sites.iterrows()])


def _plates(index: Index, samples: pd.DataFrame, shown: list[str], levels: np.ndarray | None) -> Iterator[Picture]:
    """Draw a row per plate and a column per channel; without given levels, fewer plates and one site per well."""
    sites = samples[samples["experiment"].isin(shown)]
    if levels is None:
        sites = sites.drop_duplicates("id")
    plates = _fullest(sites, READ if levels is None else len(sites))
    if not plates:
        return
    sites = sites[sites["plate"].isin(plates)]
    mean = _measured(index, sites) if levels is None else levels[sites.index]
    at, places = _wells(sites, plates)
    shape = (len(plates), *map(len, places))
    total, count = np.zeros((*shape, len(CHANNELS))), np.zeros((*shape, 1))
    np.add.at(total, at, mean)
    np.add.at(count, at, 1)
    values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    # Cell types and experiments differ more than wells of one plate: a common scale would hide the pattern of a plate.
    median = np.nanmedian(values, (1, 2), keepdims=True)
    percent = 100 * (values - median) / np.maximum(median, FAINTEST)
    rows = []
    for plate, middle, wells in zip(plates, median, percent, strict=True):
        channels = [(f"median {middle[0, 0, channel]:.1f}", wells[..., channel]) for channel in range(len(CHANNELS))]
        rows.append((plate.replace("_", "\nplate "), channels))
    marks = {kind: np.zeros(shape, bool) for kind in (NEGATIVE, POSITIVE) if (sites["kind"] == kind).any()}
    for kind, mask in marks.items():
        mask[at] = sites["kind"] == kind
    text = "Mean level of each well, as difference from its plate's median"
    source = "measured in one site per well" if levels is None else "from pixel_stats.csv, the mean of a well's sites"
    caption = (
        f"{text} (grey levels, {source}). Wells without an image are grey. A pattern along rows, columns or the edge "
        "of a plate is an effect of position."
    )
    label = "difference, % of the plate's median"
    yield Picture("plate-heat-maps", caption, maps(rows, HEADINGS, places, marks, text, label))


def _fullest(sites: pd.DataFrame, limit: int) -> list[str]:
    """Return up to `PLATES` plates per experiment, those with the most sites, with at most `limit` sites in all.

    At least one plate is returned. A plate with a single well is skipped: it has nothing to compare.
    """
    plates = sites.groupby(["experiment", "plate"])
    sizes = plates.size()[plates["id"].nunique() > 1].sort_values(ascending=False, kind="stable")
    rank = sizes.groupby(level="experiment").cumcount().sort_values(kind="stable")
    sizes = sizes[rank[rank < PLATES].index]
    return sorted(sizes.index.get_level_values("plate")[: max(1, int((sizes.cumsum() <= limit).sum()))])


def _wells(sites: pd.DataFrame, plates: list[str]) -> tuple[tuple[np.ndarray, ...], tuple[list[str], list[str]]]:
    """Return plate, row and column of each site, counted from 0, and the names of the rows and columns."""
    letters = sites["well"].str[0].map(ord).to_numpy()
    numbers = sites["well"].str[1:].astype(int).to_numpy()
    top, left = letters.min(), numbers.min()
    rows = [chr(letter) for letter in range(top, letters.max() + 1)]
    columns = [str(number) for number in range(left, numbers.max() + 1)]
    return (pd.Index(plates).get_indexer(sites["plate"]), letters - top, numbers - left), (rows, columns)


def _by_experiment(index: Index, samples: pd.DataFrame, levels: np.ndarray | None) -> Picture:
    sites, source = samples, "from pixel_stats.csv"
    if levels is None:
        share = max(1, min(EACH, READ // samples["experiment"].nunique()))
        order = np.random.default_rng(SEED).permutation(len(samples))
        sites = samples.iloc[order].groupby("experiment").head(share).sort_index()
        source = f"from up to {share} sites of each, drawn at random"
    mean = _measured(index, sites) if levels is None else levels
    rows_of = sites.groupby("experiment").indices
    names = sorted(rows_of)
    panels = {heading: [mean[rows_of[name], channel] for name in names] for channel, heading in enumerate(HEADINGS)}
    groups = [sites["cell_type"].iat[rows_of[name][0]] for name in names]
    text = f"Mean grey level of each channel in {len(sites):,} sites, by experiment"
    caption = (
        f"{text} ({source}). Dot: median; thick line: middle half; thin line: 5th to 95th percentile. Experiments "
        "with the same cell type are treated alike: they differ by the batch effect."
    )
    figure = ranges(panels, names, groups, text, "mean grey level of a site, 0 to 255")
    return Picture("channels-by-experiment", caption, figure)


def _channels(index: Index, samples: pd.DataFrame, shown: list[str]) -> Picture:
    rng = np.random.default_rng(SEED)
    rows = []
    for experiment in shown:
        sites = samples[samples["experiment"] == experiment]
        treated = sites[sites["kind"] == TREATMENT]
        sites = sites if treated.empty else treated
        site = sites.iloc[rng.integers(len(sites))]
        image = _image(index, site)
        label = f"{site['id']}\nsite {site['sample']}\n{site['kind']}\n{site['sirna']}".strip()
        small = resize(image, LARGE)
        rows.append((label, [composite(small), *_singles(small, np.percentile(image, FULL, axis=(0, 1)))]))
    text = "One site of each cell type: composite and single channels"
    caption = (
        f"{text}. The composite draws each channel up to a fixed level, as rxrx.ai does; a single channel is stretched "
        f"for display (its {FULL}th percentile gets full colour)."
    )
    return Picture("channels", caption, table(rows, ("composite", *HEADINGS), text))


def _singles(image: np.ndarray, full: np.ndarray) -> list[np.ndarray]:
    """Colour six channels (HxWx6 uint8), each from black to its colour at its level `full`: six HxWx3 uint8."""
    light = np.minimum(image / np.maximum(full, 1), 1)
    return [(light[..., channel, None] * colour).round().astype(np.uint8) for channel, colour in enumerate(COLOURS)]


def _controls(index: Index, samples: pd.DataFrame, shown: list[str]) -> Iterator[Picture]:
    """Draw a row per experiment and a column per siRNA, those shared by most experiments; nothing if there are none."""
    wells = samples[samples["experiment"].isin(shown) & (samples["sirna"] != "")].drop_duplicates("id")
    columns, kinds = [], []
    for kind, number in BESIDE.items():
        of_kind = wells[wells["kind"] == kind]
        shared = of_kind.groupby("sirna")["experiment"].nunique().sort_values(ascending=False, kind="stable")
        names = list(shared.index[:number])
        # If there are fewer siRNAs than columns, further wells of the same siRNAs follow.
        for place in range(number if names else 0):
            treated = of_kind[of_kind["sirna"] == names[place % len(names)]]
            nth = treated[treated.groupby("experiment").cumcount() == place // len(names)].set_index("experiment")
            if len(nth):
                columns.append(nth)
                kinds.append(kind)
    if not columns:
        return
    white = np.full((SMALL, SMALL, 3), 255, np.uint8)
    rows = []
    for experiment in shown:
        sites = [column.loc[experiment] if experiment in column.index else None for column in columns]
        tiles = [white if site is None else composite(resize(_image(index, site), SMALL)) for site in sites]
        rows.append((experiment, tiles))
    headings = [f"{kind}: {column['sirna'].iat[0]}" for kind, column in zip(kinds, columns, strict=True)]
    text = f"Composites of {', '.join(f'{kind}s' for kind in dict.fromkeys(kinds))}: one experiment per row"
    white_tiles = " (white: no image)" if any(len(column) < len(shown) for column in columns) else ""
    caption = (
        f"{text}, one siRNA per column{white_tiles}. Each channel is drawn up to a fixed level, as rxrx.ai does, so "
        "that brightness can be compared."
    )
    yield Picture("controls", caption, table(rows, headings, text, side=1.6))
