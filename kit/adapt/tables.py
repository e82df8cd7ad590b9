"""The tables of a folder, read as text, and how a plugin reads each of them."""

import csv
import io
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from kit.adapt.folder import Folder
from kit.errors import KitError
from kit.image_files import bare
from kit.layouts.labels import SEPARATORS, read_labels

HEAD = 1 << 16  # bytes
MOST_COLUMNS = 4000
LARGEST = 1 << 29
SAMPLE = re.compile(r"sample|submi(t|ssion)|subm\b", re.IGNORECASE)
PIXEL = re.compile(r"(pixel|px|p)?_?\d+(x\d+)?", re.IGNORECASE)
FEWEST_PIXELS = 40  # columns
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
UNNAMED = ("image", "label")  # columns of a table whose first line is a row already


@dataclass(frozen=True)
class Table:
    """One table of the folder.

    Args:
        name: relative to the folder.
        frame: its rows as text.
        names: the names that are given to columns without any; None where the first line has names.
        bbox_only: of a json in COCO's form: whether each annotation is a box or an outline.
    """

    name: str
    frame: pd.DataFrame
    names: tuple[str, ...] | None = None
    bbox_only: bool = False

    @property
    def is_sample(self) -> bool:
        """Whether its name says that it is a sample submission."""
        name = PurePosixPath(self.name).name
        return SAMPLE.search(name) is not None and "train" not in name.lower()

    @cached_property
    def columns(self) -> list[str]:
        """Its columns, without those that number the rows and have no name."""
        return [str(name) for name in self.frame if not str(name).startswith("Unnamed: ")]

    def values(self, column: str) -> pd.Series:
        """Return the values of a column that are not empty."""
        values = self.frame[column]
        return values[values != ""]


@dataclass(frozen=True)
class Tables:
    """All tables of a folder.

    Args:
        tables: those that could be read.
        class_names: names of classes by what stands for them in tables, from a json.
        unread: why a table could not be read, by name.
        pixels: names of tables whose columns are the pixels of images.
    """

    tables: list[Table] = field(default_factory=list)
    class_names: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    pixels: list[str] = field(default_factory=list)

    @property
    def samples(self) -> list[Table]:
        """Those that are sample submissions by name."""
        return [table for table in self.tables if table.is_sample]

    @property
    def others(self) -> list[Table]:
        """The others."""
        return [table for table in self.tables if not table.is_sample]


def read_tables(folder: Folder) -> Tables:
    """Read all tables of a folder; one that can't be read is kept as such."""
    found = Tables()
    stems = {bare(name) for names in folder.images.values() for name in names}
    for name in sorted(folder.tables, key=lambda name: (name.count("/"), name)):
        try:
            if folder.size(name) > LARGEST:
                raise KitError(f"{name} has more than {LARGEST:,} bytes")
            path = folder.file(name)
            if not path.is_file():  # a pipe would wait for ever
                raise KitError(f"{name} is no file")
            if name.lower().endswith(".json"):
                _add_json(found, name, path)
            else:
                _add_csv(found, name, path, stems)
        except (KitError, OSError, ValueError, RecursionError, csv.Error) as error:
            why = " ".join(str(error).split())
            found.unread[name] = why if name in why else f"{name} ({why})"
    return found


def _add_csv(found: Tables, name: str, path: Path, stems: set[str]) -> None:
    with path.open("rb") as file:
        head = file.read(HEAD).decode("utf-8-sig", errors="replace")
    lines = head.splitlines()
    if not lines:
        raise KitError(f"{name} is empty")
    first = _fields(lines[0])
    if len(first) > FEWEST_PIXELS and sum(PIXEL.fullmatch(each) is not None for each in first) > 0.9 * len(first):
        found.pixels.append(name)
        return
    if len(first) > MOST_COLUMNS:
        raise KitError(f"{name} has {len(first):,} columns")
    named = bare(first[0].rpartition("/")[2]) in stems
    names = _names_for(first, _fields(lines[1]) if len(lines) > 1 else [], named)
    found.tables.append(Table(name, read_labels(path, names=names), names))


def _names_for(first: list[str], second: list[str], named: bool) -> tuple[str, ...] | None:
    """Return names for the columns where the first line is a row: it names an image (`named`), or holds numbers."""
    is_row = (
        named
        or any(bare(each) != each for each in first)
        or (len(first) == len(second) and any(NUMBER.fullmatch(each) for each in first[1:]) and len(first) <= 3)
    )
    if not is_row or (
        len(first) > 1 and any(each and not NUMBER.fullmatch(each) and each in UNNAMED for each in first)
    ):
        return None
    more = [f"label{number}" for number in range(2, len(first))]
    return tuple([*UNNAMED, *more][: len(first)])


def _fields(line: str) -> list[str]:
    separator = max(SEPARATORS, key=line.count)
    return [each.strip() for each in next(csv.reader(io.StringIO(line), delimiter=separator), [])]


def _add_json(found: Tables, name: str, path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    names = _class_names(content)
    if names:
        found.class_names.update(names)
        return
    frame = read_labels(path)
    notes = content.get("annotations", []) if isinstance(content, dict) else []
    notes = [note for note in notes if isinstance(note, dict)]
    outlined = [note for note in notes if note.get("bbox") or note.get("segmentation")]
    found.tables.append(Table(name, frame, None, bool(notes) and len(outlined) == len(notes)))


def _class_names(content: Any) -> dict[str, str]:
    """Return names of classes by number, if that is what a json holds."""
    if not isinstance(content, dict) or not 2 <= len(content) <= 20000:
        return {}
    texts = {value for value in content.values() if isinstance(value, str)}
    if len(texts) == len(content) and all(key.isdigit() for key in content):
        return {key: str(value) for key, value in content.items()}
    numbers = list(content.values())
    in_row = all(type(value) is int for value in numbers) and sorted(numbers) == list(range(len(numbers)))
    if in_row and not any(bare(key) != key for key in content):
        return {str(value): key for key, value in content.items()}
    return {}
