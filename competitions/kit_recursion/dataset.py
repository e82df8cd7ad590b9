"""Read the raw folder: wells with six channels at two sites, by experiment and plate, and csv files of wells.

A sample is a site of a well; an id is a well (`HEPG2-01_1_B03`: experiment, plate, well). Classes are the values of the
column `sirna` of `train.csv`, in whichever of the two published encodings it has (`513` or `sirna_250`).
"""

import re
import reprlib
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin.data import MULTICLASS, Index, base_of, find_images, numbers_of, read_table, refuse_repeated
from kit.plugin.images import read_grey

CHANNELS = ("nuclei", "endoplasmic reticulum", "actin", "nucleoli", "mitochondria", "Golgi apparatus")
SUFFIXES = tuple(f"_w{channel + 1}" for channel in range(len(CHANNELS)))
SITES = (1, 2)
STEM = re.compile(r"([^/]+)/Plate([^/]+)/([A-Z]\d+)_s[12]")
LABELS, SAMPLE = "train.csv", "sample_submission.csv"
CELL_TYPES = ("HEPG2", "HUVEC", "RPE", "U2OS")
LONGEST = 100  # letters of a siRNA's name
NEGATIVE = "negative_control"
MEND = "kit download recursion --from ARCHIVE.zip provides it"
WELL = ("id_code", "experiment", "plate", "well")
# RGB colour and brightest grey level of each channel in pictures (recursionpharma/rxrx1-utils).
COLOURS = np.array([(19, 0, 249), (42, 255, 31), (255, 0, 25), (45, 255, 252), (250, 0, 253), (254, 255, 40)])
BRIGHTEST = np.array([51, 107, 64, 191, 89, 191])
# What a grey level of a channel adds to red, green and blue: 6 x 256 x 3.
LIGHT = np.minimum(np.arange(256)[:, None] / BRIGHTEST, 1).T[..., None] * COLOURS[:, None]


def index(root: Path, with_controls: bool = False) -> Index:
    """Read the index: two samples per well, train wells in the order of `train.csv`, test wells in that of `test.csv`.

    A site without all six channels is left out, and the missing channels are reported; so is a well without any site.

    Args:
        root: the folder of the data.
        with_controls: make the controls' siRNAs further classes, and their wells (also those of test experiments)
            further samples in the training set of every fold.

    Raises:
        KitError: a csv is missing or malformed.
    """
    base = base_of(root, LABELS)
    labels, tests = _wells(base, LABELS, "sirna"), _wells(base, "test.csv")
    classes = _natural(labels["sirna"])
    sites: dict[str, dict[str, pd.DataFrame]] = {}
    missing: dict[str, tuple[str, ...]] = {}
    unlisted: dict[str, tuple[str, ...]] = {}
    for split, table in (("train", labels), ("test", tests)):
        controls = f"{split}_controls.csv"
        tables = {f"{split}.csv": table, controls: _wells(base, controls, "sirna", "well_type")}
        sites[split], lacking, strangers = _sites(tables, root, base, split)
        unlisted[f"wells in {split}/ that no csv lists"] = strangers
        missing.update(lacking)
    train, aside = sites["train"].values()
    test, test_aside = sites["test"].values()
    aside_rows = pd.concat([aside, test_aside], ignore_index=True)
    if with_controls:
        classes += [name for name in _natural(aside_rows["sirna"]) if name not in set(classes)]
    number = {name: code for code, name in enumerate(classes)}
    aside_rows = aside_rows.assign(
        target=aside_rows["sirna"].map(number).fillna(-1).astype(np.int64), negative=aside_rows["well_type"] == NEGATIVE
    )
    return Index(
        root=root,
        task=MULTICLASS,
        classes=tuple(classes),
        train=train.assign(
            target=train["sirna"].map(number).astype(np.int64), group=train["experiment"], stratum=train["cell_type"]
        ).drop(columns="sirna"),
        test=test,
        metadata=tuple(f"is_{name}" for name in CELL_TYPES),
        grouped_by="experiment",
        missing={**missing, **unlisted},
        controls=aside_rows,
        controlled_by="plate",
        external=aside_rows if with_controls else aside_rows.iloc[:0],
    )


def _wells(root: Path, name: str, *columns: str) -> pd.DataFrame:
    table = read_table(root / name, (*WELL, *columns), MEND)
    refuse_repeated(table["id_code"], root / name)
    # Names of files are made of these columns, and must not lead out of the folder.
    parts = table["experiment"] + "_" + table["plate"] + "_" + table["well"]
    for wrong, what in (
        (table["id_code"] != parts, "is not its experiment, plate and well joined by _"),
        *((~table[column].str.len().between(1, LONGEST), f"has no {column}, or a long one") for column in columns),
    ):
        if wrong.any():
            first = reprlib.repr(table["id_code"][wrong].iloc[0])
            raise KitError(f"{name}: the well {first} {what} ({int(wrong.sum())} such rows): {MEND}")
    return table[[*WELL, *columns]]


def _natural(names: pd.Series) -> list[str]:
    """Return the unique names, sorted by the numbers in them."""
    return sorted(names.unique(), key=lambda name: (re.sub(r"\d+", "", name), int(re.sub(r"\D", "", name) or 0)))


