"""Pictures for `kit explore`: levels by well and by experiment, the six channels, controls beside treatments."""

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
BESIDE = {NEGATIVE: 2, POSITIVE: 3, TREATMENT: 3}  # columns of the picture of controls
PLATES = 2  # of an experiment
READ, EACH = 400, 40  # sites read for a picture's statistics, and of an experiment, where the data brings none
LARGE, SMALL = 240, 192  # pixels: sides of the two kinds of picture
FULL = 99.8  # percentile that gets a channel's full colour
FAINTEST = 1e-6  # grey level that counts as one
SEED = 3


def figures(index: Index) -> Iterator[Picture]:
    """Heat maps of plates, levels by experiment, channels and controls, from all wells that are on this disk.

    Levels come from `pixel_stats.csv` where it has all sites; otherwise at most `READ` sites are read for a picture.
    """
    samples = _samples(index)
    if samples.empty:
        return
    brought = statistics(index, samples)
    levels = None if brought is None else 255 * brought[0]
    shown = _experiments(samples)
    yield from _plates(index, samples, shown, levels)
    yield _by_experiment(index, samples, levels)
    yield _channels(index, samples, shown)
    yield from _controls(index, samples, shown)


def _samples(index: Index) -> pd.DataFrame:
    """All sites by experiment, plate, well and site, with `kind` and `sirna` (empty where it is to be predicted).

    `part` and `row` say where a site stands: in which of the frames train, test and controls, and where there.
    """
    names = np.array(index.classes, object)
    frames = (
        index.train.assign(kind=TREATMENT, sirna=names[index.train["target"].to_numpy(np.int64)]),
        index.test.assign(kind=TREATMENT, sirna=""),
        index.controls.assign(kind=np.where(index.controls["negative"].to_numpy(bool), NEGATIVE, POSITIVE)),
    )
    columns = ["id", "sample", "experiment", "plate", "well", "cell_type", "kind", "sirna"]
    parts = [frame[columns].assign(part=part, row=np.arange(len(frame))) for part, frame in enumerate(frames)]
    return pd.concat(parts).sort_values(["id", "sample"], kind="stable", ignore_index=True)


def _experiments(samples: pd.DataFrame) -> list[str]:
    """Of each cell type the experiment with the most sites of which the siRNA is known."""
    known = (samples["sirna"] != "").groupby([samples["cell_type"], samples["experiment"]]).sum()
    return [experiment for _, experiment in known.groupby(level="cell_type").idxmax()]


def _image(index: Index, site: pd.Series) -> np.ndarray:
    frame = (index.train, index.test, index.controls)[site["part"]]
    return read(tuple(index.root / name for name in frame["files"].iat[site["row"]]))


def _measured(index: Index, sites: pd.DataFrame) -> np.ndarray:
    """Mean grey level of each site's channels, nx6."""
    return np.array([_image(index, site).mean((0, 1)) for _, site in sites.iterrows()])


def _plates(index: Index, samples: pd.DataFrame, shown: list[str], levels: np.ndarray | None) -> Iterator[Picture]:
    """A row a plate, a column a channel; without brought levels as many plates as may be read, of one site a well."""
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
    # Cell types and experiments differ more than the wells of a plate: on one scale no plate would show its own.
    median = np.nanmedian(values, (1, 2), keepdims=True)
    percent = 100 * (values - median) / np.maximum(median, FAINTEST)
    rows = []
    for plate, middle, of in zip(plates, median, percent, strict=True):
        channels = [(f"median {middle[0, 0, channel]:.1f}", of[..., channel]) for channel in range(len(CHANNELS))]
        rows.append((plate.replace("_", "\nplate "), channels))
    marks = {kind: np.zeros(shape, bool) for kind in (NEGATIVE, POSITIVE) if (sites["kind"] == kind).any()}
    for kind, mask in marks.items():
        mask[at] = sites["kind"] == kind
    text = "Mean level of each well, as difference from the median of its plate"
    source = "measured in one site of a well" if levels is None else "from pixel_stats.csv, the mean of a well's sites"
    caption = (
        f"{text} (grey levels, {source}). Wells without an image are grey. What follows rows, columns or the edge of "
        "a plate is an effect of position."
    )
    label = "difference, % of the plate's median"
    yield Picture("plate-heat-maps", caption, maps(rows, HEADINGS, places, marks, text, label))


def _fullest(sites: pd.DataFrame, limit: int) -> list[str]:
    """Up to `PLATES` plates of each experiment, those of the most wells; of all at most `limit` sites, but one plate.

    A plate of one well has nothing to compare.
    """
    plates = sites.groupby(["experiment", "plate"])
    sizes = plates.size()[plates["id"].nunique() > 1].sort_values(ascending=False, kind="stable")
    rank = sizes.groupby(level="experiment").cumcount().sort_values(kind="stable")
    sizes = sizes[rank[rank < PLATES].index]
    return sorted(sizes.index.get_level_values("plate")[: max(1, int((sizes.cumsum() <= limit).sum()))])


def _wells(sites: pd.DataFrame, plates: list[str]) -> tuple[tuple[np.ndarray, ...], tuple[list[str], list[str]]]:
    """Plate, row and column of each site, counted from 0, and the names of the rows and columns."""
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
        f"{text} ({source}). Dot: median; thick line: middle half; thin line: 5th to 95th percentile. Experiments of "
        "one cell type are treated alike: what sets them apart is the batch effect."
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
    """Six channels (HxWx6 uint8), each from black to its colour at its level `full`: HxWx3 uint8."""
    light = np.minimum(image / np.maximum(full, 1), 1)
    return [(light[..., channel, None] * colour).round().astype(np.uint8) for channel, colour in enumerate(COLOURS)]


def _controls(index: Index, samples: pd.DataFrame, shown: list[str]) -> Iterator[Picture]:
    """A row an experiment, a column a siRNA: those that most of the experiments have; nothing without any."""
    wells = samples[samples["experiment"].isin(shown) & (samples["sirna"] != "")].drop_duplicates("id")
    columns, kinds = [], []
    for kind, number in BESIDE.items():
        of_kind = wells[wells["kind"] == kind]
        shared = of_kind.groupby("sirna")["experiment"].nunique().sort_values(ascending=False, kind="stable")
        names = list(shared.index[:number])
        # Where there are fewer siRNAs than columns, further wells of the same follow.
        for place in range(number if names else 0):
            of = of_kind[of_kind["sirna"] == names[place % len(names)]]
            nth = of[of.groupby("experiment").cumcount() == place // len(names)].set_index("experiment")
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
    text = f"Composites of {', '.join(f'{kind}s' for kind in dict.fromkeys(kinds))}: an experiment a row"
    caption = (
        f"{text}, a siRNA a column{' (white: no image)' if any(len(of) < len(shown) for of in columns) else ''}. Each "
        "channel is drawn up to a fixed level, as rxrx.ai does, so that brightness can be compared."
    )
    yield Picture("controls", caption, table(rows, headings, text, side=1.6))
