"""The raw folder: wells of six channels at two sites, by experiment and plate, and csv files of wells.

A sample is a site of a well, an id a well (`HEPG2-01_1_B03`: experiment, plate, well). Classes are what the column
`sirna` of `train.csv` holds, whichever of the two published encodings that is (`513` or `sirna_250`).
"""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin.data import MULTICLASS, FileNames, Index, read_table
from kit.plugin.images import read_grey

CHANNELS = ("nuclei", "endoplasmic reticulum", "actin", "nucleoli", "mitochondria", "Golgi apparatus")
SITES = (1, 2)
CELL_TYPES = ("HEPG2", "HUVEC", "RPE", "U2OS")
NEGATIVE = "negative_control"
MEND = "kit download recursion --from ARCHIVE.zip brings it"
WELL = ("id_code", "experiment", "plate", "well")
# Colour and brightest level of each channel in pictures (recursionpharma/rxrx1-utils).
COLOURS = np.array([(19, 0, 249), (42, 255, 31), (255, 0, 25), (45, 255, 252), (250, 0, 253), (254, 255, 40)])
BRIGHTEST = np.array([51, 107, 64, 191, 89, 191])
# Grey level of a channel -> what it adds to red, green and blue: 6 x 256 x 3.
LIGHT = np.minimum(np.arange(256)[:, None] / BRIGHTEST, 1).T[..., None] * COLOURS[:, None]


def index(root: Path, with_controls: bool = False) -> Index:
    """Read the index: two samples a well, training wells in the order of `train.csv`, test wells in that of `test.csv`.

    A site of which a channel is not there is left out, and the channels are named; so is a well without any site.

    Args:
        root: of the data.
        with_controls: the controls' siRNAs are further classes, and their wells, those of test experiments too, further
            samples in every training part.

    Raises:
        KitError: a csv is not there or not in its form.
    """
    labels = _wells(root, "train.csv", "sirna")
    tests = _wells(root, "test.csv")
    controls = {part: _wells(root, f"{part}_controls.csv", "sirna", "well_type") for part in ("train", "test")}
    classes = _natural(labels["sirna"])
    found = {part: _found(root / part) for part in ("train", "test")}
    train, missing = _sites(labels, "train", "train.csv", found["train"])
    test, test_missing = _sites(tests, "test", "test.csv", found["test"])
    aside = []
    for part, table in controls.items():
        sites, lacking = _sites(table, part, f"{part}_controls.csv", found[part])
        missing.update(lacking)
        aside.append(sites)
    aside_rows = pd.concat(aside, ignore_index=True)
    if with_controls:
        classes += [name for name in _natural(aside_rows["sirna"]) if name not in set(classes)]
    number = {name: code for code, name in enumerate(classes)}
    listed = {table_id for table in (labels, tests, *controls.values()) for table_id in table["id_code"]}
    strangers = {f"wells in {part}/ that no csv names": tuple(sorted(set(ids) - listed)) for part, ids in found.items()}
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
        missing={**missing, **test_missing, **strangers},
        controls=aside_rows,
        external=aside_rows if with_controls else aside_rows.iloc[:0],
    )


def _wells(root: Path, name: str, *columns: str) -> pd.DataFrame:
    table = read_table(root / name, (*WELL, *columns), MEND)
    if len(table) and (doubled := table["id_code"].duplicated()).any():
        raise KitError(f"{name}: the well {table['id_code'][doubled].iloc[0]} stands there more than once: {MEND}")
    return table[[*WELL, *columns]]


def _natural(names: pd.Series) -> list[str]:
    """The names, each once, in the order of the numbers in them."""
    return sorted(names.unique(), key=lambda name: (re.sub(r"\d+", "", name), int(re.sub(r"\D", "", name) or 0)))


# Of each well the channels that are there, a bit each: six bits of site 1, then six of site 2.
Found = dict[str, int]


def _found(folder: Path) -> Found:
    """What lies in `<experiment>/Plate<n>/<well>_s<site>_w<channel>.png`; other files are passed over."""
    found: Found = {}
    pattern = re.compile(r"([A-Z]\d+)_s([12])_w([1-6])\.png")
    experiments = sorted(folder.iterdir()) if folder.is_dir() else []
    for plate in (plate for experiment in experiments if experiment.is_dir() for plate in experiment.glob("Plate*")):
        prefix = f"{plate.parent.name}_{plate.name.removeprefix('Plate')}_"
        with os.scandir(plate) as entries:
            for entry in entries:
                if name := pattern.fullmatch(entry.name):
                    well = prefix + name[1]
                    found[well] = found.get(well, 0) | 1 << ((int(name[2]) - 1) * 6 + int(name[3]) - 1)
    return found


