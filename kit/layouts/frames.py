"""Rows of an index from tables and folders: the images of each row, and columns of metadata as numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kit.data.file_names import FileNames, find_images
from kit.errors import KitError
from kit.image_files import files_there, image_files
from kit.layouts.labels import MEND

MOST_KINDS = 30  # values of a text column that become columns of their own


def with_images(
    table: pd.DataFrame,
    image: str,
    root: Path,
    folder: str = "",
    suffixes: Sequence[str] = ("",),
    views: bool = False,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Give the rows of a table their image files, as the column `files`.

    Args:
        table: has the column `id`; equal rows count once.
        image: the column with the names of the files: with or without ending, and folders that stand before them.
        root: the folder of the data.
        folder: where the files are, relative to `root`.
        suffixes: what stands between a name and the ending, where an id has several files.
        views: whether several files are samples of one id, each a row, and not the channels of one.

    Returns:
        The rows that have all their files, and the ids of the others.
    """
    table = table.drop_duplicates().reset_index(drop=True).copy()
    names = table[image].map(lambda name: name.rpartition("/")[2])
    if names.nunique() < table[image].nunique():
        names = table[image].str.removeprefix(f"{folder}/")  # its folders tell apart files of one name
    if views:
        parts = [
            with_images(table.assign(**{image: names + each, "sample": table["id"] + each}), image, root, folder)
            for each in suffixes
        ]
        frame = pd.concat([part for part, _ in parts], ignore_index=True)
        there = set(frame["id"])
        return frame, tuple(id_ for id_ in dict.fromkeys(table["id"]) if id_ not in there)
    found = find_images(names, root, folder, suffixes)
    frame = table.assign(files=found.files)[found.there].reset_index(drop=True)
    if not frame["id"].is_unique:
        frame = frame.assign(sample=[files[0] for files in frame["files"]])
    return frame, tuple(table["id"][~found.there])


def images_below(root: Path, folder: str = "", among: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a row for each image below a folder: `id` (its name without ending), `folder` (that it lies in), `files`.

    Args:
        root: the folder of the data.
        folder: where to look, relative to `root`.
        among: names of folders: only images in these, or deeper in them, count, and `folder` is that one of them.

    Images of one name in several folders have ids with their folder: `cat/1`.

    Raises:
        KitError: the folder is not there; it says what is.
    """
    wanted = None if among is None else set(among)
    skipped = folder.count("/") + 1 if folder else 0
    rows = []
    try:
        for place, stem, ending in image_files(root, folder):
            parts = place.rstrip("/").split("/")
            inner = parts[-1] if wanted is None else next((part for part in parts[skipped:] if part in wanted), "")
            if wanted is None or inner:
                rows.append((stem, inner, place + stem + ending))
    except FileNotFoundError:
        raise KitError(f"the folder {root / folder} is not there ({files_there(root, '')}): {MEND}") from None
    frame = pd.DataFrame(sorted(rows, key=lambda row: row[2]), columns=["id", "folder", "path"], dtype=object)
    again = frame["id"].duplicated(keep=False)
    frame.loc[again, "id"] = frame["folder"][again] + "/" + frame["id"][again]
    again = frame["id"].duplicated(keep=False)
    frame.loc[again, "id"] = frame["path"][again]
    return frame.drop(columns="path").assign(files=FileNames(("{}",), frame["path"]))


def with_metadata(
    train: pd.DataFrame, test: pd.DataFrame, columns: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Make columns of text the numbers that a network takes beside the image.

    Numbers are scaled to mean 0 and standard deviation 1 of the training rows, and 0 where there is none; of a text
    each value of the training rows becomes a column of 0 and 1, `sex=male`.

    Returns:
        Both frames with these columns, and their names.
    """
    made: list[dict[str, np.ndarray]] = [{}, {}]
    for column in columns:
        texts = [frame[column].astype(str).str.strip() for frame in (train, test)]
        numbers = [pd.to_numeric(text, errors="coerce").to_numpy(np.float64) for text in texts]
        if np.isfinite(numbers[0]).any() and ((texts[0] == "") | np.isfinite(numbers[0])).all():
            mean, spread = np.nanmean(numbers[0]), np.nanstd(numbers[0]) or 1.0
            for into, values in zip(made, numbers, strict=True):
                into[f"{column} scaled"] = np.nan_to_num((values - mean) / spread, posinf=0, neginf=0)
        else:
            for value in sorted(set(texts[0]) - {""})[:MOST_KINDS]:
                for into, text in zip(made, texts, strict=True):
                    into[f"{column}={value}"] = (text == value).to_numpy(np.float64)
    names = tuple(made[0])
    wide = [pd.DataFrame(new, index=frame.index) for new, frame in zip(made, (train, test), strict=True)]
    return pd.concat([train, wide[0]], axis=1), pd.concat([test, wide[1]], axis=1), names
