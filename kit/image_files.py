"""Image files by their names: told by endings, walked below a folder, told from what systems leave behind."""

import os
import reprlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from kit.errors import DISK, KitError
from kit.paths import IMAGE, IMAGE_ENDINGS, is_litter

RANK = {f".{ending}": rank for rank, ending in enumerate(IMAGE_ENDINGS)}
TABLES = (".csv", ".tsv", ".tab")
DEEPEST = 3  # folders below the data's in which its tables are looked for
MOST_NAMED = 3


def bare(id_: str) -> str:
    """Return an id without the ending of an image file, which some tables have: `a1.tif` -> `a1`."""
    return IMAGE.sub("", id_)


def without_ending(ids: pd.Series) -> pd.Series:
    """Return ids, each without the ending of an image file: the very column if none has one."""
    return ids.map(bare) if any(map(IMAGE.search, ids)) else ids


def base_of(root: Path, table: str) -> Path:
    """Return the folder that holds a table or folder: the data's own, or one below it where all lies in a folder more.

    Without any the data's own folder is returned; two that hold it are a `KitError`.
    """
    level = [root] if root.is_dir() else []
    for _ in range(DEEPEST):
        holding = [folder for folder in level if (folder / table).exists()]
        if len(holding) > 1:
            raise KitError(f"{holding[0] / table} and {holding[1] / table} are both there: move one of them away")
        if holding:
            return holding[0]
        level = sorted(Path(entry.path) for folder in level for entry in _listed(folder) if _is_folder(entry))
    return root


def image_files(root: Path, folder: str = "", depth: int | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield place, stem and ending of every image file below a folder, in no order: `("train/", "a1", ".TIF")`.

    Files are told by their endings, in any case. Hidden ones and what systems leave behind (`kit.paths.is_litter`) are
    passed over; links are followed.

    Args:
        root: the folder of the data.
        folder: where to look, relative to `root` or absolute; places begin with it.
        depth: folders to go down; None for all.

    Raises:
        FileNotFoundError: there is no such folder.
        KitError: a folder may not be listed.
    """
    for place, name in data_files(root, folder, depth):
        stem, dot, ending = name.rpartition(".")
        if f"{dot}{ending}".lower() in RANK:
            yield place, stem, dot + ending


def data_files(root: Path, folder: str = "", depth: int | None = None) -> Iterator[tuple[str, str]]:
    """Yield place and name of every file below a folder; arguments, order and errors as for `image_files`."""
    start = os.path.join(root, folder)
    walked, waiting = {os.path.realpath(start)}, [(f"{folder}/" if folder else "", 0)]
    while waiting:
        place, deep = waiting.pop()
        for entry in _listed(os.path.join(root, place)):
            name = entry.name
            if name.startswith("."):
                continue
            # A name like an image's is one: to ask the disk about each takes longer than all the rest.
            if IMAGE.search(name):
                yield place, name
            elif is_litter(name):
                continue
            elif not _leads_to_folder(entry):
                yield place, name
            elif (depth is None or deep < depth) and _is_new(entry, walked):
                waiting.append((f"{place}{name}/", deep + 1))


def _listed(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder one by one: to keep 220,025 names would take as much memory as the index."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from None
    except PermissionError as error:
        raise KitError(f"the folder {folder} can't be listed ({error.strerror})", DISK) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and not is_litter(entry.name) and _leads_to_folder(entry)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead round in a circle
        return False


def _is_new(entry: os.DirEntry[str], walked: set[str]) -> bool:
    """Return whether a folder is to be walked: links to what is walked anyway would lead round in circles."""
    target = os.path.realpath(entry.path)
    if not entry.is_symlink():
        return target not in walked
    here = os.path.realpath(os.path.dirname(entry.path))
    if f"{here}/".startswith(f"{target}/") or any(f"{target}/".startswith(f"{place}/") for place in walked):
        return False
    walked.add(target)
    return True


def files_there(root: Path, id_: str) -> str:
    """Say what lies in a folder besides tables, and how a file's name differs from an id without one; for messages."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    key, like = bare(id_), ""
    for place, name in data_files(root):
        kind = place.rstrip("/") or ".", Path(name).suffix
        if kind[1].lower() in TABLES:
            continue
        counts[kind] += 1
        examples[kind] = min(place + name, examples.get(kind, place + name))
        if key and key.lower() in name.lower():
            like = min(place + name, like or place + name)
    if not counts:
        return "no files but tables are there"
    kinds = sorted(counts, key=lambda kind: (kind[1].lower() not in RANK, -counts[kind], kind))
    said = ", ".join(
        f"{counts[kind]:,} file{'s' * (counts[kind] > 1)} *{kind[1]} in {kind[0]}" for kind in kinds[:MOST_NAMED]
    )
    if not like and kinds[0][1].lower() not in RANK:
        return f"there are no images, only {said}"
    example = like or examples[kinds[0]]
    return f"there: {said}, such as {example!r}: {_difference(key, Path(example))}"


def _difference(key: str, file: Path) -> str:
    """Say what keeps a file from being that of an id."""
    if file.suffix.lower() not in RANK:
        return f"{file.suffix or 'no ending'} is not one of {', '.join(RANK)}"
    if key not in file.stem and key.lower() in file.stem.lower():
        return "it has other capitals than the id"
    if key and file.stem != key and key in file.stem:
        return f"its name has {reprlib.repr(file.stem.replace(key, '', 1))} beside the id"
    if file.stem == key:
        return "no row of a table names it, or it is sought elsewhere or with more in its name"
    return "its name has no such id"
