"""The column `files` of an index whose names follow from one text a row: 8 bytes an image instead of 190."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray, ExtensionDtype, take


class FilesDtype(ExtensionDtype):
    """The type of a column of `FileNames`; columns of unlike patterns are of unlike types."""

    type = tuple
    na_value = None
    _metadata = ("patterns",)

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns

    @property
    def name(self) -> str:
        """What pandas prints."""
        return f"files[{', '.join(self.patterns)}]"

    def construct_array_type(self) -> Any:
        """The array of this type."""
        return FileNames

    @classmethod
    def construct_from_string(cls, string: str) -> "FilesDtype":
        """No text names this type: pandas asks when it compares types."""
        raise TypeError(f"{string!r} names no type of file names")


class FileNames(ExtensionArray):
    """Tuples of file names that are made when they are asked for.

        frame["files"] = FileNames(("train/{}_red.png", "train/{}_green.png"), frame["id"])
        frame["files"].iat[0]    # ("train/a_red.png", "train/a_green.png")

    Args:
        patterns: of each file of a sample its name, with `{}` for the row's text.
        names: the text of each row.
    """

    def __init__(self, patterns: Sequence[str], names: "Iterable[str] | np.ndarray") -> None:
        self.patterns = tuple(patterns)
        self.names = np.asarray(names, dtype=object)

    @property
    def dtype(self) -> FilesDtype:
        """The patterns, for pandas."""
        return FilesDtype(self.patterns)

    @property
    def nbytes(self) -> int:
        """Bytes of the pointers; the texts are shared with the column that they come from."""
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
        """An array of tuples; numpy alone would make a column of each file."""
        return np.fromiter(self, object, len(self))

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, (pd.Series, pd.Index, pd.DataFrame)):
            return NotImplemented
        others = [other] * len(self) if isinstance(other, tuple) else other
        return np.fromiter((own == one for own, one in zip(self, others, strict=True)), bool, len(self))

    def isna(self) -> np.ndarray:
        """Which rows have no files: those that an alignment has added."""
        return np.asarray(pd.isna(self.names))

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> "FileNames":
        """Rows by number; -1 is a row without files where `allow_fill`."""
        return FileNames(self.patterns, take(self.names, indices, fill_value=None, allow_fill=allow_fill))

    def copy(self) -> "FileNames":
        """A copy, which shares the texts."""
        return FileNames(self.patterns, self.names.copy())

    @classmethod
    def _concat_same_type(cls, parts: "Sequence[FileNames]") -> "FileNames":
        return cls(parts[0].patterns, np.concatenate([part.names for part in parts]))

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> "FileNames":
        raise TypeError("names of files can't be changed: give the frame another column `files`")
