"""The raw folder: four grey files an id, `train.csv` and `sample_submission.csv` with class numbers between spaces."""

import os
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
COLOURS = ("red", "green", "blue", "yellow")
ENDINGS = ("png", "tif", "tiff", "jpg", "jpeg")  # the first that is there is read
GREEN = COLOURS.index("green")
MEND = "kit download protein --from ARCHIVE.zip brings it"
# Ids and, for each, the ending of its red, green, blue and yellow file, None where there is none.
Found = dict[str, list[str | None]]


def index(root: Path, train: str = "train", test: str = "test") -> Index:
    """Read the index: training rows in the order of `train.csv`, test rows in that of `sample_submission.csv`.

    An id of which a channel is not there is left out, and the channel is named. Without a sample submission the test
    part is what lies in its folder, which may not be there at all.

    Args:
        root: of the data.
        train, test: the folders of the images.

    Raises:
        KitError: `train.csv` or the folder of training images is not there, or a label is none of 0..27.
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
        missing["files that should be there"] = (sample.name,)
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
    """`16 0` -> (0, 16), of each text; anything but one or more numbers of 0..27 is a `KitError` that names the id."""
    codes, known = pd.factorize(texts)
    parsed = np.empty(len(known), dtype=object)
    for number, text in enumerate(known):
        words = text.split()
        if not words or not all(word.isascii() and word.isdigit() and int(word) < len(CLASSES) for word in words):
            bad = ids[texts == text]
            raise KitError(
                f"{name}: the label {text!r} of {bad.iloc[0]} is no list of class numbers 0 to {len(CLASSES) - 1} "
                f"between spaces ({len(bad)} such rows): {MEND}"
            )
        parsed[number] = tuple(sorted({int(word) for word in words}))
    return pd.Series(parsed[codes] if len(known) else [], index=texts.index, dtype=object)


def _match(ids: pd.Series, root: Path, folder: str, name: str) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    """Rows `id`, `files` of the ids whose four files are there, by the table's row; and what does not fit."""
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
        f"channels in {folder}/ that are not there": tuple(partial),
        f"images in {folder}/ that {name} lacks": tuple(sorted(id_ for id_ in found if id_ not in listed)),
        f"ids doubled in {name}": tuple(ids[doubled]),
    }


def absent(endings: list[str | None]) -> list[str]:
    """The colours that have no file."""
    return [colour for colour, ending in zip(COLOURS, endings, strict=True) if ending is None]


def _channels(folder: Path) -> Found:
    """What a folder holds: `<id>_<colour>.<ending>`; other files are passed over."""
    found: Found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, _, ending = entry.name.rpartition(".")
            id_, _, colour = stem.rpartition("_")
            if not id_ or colour not in COLOURS or ending not in ENDINGS:
                continue
            endings, place = found.setdefault(id_, [None] * len(COLOURS)), COLOURS.index(colour)
            # The constant and not the name's own part, which would be a text an image.
            known = ENDINGS.index(ending)
            before = endings[place]
            if before is None or known < ENDINGS.index(before):
                endings[place] = ENDINGS[known]
    return found


def _files(folder: str, ids: Iterable[str], found: Found) -> "FileNames | np.ndarray":
    """The files of each id in the order of COLOURS; in little memory where all have one ending, as is usual."""
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
    """Red, green, blue and yellow file of a sample as HxWx4 uint8; files of unlike size are a `KitError`."""
    channels = [read_grey(file) for file in files]
    for file, channel in zip(files, channels, strict=True):
        if channel.shape != channels[0].shape:
            sizes = [f"{part.shape[1]}x{part.shape[0]}" for part in (channel, channels[0])]
            raise KitError(f"{file} is {sizes[0]}, its red channel {sizes[1]}: bring both again (kit download protein)")
    return cv2.merge(channels).reshape(*channels[0].shape, len(COLOURS))


def likeness(files: tuple[Path, ...]) -> np.ndarray:
    """The green image, HxW uint8: nuclei and skeleton of one cell line look alike, the protein's place does not."""
    return read_grey(files[GREEN])


def composite(image: np.ndarray) -> np.ndarray:
    """RGBY as people see it, HxWx3: yellow light is half red and half green."""
    red, green, blue, yellow = cv2.split(image)
    return cv2.merge([cv2.scaleAdd(yellow, 0.5, red), cv2.scaleAdd(yellow, 0.5, green), blue])


def external(path: Path, index: Index) -> pd.DataFrame:
    """Further training rows, `id`, `files`, `target`: a csv `Id,Target` (or, as `kit pseudo-label` writes it,
    `Id,Predicted`), or a folder with one such csv.

    The images lie beside the csv or in a folder there; ids of the competition's own images, as pseudo-labels have them,
    need none.

    Args:
        path: the csv or the folder.
        index: of the competition.

    Raises:
        KitError: no csv, or more than one, is there, or an id has no image.
    """
    table_path = table_of(path, "Id and Target")
    table = read_table(table_path, ("Id",), "give --external a csv with the columns Id and Target")
    if "Target" not in table:
        table = read_table(table_path, ("Id", "Predicted"), "give --external a csv with the columns Id and Target")
        table = table.rename(columns={"Predicted": "Target"})
    if doubled := int(table["Id"].duplicated().sum()):
        raise KitError(f"{table_path}: {doubled} ids stand there more than once: remove all but one of each")
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