def _sites(
    tables: dict[str, pd.DataFrame], root: Path, base: Path, split: str
) -> tuple[dict[str, pd.DataFrame], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Find the six files of each site of the wells of a split, `<experiment>/Plate<n>/<well>_s<site>_w<channel>`.

    Args:
        tables: wells, by the name of their csv.
        root: the folder of the data.
        base: the folder of the csv files.
        split: name of the folder of the images beside them.

    Returns:
        For each csv the rows of the sites with all files, well by well; what is missing; wells that no csv lists.
    """
    wells = pd.concat(tables.values(), ignore_index=True)
    stems = wells["experiment"] + "/Plate" + wells["plate"] + "/" + wells["well"] + "_s"
    sought = pd.concat([stems + str(site) for site in SITES], ignore_index=True)
    found = find_images(sought, root, (base / split).relative_to(root).as_posix(), SUFFIXES)
    there, absent = found.there.reshape(len(SITES), -1), np.all(found.absent.reshape(len(SITES), -1), 0)
    samples = [
        wells.assign(sample=site, files=found.files[number * len(wells) : (number + 1) * len(wells)])[there[number]]
        for number, site in enumerate(SITES)
    ]
    rows = pd.concat(samples).sort_index(kind="stable")
    lacks = [(number, row) for number, sites in enumerate(~there & ~absent) for row in np.flatnonzero(sites).tolist()]
    frames, missing, begin = {}, {}, 0
    for name, table in tables.items():
        end = begin + len(table)
        frames[name] = _samples(rows[(rows.index >= begin) & (rows.index < end)], table)
        missing[f"wells of {name} without an image"] = tuple(table["id_code"][absent[begin:end]])
        missing[f"missing channels of wells of {name}"] = tuple(
            f"{wells['id_code'].iat[row]} s{SITES[number]}: {_lacking(found.lacks.get(number * len(wells) + row))}"
            for number, row in lacks
            if begin <= row < end
        )
        begin = end
    unlisted = {"_".join(stem.groups()) for name in found.unlisted if (stem := STEM.fullmatch(name))}
    return frames, missing, tuple(sorted(unlisted - set(wells["id_code"])))


def _lacking(suffixes: tuple[str, ...] | None) -> str:
    return ", ".join(suffix.removeprefix("_") for suffix in suffixes or SUFFIXES)


def _samples(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a csv's sites as rows of the index."""
    rows = rows.reset_index(drop=True)
    cell_type = rows["experiment"].str.rsplit("-", n=1).str[0]
    frame = rows[["id_code", "files"]].rename(columns={"id_code": "id"})
    further = rows[[column for column in (*table, "sample") if column not in ("id_code", "plate")]]
    frame = pd.concat([frame, further], axis=1).assign(
        plate=rows["experiment"] + "_" + rows["plate"], cell_type=cell_type
    )
    for known in CELL_TYPES:
        frame[f"is_{known}"] = (cell_type == known).astype(np.float32)
    return frame


def read(files: tuple[Path, ...]) -> np.ndarray:
    """Read the six channels of a site as HxWx6 uint8; raise `KitError` if their sizes differ."""
    channels = [read_grey(file) for file in files]
    for file, channel in zip(files, channels, strict=True):
        if channel.shape != channels[0].shape:
            raise KitError(f"{file} differs in size from its first channel: download both again ({MEND})")
    return np.stack(channels, axis=2)


def composite(image: np.ndarray) -> np.ndarray:
    """Draw six channels as rxrx.ai does, HxWx3: each in its colour up to its brightest level, summed, cut at 255."""
    light = np.zeros((*image.shape[:2], 3))
    for channel, table in enumerate(LIGHT):
        light += table[image[..., channel]]
    return np.minimum(light, 255).astype(np.uint8)


def read_rgb(files: tuple[Path, ...]) -> np.ndarray:
    """Read the composite of a site as the network's input, HxWx3 uint8."""
    return composite(read(files))


def statistics(index: Index, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Read mean and standard deviation of each row's channels from `pixel_stats.csv`, nx6 each, for pixels in 0..1.

    None if that file is missing or lacks one of the rows.

    Raises:
        KitError: the file can't be read.
    """
    path = base_of(index.root, LABELS) / "pixel_stats.csv"
    if not path.is_file():
        return None
    mend = f"remove it to have levels measured, or {MEND}"
    table = read_table(path, ("id_code", "site", "channel", "mean", "std"), mend, ("site", "channel", "mean", "std"))
    numbers_of(table, "std", path, mend, 0)
    again = table["id_code"][table.duplicated(["id_code", "site", "channel"])]
    if len(again):
        raise KitError(f"{path} has two rows for a channel of {again.iloc[0]} ({len(again)} such rows): {mend}")
    wide = table.pivot_table(index=["id_code", "site"], columns="channel", values=["mean", "std"])
    rows = wide.index.get_indexer(pd.MultiIndex.from_frame(frame[["id", "sample"]]))
    if (rows < 0).any():
        return None
    mean, std = (wide[name].to_numpy(np.float64)[rows] / 255 for name in ("mean", "std"))
    return None if np.isnan(mean).any() or np.isnan(std).any() else (mean, std)


def external(path: Path, index: Index) -> pd.DataFrame:
    """Return further training rows: a csv `id_code,sirna` of test wells, as written by `kit pseudo-label`.

    Raises:
        KitError: a well appears twice or is not a test well, or a siRNA is not one of the classes.
    """
    table = read_table(path, ("id_code", "sirna"), "give --external a csv with the columns id_code and sirna")
    refuse_repeated(table["id_code"], path)
    number = {name: code for code, name in enumerate(index.classes)}
    for column, known, what in (("sirna", set(number), "class"), ("id_code", set(index.test["id"]), "test well")):
        unknown = table[~table[column].isin(known)]
        if len(unknown):
            first = unknown[column].iloc[0]
            raise KitError(f"{path}: {len(unknown)} rows name no {what}, the first is {first!r}: remove them")
    label = dict(zip(table["id_code"], table["sirna"], strict=True))
    rows = index.test[index.test["id"].isin(label)]
    return rows.assign(target=rows["id"].map(label).map(number).astype(np.int64))
