"""Which images the values of a column name: with or without ending, folders, zeros, and what else is in the names."""

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from kit.adapt.folder import Folder
from kit.image_files import RANK, bare

TRIED = 300  # values by which it is found how names differ from ids
ENOUGH = 0.5  # the share of a column's values that must name images
MOST_FILES = 12  # of one id
# Where ids have different numbers of files: the share of ids that have the most frequent one, and a rare one.
MOST, SOME = 0.9, 0.02
TRAIN_WORDS, TEST_WORDS = ("train",), ("test", "eval", "hidden")
# Ends of names that tell the channels of one image apart, not views of it.
CHANNELS = (
    "red",
    "green",
    "blue",
    "yellow",
    "nir",
    "w1",
    "w2",
    "w3",
    "w4",
    "w5",
    "w6",
    "c1",
    "c2",
    "c3",
    "c4",
    "c5",
    "ch1",
    "ch2",
    "ch3",
    "ch4",
    "dapi",
    "gfp",
    "rgb1",
)
EASY = {".png": 0, ".jpg": 0, ".jpeg": 0, ".webp": 1, ".bmp": 1, ".gif": 2, ".tif": 3, ".tiff": 3}


@dataclass(frozen=True)
class Match:
    """How a column names images.

    Args:
        column: its name.
        folder: where the images are, without `/` at the end.
        count: the number of different values whose images are there.
        of: the number of different values.
        suffixes: what stands in names behind the value, of each file of an id.
        views: whether several files of an id are views, each a sample, and not channels.
        prefix: what stands before the value in each name.
        width: to which the numbers are filled with zeros in the names; 0 for none.
        by_folder: whether the values name folders, in which the images of one id lie.
    """

    column: str
    folder: str
    count: int
    of: int
    suffixes: tuple[str, ...] = ("",)
    views: bool = False
    prefix: str = ""
    width: int = 0
    by_folder: bool = False

    @property
    def is_good(self) -> bool:
        """Whether enough of the values name images."""
        return self.count >= max(1, ENOUGH * self.of)


