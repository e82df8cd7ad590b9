"""Read the raw folder: four grey files per id; csv files with class numbers separated by spaces."""

import reprlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin import Competition
from kit.plugin.data import (
    MULTILABEL,
    Index,
    base_of,
    external_files,
    find_images,
    read_table,
    refuse_repeated,
    repeated,
    table_of,
    without_ending,
)
from kit.plugin.images import read_grey

CLASSES = Competition.from_toml(Path(__file__).parent / "competition.toml").classes
# Also with one zero before them: what else begins with zeros is no class number.
NUMBERS = {text: number for number in range(len(CLASSES)) for text in (str(number), f"{number:02}")}
COLOURS = ("red", "green", "blue", "yellow")
SUFFIXES = tuple(f"_{colour}" for colour in COLOURS)
GREEN = COLOURS.index("green")
LABELS, SAMPLE = "train.csv", "sample_submission.csv"
MEND = "kit download protein --from ARCHIVE.zip provides it"


def index(root: Path, train: str = "train", test: str = "test") -> Index:
    """Read the index: training rows in the order of `train.csv`, test rows in that of `sample_submission.csv`.

    An id without all four channels is left out, and the missing channels are reported. Without a sample submission the
    test set is whatever its folder contains; the folder may be missing too.

    Args:
        root: the folder of the data.
        train, test: the folders of the images, relative to `root`.

    Raises:
        KitError: `train.csv` or the folder of training images is missing, or a label is not in 0..27.
    """
    base = base_of(root, LABELS)
    labels = read_table(base / LABELS, ("Id", "Target"), MEND)
    rows, missing = _match(without_ending(labels["Id"]), labels["Target"], root, base / train, LABELS)
    targets = parse_labels(labels["Target"], labels["Id"], LABELS).loc[rows.index]
    test_rows = rows.iloc[:0].reset_index(drop=True)
    sample = base / SAMPLE
    if sample.is_file():
        ids = without_ending(read_table(sample, ("Id",), MEND)["Id"])
        test_rows, test_missing = _match(ids, ids, root, base / test, sample.name)
        missing.update(test_missing)
    else:
        missing["missing files"] = (sample.name,)
        if (base / test).is_dir():
            there = find_images(labels["Id"].iloc[:0], root, (base / test).relative_to(root).as_posix(), SUFFIXES)
            ids = pd.Series(there.unlisted, dtype=object, name="Id")
            test_rows, _ = _match(ids, ids, root, base / test, "")
    return Index(
        root=root,
        task=MULTILABEL,
        classes=CLASSES,
        train=rows.assign(target=targets).reset_index(drop=True),
        test=test_rows.reset_index(drop=True),
        missing=missing,
    )


def parse_labels(texts: pd.Series, ids: pd.Series, name: str) -> pd.Series:
    """Parse each text into its class numbers, sorted: `16 0` -> (0, 16).

    Args:
        texts: class numbers separated by spaces, one text per row.
        ids: the id of each row, for messages.
        name: of the csv, for messages.

    Raises:
        KitError: a text is anything but one or more numbers in 0..27.
    """
    codes, known = pd.factorize(texts)
    parsed = np.empty(len(known), dtype=object)
    for number, text in enumerate(known):
        words = text.split()
        if not words or not all(word in NUMBERS for word in words):
            bad = ids[texts == text]
            raise KitError(
                f"{name}: the label {reprlib.repr(text)} of {bad.iloc[0]} is not a list of class numbers 0 to "
                f"{len(CLASSES) - 1} separated by spaces ({len(bad)} such rows): {MEND}"
            )
        parsed[number] = tuple(sorted({NUMBERS[word] for word in words}))
    return pd.Series(parsed[codes] if len(known) else [], index=texts.index, dtype=object)


def _match(
    ids: pd.Series, labels: pd.Series, root: Path, folder: Path, name: str
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Return `id` and `files` of the complete ids, indexed by the table's rows; and what does not match."""
    found = find_images(ids, root, folder.relative_to(root).as_posix(), SUFFIXES, MEND)
    chosen = found.there & ~ids.duplicated().to_numpy()
    kept = ids[chosen]
    partial = [f"{ids.iat[row]}: {', '.join(each[1:] for each in lacks)}" for row, lacks in found.lacks.items()]
    return pd.DataFrame({"id": kept, "files": found.files[chosen]}, index=kept.index), {
        f"ids of {name} without an image": tuple(ids[found.absent]),
        f"missing channels in {folder.name}/": tuple(partial),
        f"images in {folder.name}/ that {name} lacks": found.unlisted,
        f"duplicate ids in {name}": repeated(ids, labels),
    }


def read(files: tuple[Path, ...]) -> np.ndarray:
    """Read the red, green, blue and yellow file of a sample as HxWx4 uint8; raise `KitError` if their sizes differ."""
    channels = [read_grey(file) for file in files]
    for file, channel in zip(files, channels, strict=True):
        if channel.shape != channels[0].shape:
            own, red = (f"{image.shape[1]}x{image.shape[0]}" for image in (channel, channels[0]))
            raise KitError(f"{file} is {own}, its red channel {red}: download both again (kit download protein)")
    return cv2.merge(channels).reshape(*channels[0].shape, len(COLOURS))


def likeness(files: tuple[Path, ...]) -> np.ndarray:
    """Read the green image, HxW uint8: within a cell line nuclei and skeleton look alike, the protein does not."""
    return read_grey(files[GREEN])


def composite(image: np.ndarray) -> np.ndarray:
    """Return RGBY as RGB, HxWx3: yellow light is added half to red and half to green."""
    red, green, blue, yellow = cv2.split(image)
    return cv2.merge([cv2.scaleAdd(yellow, 0.5, red), cv2.scaleAdd(yellow, 0.5, green), blue])


def external(path: Path, index: Index) -> pd.DataFrame:
    """Return further training rows from a csv `Id,Target`, or from a folder with one such csv.

    `kit pseudo-label` writes `Id,Predicted`, which is read too. The images are beside the csv or in a folder there; ids
    of the competition's own images, as in pseudo-labels, need none.

    Args:
        path: the csv or the folder.
        index: of the competition.

    Returns:
        The columns `id`, `files` and `target`.

    Raises:
        KitError: the folder holds no csv or several, an id appears twice, or an id has no image.
    """
    table_path = table_of(path, "Id and Target")
    table = read_table(table_path, ("Id",), "give --external a csv with the columns Id and Target")
    if "Target" not in table:
        table = read_table(table_path, ("Id", "Predicted"), "give --external a csv with the columns Id and Target")
        table = table.rename(columns={"Predicted": "Target"})
    ids = without_ending(table["Id"])
    refuse_repeated(ids, table_path)
    targets = parse_labels(table["Target"], ids, str(table_path))
    files = external_files(table_path, ids, index, SUFFIXES)
    return pd.DataFrame({"id": ids.to_numpy(object), "files": files, "target": targets.to_numpy(object)})
