"""The range of levels of a data set's images: what becomes black and white where they hold more than eight bits.

One decision for all images of a data set, so that brightness can be compared between them. Whoever reads an index says
how the range of its folder is found (`provide`), which happens when the first such image is read inside `reading`.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path

Range = tuple[float, float]
_ways: dict[Path, Callable[[], Mapping[str, Range]]] = {}
_found: dict[Path, Mapping[str, Range]] = {}
_root: ContextVar[Path | None] = ContextVar("root", default=None)


def provide(root: Path, find: Callable[[], Mapping[str, Range]]) -> None:
    """Say how the ranges of a data folder are found: by numpy's name of a type, its darkest and its brightest level."""
    _ways[root] = find
    _found.pop(root, None)


class reading:
    """Read images by the range of this data folder, wherever they lie; None: by that of their type."""

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def __enter__(self) -> None:
        self._before = _root.set(self.root)

    def __exit__(self, *_: object) -> None:
        _root.reset(self._before)


def range_of(dtype: str) -> Range | None:
    """Return the range of the data folder that is being read for images of this type; None where none is known."""
    root = _root.get()
    if root is not None and root in _ways:
        with reading(None):  # by their own range its images can't be read yet
            _found[root] = _ways.pop(root)()
    return _found.get(root, {}).get(dtype) if root is not None else None


def known_ranges(root: Path) -> Mapping[str, Range]:
    """Return the ranges of a data folder as far as they are known by now."""
    return _found.get(root, {})


def range_from(dtype: str, low: float, high: float) -> Range:
    """Return what becomes black and white where these are the darkest and the brightest level of a data set.

    Whole numbers: 0, and the largest number of as many bits, eight or more (4,095 for twelve). Fractions: 0 and 1 where
    none lies outside. Everything else: the levels themselves.
    """
    if low >= 0 and not dtype.startswith("float"):
        return 0.0, float((1 << max(8, int(high).bit_length())) - 1)
    if low >= 0:
        return 0.0, max(1.0, high)
    return low, high if high > low else low + 1
