"""The column `files` of an index: found for its ids, and kept as one text per row, 8 bytes per image instead of 190."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray, ExtensionDtype, take

from kit.errors import KitError
from kit.image_files import RANK, files_there, image_files, without_ending

KIND_BITS = 24  # of the number of a kind: folder and ending


class FilesDtype(ExtensionDtype):
    """The dtype of a `FileNames` column; columns with different patterns have different dtypes."""

    type = tuple
    na_value = None
    _metadata = ("patterns",)

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns

    @property
    def name(self) -> str:
        """The name that pandas prints."""
        return f"files[{', '.join(self.patterns)}]"

    def construct_array_type(self) -> Any:
        """Return the array class of this dtype."""
        return FileNames

    @classmethod
    def construct_from_string(cls, string: str) -> "FilesDtype":
        """Refuse every text: none names this dtype, but pandas asks when it compares dtypes."""
        raise TypeError(f"{string!r} does not name a dtype of file names")


class FileNames(ExtensionArray):
    """Tuples of file names, made on access.

        frame["files"] = FileNames(("train/{}_red.png", "train/{}_green.png"), frame["id"])
        frame["files"].iat[0]    # ("train/a_red.png", "train/a_green.png")

    Args:
        patterns: the name of each file of a sample, with `{}` for the row's text.
        names: the text of each row.
    """

    def __init__(self, patterns: Sequence[str], names: "Iterable[str] | np.ndarray") -> None:
        self.patterns = tuple(patterns)
        self.names = np.asarray(names, dtype=object)

    @property
    def dtype(self) -> FilesDtype:
        """The dtype, which tells pandas the patterns."""
        return FilesDtype(self.patterns)

    @property
    def nbytes(self) -> int:
        """Bytes of the pointers; the texts are shared with the column they come from."""
        return int(self.names.nbytes)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, item: Any) -> Any:
        if not isinstance(item, (int, np.integer)):
            item = pd.api.indexers.check_array_indexer(self, item)
        found = self.names[item]
        if isinstance(found, np.ndarray):
            return FileNames(self.patterns, found)
        return None if found is None else tuple([pattern.format(found) for pattern in self.patterns])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return an array of tuples; numpy alone would make one column per file."""
        return np.fromiter(self, object, len(self))

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, (pd.Series, pd.Index, pd.DataFrame)):
            return NotImplemented
        others = [other] * len(self) if isinstance(other, tuple) else other
        return np.fromiter((own == one for own, one in zip(self, others, strict=True)), bool, len(self))

    def isna(self) -> np.ndarray:
        """Return which rows have no files: those that an alignment has added."""
        return np.asarray(pd.isna(self.names))

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> "FileNames":
        """Return rows by number; with `allow_fill`, -1 is a row without files."""
        return FileNames(self.patterns, take(self.names, indices, fill_value=None, allow_fill=allow_fill))

    def copy(self) -> "FileNames":
        """Return a copy that shares the texts."""
        return FileNames(self.patterns, self.names.copy())

    @classmethod
    def _concat_same_type(cls, arrays: "Sequence[FileNames]") -> "FileNames":
        return cls(arrays[0].patterns, np.concatenate([array.names for array in arrays]))

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> "FileNames":
        raise TypeError("file names are read-only: give the frame a new column `files`")


@dataclass(frozen=True)
class FoundImages:
    """The image files of n samples.

    Args:
        files: of each sample, a tuple of paths relative to the data's folder; None where one lacks.
        there: which samples have all files, n booleans.
        lacks: the suffixes that lack, by row, for samples with some files.
        unlisted: what has files but is no sample, sorted.
        passed_over: files that are not read because their sample has another one, sorted.
    """

    files: "FileNames | np.ndarray"
    there: np.ndarray
    lacks: dict[int, tuple[str, ...]]
    unlisted: tuple[str, ...]
    passed_over: tuple[str, ...]

    @property
    def absent(self) -> np.ndarray:
        """Which samples have no file at all, n booleans."""
        absent = ~self.there
        absent[list(self.lacks)] = False
        return absent


