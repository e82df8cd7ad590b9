"""The column `files` of an index whose names follow from one text per row: 8 bytes per image instead of 190."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray, ExtensionDtype, take


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