def _sites(table: pd.DataFrame, part: str, name: str, found: Found) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Rows of the sites whose six files are there, well by well; and what is not there."""
    there = np.array([found.get(well, 0) for well in table["id_code"]], np.int64)
    frames, lacking = [], []
    for site in SITES:
        bits = there >> (site - 1) * 6 & 63
        frames.append(table[bits == 63].assign(sample=site))
        for row in np.flatnonzero((bits != 63) & (there > 0)).tolist():
            absent = ", ".join(f"w{channel + 1}" for channel in range(6) if not bits[row] >> channel & 1)
            lacking.append(f"{table['id_code'].iat[row]} s{site}: {absent}")
    rows = pd.concat(frames).sort_index(kind="stable").reset_index(drop=True)
    cell_type = rows["experiment"].str.rsplit("-", n=1).str[0]
    stems = rows["experiment"] + "/Plate" + rows["plate"] + "/" + rows["well"] + "_s" + rows["sample"].astype(str)
    patterns = [f"{part}/{{}}_w{channel + 1}.png" for channel in range(6)]
    frame = pd.DataFrame({"id": rows["id_code"], "files": FileNames(patterns, stems)})
    further = rows[[column for column in rows if column not in ("id_code", "plate")]]
    frame = pd.concat([frame, further], axis=1).assign(
        plate=rows["experiment"] + "_" + rows["plate"], cell_type=cell_type
    )
    for known in CELL_TYPES:
        frame[f"is_{known}"] = (cell_type == known).astype(np.float32)
    return frame, {
        f"wells of {name} without an image": tuple(table["id_code"][there == 0]),
        f"channels of {name}'s wells that are not there": tuple(lacking),
    }


def read(files: tuple[Path, ...]) -> np.ndarray:
    """The six channels of a site as HxWx6 uint8; files of unlike size are a `KitError`."""
    channels = [read_grey(file) for file in files]
    for file, channel in zip(files, channels, strict=True):
        if channel.shape != channels[0].shape:
            raise KitError(f"{file} is of another size than its first channel: bring both again ({MEND})")
    return np.stack(channels, axis=2)


def composite(image: np.ndarray) -> np.ndarray:
    """Six channels as rxrx.ai draws them, HxWx3: each in its colour up to its brightest level, added, cut at 255."""
    light = np.zeros((*image.shape[:2], 3))
    for channel, table in enumerate(LIGHT):
        light += table[image[..., channel]]
    return np.minimum(light, 255).astype(np.uint8)


def read_rgb(files: tuple[Path, ...]) -> np.ndarray:
    """The composite of a site as the network's input, HxWx3 uint8."""
    return composite(read(files))


def statistics(index: Index, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and standard deviation of each row's channels, nx6 of pixels in 0..1, from `pixel_stats.csv`.

    None where that file is not there or lacks one of the rows.
    """
    path = index.root / "pixel_stats.csv"
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, usecols=["id_code", "site", "channel", "mean", "std"], dtype={"id_code": str})
    except ValueError as error:
        raise KitError(f"{path} can't be read ({error}): remove it, and levels are measured, or {MEND}") from None
    wide = table.pivot_table(index=["id_code", "site"], columns="channel", values=["mean", "std"])
    rows = wide.index.get_indexer(pd.MultiIndex.from_frame(frame[["id", "sample"]]))
    if (rows < 0).any():
        return None
    mean, std = (wide[name].to_numpy(np.float64)[rows] / 255 for name in ("mean", "std"))
    return None if np.isnan(mean).any() or np.isnan(std).any() else (mean, std)


def external(path: Path, index: Index) -> pd.DataFrame:
    """Further training rows: a csv `id_code,sirna` of wells of the competition, as `kit pseudo-label` writes it.

    Raises:
        KitError: a well is none of the test wells, or a siRNA is none of the classes.
    """
    table = read_table(path, ("id_code", "sirna"), "give --external a csv with the columns id_code and sirna")
    if (doubled := table["id_code"].duplicated()).any():
        raise KitError(f"{path}: the well {table['id_code'][doubled].iloc[0]} stands there more than once: remove one")
    number = {name: code for code, name in enumerate(index.classes)}
    for column, known, what in (("sirna", set(number), "class"), ("id_code", set(index.test["id"]), "test well")):
        strange = table[~table[column].isin(known)]
        if len(strange):
            first = strange[column].iloc[0]
            raise KitError(f"{path}: {len(strange)} rows name no {what}, the first is {first!r}: take them out")
    label = dict(zip(table["id_code"], table["sirna"], strict=True))
    rows = index.test[index.test["id"].isin(label)]
    return rows.assign(target=rows["id"].map(label).map(number).astype(np.int64))