class Images:
    """All images of a folder by name."""

    def __init__(self, folder: Folder) -> None:
        self.places: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.folders: dict[str, list[str]] = defaultdict(list)
        for place, names in folder.images.items():
            self.folders[place.rstrip("/").rpartition("/")[2]].append(place)
            for name in names:
                stem, dot, ending = name.rpartition(".")
                self.places[stem].append((place, dot + ending))
        self.by_place = folder.images
        self.sorted = sorted(self.places)
        self.turned = sorted(stem[::-1] for stem in self.places)

    def match(self, column: str, values: Iterable[str], wanted: tuple[str, ...], other: tuple[str, ...]) -> Match:
        """Find how the values of a column name images.

        Args:
            column: the name of the column.
            values: of it.
            wanted, other: words in the names of folders that are meant, and of those that are not, where images of one
                name lie in several.
        """
        keys = list(dict.fromkeys(bare(value.rpartition("/")[2]) for value in values if value))
        if not keys:
            return Match(column, "", 0, 0)
        # A column of something else is told by a part of it.
        some = keys[:: max(1, len(keys) // TRIED)]
        hopeful = any(key in self.places for key in some)
        found = [key for key in keys if key in self.places] if hopeful else []
        if len(found) >= ENOUGH * len(keys):
            return Match(column, self._folder(found, wanted, other), len(found), len(keys))
        for tried in (self._padded, self._more, self._padded_more, self._of_folders):
            match = tried(column, keys, wanted, other)
            if match is not None and match.is_good:
                return match
        return Match(column, self._folder(found, wanted, other), len(found), len(keys))

    def _padded(self, column: str, keys: list[str], wanted: tuple[str, ...], other: tuple[str, ...]) -> Match | None:
        """Numbers that lost their zeros."""
        if not all(key.isdigit() for key in keys):
            return None
        widths = Counter(len(stem) for stem in self.places if stem.isdigit() and stem.startswith("0"))
        for width, _ in widths.most_common(3):
            found = [key.zfill(width) for key in keys if key.zfill(width) in self.places]
            if len(found) >= ENOUGH * len(keys):
                return Match(column, self._folder(found, wanted, other), len(found), len(keys), width=width)
        return None

    def _padded_more(
        self, column: str, keys: list[str], wanted: tuple[str, ...], other: tuple[str, ...]
    ) -> Match | None:
        """Numbers that lost their zeros, in names with more behind them."""
        if not all(key.isdigit() for key in keys):
            return None
        widths = Counter(len(found[0]) for stem in self.sorted if (found := re.match(r"0\d*", stem)))
        for width, _ in widths.most_common(1):
            match = self._more(column, [key.zfill(width) for key in keys], wanted, other)
            return None if match is None or match.prefix else replace(match, width=width)
        return None

    def _more(self, column: str, keys: list[str], wanted: tuple[str, ...], other: tuple[str, ...]) -> Match | None:
        """Names with more before or behind the value."""
        step = max(1, len(keys) // TRIED)
        ends: Counter[tuple[str, ...]] = Counter()
        single: Counter[str] = Counter()
        starts: Counter[str] = Counter()
        for key in keys[::step]:
            rests = _rests(self.sorted, key)
            if rests:
                ends[tuple(rests)] += 1
                single.update(rests)
            before = [rest[::-1] for rest in _rests(self.turned, key[::-1])]
            if len(before) == 1:
                starts[before[0]] += 1
        tried = len(keys[::step])
        if ends:
            suffixes, count = ends.most_common(1)[0]
            if count < ENOUGH * tried and single.most_common(1)[0][1] >= MOST * tried:  # ids have different numbers
                suffixes = tuple(each for each, count in single.most_common(MOST_FILES) if count >= SOME * tried)
                count = single[suffixes[0]]
            if count >= ENOUGH * tried:
                found = [key for key in keys if key + suffixes[0] in self.places]
                folder = self._folder([key + suffixes[0] for key in found], wanted, other)
                channels = all(suffix.lower().strip("_-. ") in CHANNELS for suffix in suffixes)
                views = len(suffixes) > 1 and not channels
                return Match(column, folder, len(found), len(keys), _in_order(suffixes), views)
        if starts:
            prefix, count = starts.most_common(1)[0]
            if count >= ENOUGH * tried:
                found = [prefix + key for key in keys if prefix + key in self.places]
                return Match(column, self._folder(found, wanted, other), len(found), len(keys), prefix=prefix)
        return None

    def _of_folders(
        self, column: str, keys: list[str], wanted: tuple[str, ...], other: tuple[str, ...]
    ) -> Match | None:
        """Values that name folders of several images."""
        found = [key for key in keys if key in self.folders]
        if len(found) < max(2, ENOUGH * len(keys)):
            return None
        around = Counter(place.rstrip("/").rpartition("/")[0] for key in found for place in self.folders[key])
        if len(around) > max(4, len(found) // 4):
            return None
        best = min(around, key=lambda folder: (_speaks(folder, other), -_speaks(folder, wanted), -around[folder]))
        inside = Counter(
            tuple(sorted({f"/{name.rpartition('.')[0]}" for name in self.by_place[f"{_slash(best)}{key}/"]}))
            for key in found
            if f"{_slash(best)}{key}/" in self.by_place
        )
        suffixes, count = inside.most_common(1)[0]
        if count >= ENOUGH * len(found) and len(suffixes) <= MOST_FILES:
            return Match(column, best, count, len(keys), suffixes, views=True, by_folder=True)
        return Match(column, best, around[best], len(keys), by_folder=True)

    def _folder(self, stems: list[str], wanted: tuple[str, ...], other: tuple[str, ...]) -> str:
        """Return the deepest folder that holds (nearly) all of these images."""
        counts: Counter[str] = Counter()
        endings: dict[str, Counter[str]] = defaultdict(Counter)
        for stem in stems:
            for folder in {above for place, _ in self.places[stem] for above in _above(place)}:
                counts[folder] += 1
            for place, ending in self.places[stem]:
                endings[place.rstrip("/")][ending.lower()] += 1
        if not counts:
            return ""
        most = max(counts.values())
        good = [folder for folder, count in counts.items() if count >= 0.98 * most]
        deepest = [
            folder for folder in good if not any(each.startswith(_slash(folder)) and each != folder for each in good)
        ]
        # A tif of many channels or bits beside a plain picture of the same name is the harder one to read.
        return min(
            deepest,
            key=lambda folder: (
                _speaks(folder, other),
                -_speaks(folder, wanted),
                min((EASY.get(ending, 9) for ending in endings.get(folder, ())), default=9),
                "mask" in folder.lower() or "annot" in folder.lower(),
                len(folder),
                folder,
            ),
        )

    def count_below(self, folder: str) -> int:
        """Return the number of images below a folder."""
        return sum(len(names) for place, names in self.by_place.items() if place.startswith(_slash(folder)))

    def stems_below(self, folder: str) -> set[str]:
        """Return the names of the images below a folder, without endings."""
        names = (each for place, each in self.by_place.items() if place.startswith(_slash(folder)))
        return {name.rpartition(".")[0] for several in names for name in several}

    def ending_in(self, folder: str) -> str:
        """Return the most frequent ending of the images below a folder; `.png` without any."""
        found = Counter(
            name[name.rindex(".") :]
            for place, names in self.by_place.items()
            if place.startswith(_slash(folder))
            for name in names
        )
        return min(found, key=lambda ending: (-found[ending], RANK.get(ending.lower(), 9))) if found else ".png"


def ids_as(match: Match, values: pd.Series) -> pd.Series:
    """Return the names of images, without folders and endings, that values stand for."""
    keys = values.map(lambda value: bare(value.rpartition("/")[2]))
    keys = keys.str.zfill(match.width) if match.width else keys
    return match.prefix + keys if match.prefix else keys


def _rests(stems: list[str], key: str) -> list[str]:
    """Return what follows a key in the names that begin with it and then have no digit or letter."""
    rests: list[str] = []
    at = bisect.bisect_left(stems, key)
    while at < len(stems) and stems[at].startswith(key) and len(rests) <= MOST_FILES:
        rest = stems[at][len(key) :]
        if rest and (not rest[0].isalnum() or not key[-1:].isalnum()):
            rests.append(rest)
        at += 1
    return rests if len(rests) <= MOST_FILES else []


def _in_order(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    """Return suffixes with colours in the order red, green, blue, others by name."""
    order = {name: at for at, name in enumerate(("red", "green", "blue", "yellow"))}
    return tuple(sorted(suffixes, key=lambda each: (order.get(each.lower().strip("_-. "), 9), each)))


def _above(place: str) -> list[str]:
    parts = place.rstrip("/").split("/") if place else []
    return ["/".join(parts[:count]) for count in range(len(parts) + 1)]


def _slash(folder: str) -> str:
    return f"{folder}/" if folder else ""


def _speaks(folder: str, words: tuple[str, ...]) -> bool:
    return any(word in folder.lower() for word in words)