def find_images(
    ids: pd.Series,
    root: Path,
    folder: str = "",
    suffixes: Sequence[str] = ("",),
    mend: str | None = None,
    depth: int | None = None,
) -> FoundImages:
    """Find the files of samples below a folder: an id, one of the suffixes and the ending of an image make a name.

    An id may have an ending of its own, which then comes first; one with slashes also names the folders around the
    file. Between `folder` and these there may be others (`train/train/`, a folder per class).

    Args:
        ids: n texts.
        root: the folder of the data.
        folder: where to look, relative to `root` or absolute.
        suffixes: what tells the files of one sample apart, in the order in which they are read (`_red`, `_green`).
        mend: the end of the error if the folder is not there; without it, such a folder holds nothing.
        depth: folders to go down; None for all.

    Returns:
        What was found, row by row; in little memory where all files have the same folder and ending.

    Raises:
        KitError: the folder is not there; it says what is.
    """
    keys = without_ending(ids)
    exact = keys is not ids and ids.is_unique and not keys.is_unique  # a.jpg and a.png are two samples
    keys = ids if exact else keys
    own = {} if keys is ids else {key: id_[len(key) :] for key, id_ in zip(keys, ids, strict=True)}
    search = _Search(dict.fromkeys(keys, 0), own, tuple(suffixes))
    inside = keys.iat[0].count("/") if len(keys) else 0
    last, before, inner = None, "", ""
    try:
        for place, stem, ending in image_files(root, folder, depth):
            if place != last:
                parts = place.split("/")
                last, cut = place, max(0, len(parts) - 1 - inside)
                before, inner = "".join(f"{part}/" for part in parts[:cut]), "/".join(parts[cut:])
            search.add(before, inner + stem + (ending if exact else ""), "" if exact else ending)
    except FileNotFoundError:
        if mend is not None:
            found = files_there(root, ids.iat[0] if len(ids) else "")
            raise KitError(f"the folder {root / folder} is not there ({found}): {mend}") from None
    return search.result(keys)


class _Search:
    """What `find_images` has found so far.

    The numbers of a sample's files, one for each suffix, are one integer: a sample takes no memory besides its id.
    """

    def __init__(self, found: dict[str, int], own: dict[str, str], suffixes: tuple[str, ...]) -> None:
        self.found, self.own, self.suffixes = found, own, suffixes
        self.kinds: list[tuple[str, str]] = []
        self.numbers: dict[tuple[str, str], int] = {}
        self.unlisted: set[str] = set()
        self.passed_over: list[str] = []

    def add(self, before: str, name: str, ending: str) -> None:
        """Take a file into account, if its name ends with a suffix."""
        for place, suffix in enumerate(self.suffixes):
            if name.endswith(suffix):
                key = name[: len(name) - len(suffix)]
                code = self.found.get(key)
                if code is None:
                    self.unlisted.add(key)
                else:
                    self.found[key] = self._with(code, place, key, (before, ending))
                return

    def _with(self, code: int, place: int, key: str, kind: tuple[str, str]) -> int:
        number = self.numbers.get(kind)
        if number is None:
            self.kinds.append(kind)
            number = self.numbers[kind] = len(self.kinds)
        shift = place * KIND_BITS
        there = code >> shift & (1 << KIND_BITS) - 1
        if there:
            first, second = sorted((number, there), key=lambda each: self._rank(self.kinds[each - 1], key))
            before, ending = self.kinds[second - 1]
            self.passed_over.append(f"{before}{key}{self.suffixes[place]}{ending}")
            return code ^ (there ^ first) << shift
        return code | number << shift

    def _rank(self, kind: tuple[str, str], key: str) -> tuple[Any, ...]:
        before, ending = kind
        return ending != self.own.get(key), RANK.get(ending.lower(), 0), before.count("/"), before, ending

    def result(self, keys: pd.Series) -> FoundImages:
        """Return what was found for each key."""
        codes = [self.found[key] for key in keys]
        kinds = {code: self._kinds(code) for code in set(codes)}
        there = np.fromiter((None not in kinds[code] for code in codes), bool, len(codes))
        lacks = {
            row: tuple(suffix for suffix, kind in zip(self.suffixes, kinds[codes[row]], strict=True) if kind is None)
            for row in np.flatnonzero(~there).tolist()
            if codes[row]
        }
        files = self._files(keys, codes, there, kinds)
        return FoundImages(files, there, lacks, tuple(sorted(self.unlisted)), tuple(sorted(self.passed_over)))

    def _kinds(self, code: int) -> tuple[tuple[str, str] | None, ...]:
        numbers = (code >> place * KIND_BITS & (1 << KIND_BITS) - 1 for place in range(len(self.suffixes)))
        return tuple(self.kinds[number - 1] if number else None for number in numbers)

    def _files(
        self, keys: pd.Series, codes: list[int], there: np.ndarray, kinds: dict[int, Any]
    ) -> "FileNames | np.ndarray":
        whole = [code for code in kinds if None not in kinds[code]]
        names = keys.to_numpy(object, copy=True)
        if len(whole) <= 1:
            pairs = zip(self.suffixes, kinds[whole[0]] if whole else [("", "")] * len(self.suffixes), strict=True)
            patterns = [f"{_literal(before)}{{}}{_literal(suffix + ending)}" for suffix, (before, ending) in pairs]
            names[~there] = None
            return FileNames(patterns, names)
        files = np.empty(len(codes), object)
        for row in np.flatnonzero(there).tolist():
            pairs = zip(self.suffixes, kinds[codes[row]], strict=True)
            paths = [f"{before}{names[row]}{suffix}{ending}" for suffix, (before, ending) in pairs]
            files[row] = tuple(paths) if len(paths) > 1 else paths[0]
        return files if len(self.suffixes) > 1 else FileNames(("{}",), files)


def _literal(text: str) -> str:
    """Return a text as it stands in a pattern."""
    return text.replace("{", "{{").replace("}", "}}")
