"""Read the raw folder: four grey files per id; csv files with class numbers separated by spaces."""

import os
import reprlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin import Competition
from kit.plugin.data import MULTILABEL, FileNames, Index, read_table, table_of
from kit.plugin.images import read_grey

CLASSES = Competition.from_toml(Path(__file__).parent / "competition.toml").classes
# Also with one zero before them: what else begins with zeros is no class number.
NUMBERS = {text: number for number in range(len(CLASSES)) for text in (str(number), f"{number:02}")}
COLOURS = ("red", "green", "blue", "yellow")
ENDINGS = ("png", "tif", "tiff", "jpg", "jpeg")  # the first one found is read
GREEN = COLOURS.index("green")
MEND = "kit download protein --from ARCHIVE.zip provides it"
# The endings of the red, green, blue and yellow file by id; None for a missing file.
Found = dict[str, list[str | None]]


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
    labels = read_table(root / "train.csv", ("Id", "Target"), MEND)
    rows, missing = _match(labels["Id"], root, train, "train.csv")
    targets = parse_labels(labels["Target"], labels["Id"], "train.csv").loc[rows.index]
    test_rows = rows.iloc[:0].reset_index(drop=True)
    sample = root / "sample_submission.csv"
    if sample.is_file():
        test_rows, test_missing = _match(read_table(sample, ("Id",), MEND)["Id"], root, test, sample.name)
        missing.update(test_missing)
    else:
        missing["missing files"] = (sample.name,)
        if (root / test).is_dir():
            ids = pd.Series(sorted(_channels(root / test)), dtype=object, name="Id")
            test_rows, _ = _match(ids, root, test, "")
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


def _match(ids: pd.Series, root: Path, folder: str, name: str) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Return `id` and `files` of the complete ids, indexed by the table's rows; and what does not match."""
    if not (root / folder).is_dir():
        raise KitError(f"the folder {root / folder} is not there: {MEND}")
    found = _channels(root / folder)
    doubled = ids.duplicated()
    complete = ids.map(lambda id_: None not in found.get(id_, (None,))).astype(bool)
    kept = ids[complete & ~doubled]
    partial = [f"{id_}: {', '.join(absent(found[id_]))}" for id_ in ids[~complete] if id_ in found]
    listed = set(ids)
    return pd.DataFrame({"id": kept, "files": _files(folder, kept, found)}, index=kept.index), {
        f"ids of {name} without an image": tuple(id_ for id_ in ids[~complete] if id_ not in found),
        f"missing channels in {folder}/": tuple(partial),
        f"images in {folder}/ that {name} lacks": tuple(sorted(id_ for id_ in found if id_ not in listed)),
        f"duplicate ids in {name}": tuple(ids[doubled]),
    }


def absent(endings: list[str | None]) -> list[str]:
    """Return the colours without a file."""
    return [colour for colour, ending in zip(COLOURS, endings, strict=True) if ending is None]


def _channels(folder: Path) -> Found:
    """Find the files `<id>_<colour>.<ending>` of a folder; other files are skipped."""
    found: Found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, _, ending = entry.name.rpartition(".")
            id_, _, colour = stem.rpartition("_")
            if not id_ or colour not in COLOURS or ending not in ENDINGS:
                continue
            endings, place = found.setdefault(id_, [None] * len(COLOURS)), COLOURS.index(colour)
            # Store the constant, not the slice of the name, which would be one more string per image.
            known = ENDINGS.index(ending)
            before = endings[place]
            if before is None or known < ENDINGS.index(before):
                endings[place] = ENDINGS[known]
    return found


def _files(folder: str, ids: Iterable[str], found: Found) -> "FileNames | np.ndarray":
    """Return the files of each id in the order of COLOURS; in little memory if all ids have the same endings."""
    ids = list(ids)
    kinds = {tuple(found[id_]) for id_ in ids}
    if len(kinds) <= 1:
        endings = kinds.pop() if kinds else ("png",) * len(COLOURS)
        patterns = [f"{folder}/{{}}_{colour}.{ending}" for colour, ending in zip(COLOURS, endings, strict=True)]
        return FileNames(patterns, ids)
    files = np.empty(len(ids), dtype=object)
    for row, id_ in enumerate(ids):
        files[row] = tuple(f"{folder}/{id_}_{colour}.{end}" for colour, end in zip(COLOURS, found[id_], strict=True))
    return files


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
    if doubled := int(table["Id"].duplicated().sum()):
        raise KitError(f"{table_path}: {doubled} ids appear more than once: remove all but one of each")
    targets = parse_labels(table["Target"], table["Id"], str(table_path))
    known: dict[str, tuple[str, ...]] = {}
    for frame in (index.train, index.test):
        known.update(zip(frame["id"], frame["files"], strict=True))
    folder = table_path.parent.absolute()
    for place in (folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())):
        found = _channels(place)
        complete = [id_ for id_, endings in found.items() if None not in endings]
        known.update(zip(complete, _files(str(place), complete, found), strict=True))
    without = table["Id"][~table["Id"].isin(known)]
    if len(without):
        raise KitError(
            f"{table_path}: {len(without)} of {len(table)} ids have no four images beside it or in the "
            f"competition, the first is {without.iloc[0]}: put them there as ID_red.png, ID_green.png, ..."
        )
    files = np.empty(len(table), dtype=object)
    files[:] = [known[id_] for id_ in table["Id"]]
    return pd.DataFrame({"id": table["Id"].to_numpy(object), "files": files, "target": targets.to_numpy(object)})
