"""Read the raw folder: one 96x96 RGB .tif per id in `train/` and `test/`, labels and test order in csv files."""

import reprlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin.data import (
    BINARY,
    Index,
    base_of,
    external_files,
    find_images,
    groups_of,
    numbers_of,
    read_table,
    refuse_repeated,
    repeated,
    table_of,
    without_ending,
)
from kit.plugin.images import read_rgb

CLASSES = ("normal", "tumor")
LABELS, SAMPLE = "train_labels.csv", "sample_submission.csv"
SLIDES = "patch_id_wsi.csv"
MEND = "kit download histopathology --from ARCHIVE.zip provides it"


def index(root: Path) -> Index:
    """Read the index: training rows in the order of `train_labels.csv`, test rows in that of the sample submission.

    Group by slide if the community's `patch_id_wsi.csv` is beside them.

    Raises:
        KitError: a csv or a folder is missing, or a label is neither 0 nor 1.
    """
    base = base_of(root, LABELS)
    labels = read_labels(base / LABELS, MEND)
    wrong = labels[~labels["label"].isin(["0", "1"])]
    if len(wrong):
        first = wrong.iloc[0]
        raise KitError(
            f"{LABELS}: {len(wrong)} labels are neither 0 nor 1, the first is {reprlib.repr(first['label'])} "
            f"of {first['id']}: {MEND}"
        )
    sample = read_labels(base / SAMPLE, MEND)
    train, train_missing = _match(labels, root, base, "train", LABELS)
    test, test_missing = _match(sample, root, base, "test", SAMPLE)
    found = Index(
        root=root,
        task=BINARY,
        classes=CLASSES,
        train=train.assign(target=train["label"].astype(np.int8)).drop(columns="label"),
        test=test.drop(columns="label"),
        missing={**train_missing, **test_missing},
    )
    slides = base / SLIDES
    return found.with_groups(groups(slides), "slide") if slides.is_file() else found


def read_labels(path: Path, mend: str) -> pd.DataFrame:
    """Read a csv `id,label` as text, ids without the ending of a file."""
    table = read_table(path, ("id", "label"), mend)
    return table.assign(id=without_ending(table["id"]))


def _match(
    table: pd.DataFrame, root: Path, base: Path, split: str, name: str
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Return the rows of `table` with an image in the folder, `files` added; and what does not match, both ways."""
    listed = table["id"]
    found = find_images(listed, root, (base / split).relative_to(root).as_posix(), mend=MEND)
    chosen = found.there & ~listed.duplicated().to_numpy()
    kept = table.loc[chosen, ["id", "label"]].reset_index(drop=True)
    kept.insert(1, "files", found.files[chosen])
    return kept, {
        f"ids of {name} without an image": tuple(listed[found.absent]),
        f"images in {split}/ that {name} lacks": found.unlisted,
        f"images in {split}/ beside another of the same id": found.passed_over,
        f"duplicate ids in {name}": repeated(listed, table["label"]),
    }


def external(path: Path, index: Index) -> pd.DataFrame:
    """Return further training rows from a csv `id,label`, or from a folder with one such csv.

    A label is 0 or 1, or a probability, as `kit pseudo-label` writes it, which counts as 1 from one half. The images
    are beside the csv or in a folder there; ids of the competition's own images, as in pseudo-labels, need none.

    Raises:
        KitError: the folder holds no csv or several, an id appears twice or has no image, or a label is not in 0..1.
    """
    table_path = table_of(path, "id and label")
    table = read_labels(table_path, "give --external a csv with the columns id and label")
    refuse_repeated(table["id"], table_path)
    label = numbers_of(table, "label", table_path, "give 0, 1 or a probability", 0, 1)
    files = external_files(table_path, table["id"], index)
    return pd.DataFrame({"id": table["id"].to_numpy(object), "files": files, "target": (label >= 0.5).astype(np.int8)})


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
