"""Read the raw folder: one 96x96 RGB .tif per id in `train/` and `test/`, labels and test order in csv files."""

import os
import reprlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin.data import BINARY, FileNames, Index, groups_of, read_table
from kit.plugin.images import read_rgb

CLASSES = ("normal", "tumor")
SLIDES = "patch_id_wsi.csv"
MEND = "kit download histopathology --from ARCHIVE.zip provides it"


def index(root: Path) -> Index:
    """Read the index: training rows in the order of `train_labels.csv`, test rows in that of the sample submission.

    Group by slide if the community's `patch_id_wsi.csv` is in `root`.

    Raises:
        KitError: a csv or a folder is missing, or a label is neither 0 nor 1.
    """
    labels = read_table(root / "train_labels.csv", ("id", "label"), MEND)
    wrong = labels[~labels["label"].isin(["0", "1"])]
    if len(wrong):
        first = wrong.iloc[0]
        raise KitError(
            f"train_labels.csv: {len(wrong)} labels are neither 0 nor 1, the first is {reprlib.repr(first['label'])} "
            f"of {first['id']}: {MEND}"
        )
    sample = read_table(root / "sample_submission.csv", ("id", "label"), MEND)
    train, train_missing = _match(labels, root, "train", "train_labels.csv")
    test, test_missing = _match(sample, root, "test", "sample_submission.csv")
    found = Index(
        root=root,
        task=BINARY,
        classes=CLASSES,
        train=train.assign(target=train["label"].astype(np.int8)).drop(columns="label"),
        test=test.drop(columns="label"),
        missing={**train_missing, **test_missing},
    )
    slides = root / SLIDES
    return found.with_groups(groups(slides), "slide") if slides.is_file() else found


def _match(table: pd.DataFrame, root: Path, split: str, name: str) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Return the rows of `table` with an image in the folder, `files` added; and what does not match, both ways."""
    listed = table["id"]
    absent, unlisted = _compare(listed, root / split)
    doubled = listed.duplicated()
    kept = table.loc[~listed.isin(absent) & ~doubled, ["id", "label"]].reset_index(drop=True)
    kept.insert(1, "files", FileNames([f"{split}/{{}}.tif"], kept["id"]))
    return kept, {
        f"ids of {name} without an image": tuple(listed[listed.isin(absent)]),
        f"images in {split}/ that {name} lacks": tuple(unlisted),
        f"duplicate ids in {name}": tuple(listed[doubled]),
    }


def _compare(listed: pd.Series, folder: Path) -> tuple[set[str], list[str]]:
    """Return the listed ids without a .tif file in the folder, and the ids of unlisted files, sorted.

    The folder's names are read one by one: keeping them would take as much memory as the index.
    """
    absent, unlisted = set(listed), []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                id_, dot, suffix = entry.name.rpartition(".")
                if dot and suffix == "tif":
                    try:
                        absent.remove(id_)
                    except KeyError:
                        unlisted.append(id_)
    except (FileNotFoundError, NotADirectoryError):
        raise KitError(f"the folder {folder} is not there: {MEND}") from None
    return absent, sorted(unlisted)


def read(files: tuple[Path, ...]) -> np.ndarray:
    """Read the one file of a sample as 96x96x3 uint8, RGB."""
    return read_rgb(files[0])


def groups(path: Path) -> Mapping[str, str]:
    """Read the slide of each id from a csv like `patch_id_wsi.csv` with the columns `id` and `wsi`.

    The slide is the last "_" token of `wsi`. Ids with an empty `wsi` are left out.

    Raises:
        KitError: the csv or a column is missing, or an id has two slides.
    """
    table = read_table(path, ("id", "wsi"), "give a csv with the columns id and wsi")
    # A slide has thousands of patches: parse and keep its name once.
    codes, wsi = pd.factorize(table["wsi"])
    slides = np.asarray([name.rsplit("_", 1)[-1].strip() for name in wsi], dtype=object)
    known = (slides != "")[codes]
    return groups_of(table.loc[known, "id"], pd.Series(slides[codes[known]], table.index[known]), path)
