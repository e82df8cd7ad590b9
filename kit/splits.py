"""Data in the numbered folders of `kit split-files`, or named by its lists, seen as the tree that it came from.

A view is a folder of links in which each file of the splits has its path back: `train/00/a.tif` is `train/a.tif` again.
Nothing is moved or copied. Where the tree stood is told by the manifest, where there is one; without one, and for
lists, there are several possibilities, each a view of its own, of which a dataset reads what it can.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from kit.files import need_writable
from kit.paths import OWN, is_litter

SPLIT = re.compile(r"\d{2,9}")
MANIFESTS = ("manifest.jsonl", "unfinished.jsonl")
LISTS = "lists"
# What kit split-files writes beside the splits.
BESIDE = re.compile(r"manifest\.jsonl|unfinished\.jsonl|lists|SHA256SUMS|\d{2,9}\.zip")
LARGEST_LIST = 1 << 28  # bytes; 750,000 paths take some 60 MB
Links = Iterable[tuple[str, str]]  # the path of each link below the view, and what it leads to


def views(root: Path, where: Callable[[], Path]) -> Iterator[Path]:
    """Yield views of the tree that was divided in a data folder, the likeliest first; none where nothing is divided.

    Args:
        root: the data folder.
        where: () -> the folder in which views are made, each once; its name must tell the data from other data.

    Raises:
        KitError: nothing can be written there.
    """
    seen: set[tuple[tuple[str, str], ...]] = set()
    for links in (*_of_splits(root), *_of_lists(root)):
        found = tuple(sorted(links))
        if not found or found in seen:
            continue
        seen.add(found)
        folder = where()
        view = folder / str(len(seen))
        if not view.is_dir():
            need_writable(folder, "set KIT_CACHE to a folder that is")
            unfinished = folder / f".{view.name}.{os.getpid()}.tmp"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            for name, target in (*_rest(root), *found):
                path = f"{unfinished}/{name}" if name else str(unfinished)
                _make_own(os.path.dirname(path), str(unfinished))
                _link(path, os.path.abspath(target))
            try:
                unfinished.rename(view)
            except OSError:  # another process was faster
                shutil.rmtree(unfinished)
        yield view


def divided_in(root: Path) -> Path | None:
    """Return a folder of splits in a data folder, or that folder itself; None if there is none."""
    return next(iter(_divided(root)), None)


def _divided(root: Path) -> list[Path]:
    """Return the folders that hold splits: `00`, `01`, ..."""
    if not root.is_dir():
        return []
    folders = [root, *(each for each in _entries(root) if each.is_dir() and not SPLIT.fullmatch(each.name))]
    return [each for each in folders if any((each / ("0" * width)).is_dir() for width in range(2, 7))]


def _entries(folder: Path) -> list[Path]:
    # A folder of 220,025 images is not read for the sake of its first names.
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.name != OWN and not is_litter(entry.name))


def _rest(root: Path) -> Links:
    """Return what lies beside splits and lists, as it lies."""
    divided = _divided(root)
    for entry in _entries(root):
        inside = root in divided and SPLIT.fullmatch(entry.name)
        if entry not in divided and not inside and not BESIDE.fullmatch(entry.name):
            yield entry.name, str(entry)


def _of_splits(root: Path) -> Iterator[Links]:
    """Return the places to which the splits of a data folder may belong, likeliest first."""
    divided = _divided(root)
    for place in (_source, _itself, _above, _by_name) if divided else ():
        yield [
            (_joined(place(root, folder), "" if SPLIT.fullmatch(entry.name) else entry.name), str(entry))
            for folder in divided
            for entry in _entries(folder)
            if SPLIT.fullmatch(entry.name) or not (folder == root or BESIDE.fullmatch(entry.name))
        ]


def _joined(*names: str) -> str:
    return "/".join(name for name in names if name and name != ".")


def _source(root: Path, folder: Path) -> str:
    """The folder that was split, by the manifest."""
    for name in MANIFESTS:
        try:
            with (folder / name).open(encoding="utf-8") as file:
                source = json.loads(file.readline(1 << 20))["arguments"]["source"]
                return _joined(_above(root, folder), re.sub(r".*[/\\]|\.+$", "", str(source)))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return _itself(root, folder)


def _itself(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix()


def _above(root: Path, folder: Path) -> str:
    return "" if folder == root else folder.parent.relative_to(root).as_posix()


def _by_name(root: Path, folder: Path) -> str:
    return _joined(_above(root, folder), _split_of(folder.name))


def _split_of(name: str) -> str:
    return "test" if "test" in re.split(r"[^a-z]+", name.lower()) else "train"


def _of_lists(root: Path) -> Iterator[Links]:
    """Return the places to which listed files may belong, likeliest first."""
    found = [(path.stem, listed) for path in _list_files(root) if (listed := _listed(path, root))]
    if not found:
        return
    common = os.path.commonpath([os.path.dirname(each) for _, listed in found for each in listed])
    places = [(stem, _below(each, common), each) for stem, listed in found for each in listed]
    yield [(below, each) for _, below, each in places]
    yield [(_joined(_split_of(stem), below), each) for stem, below, each in places]
    yield [(_joined(os.path.basename(common), below), each) for _, below, each in places]


def _list_files(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    folders = [root, root / LISTS, *(folder / LISTS for folder in _entries(root))]
    paths = [path for folder in folders if folder.is_dir() for path in _entries(folder) if path.suffix == ".txt"]
    # The list of all names what the others name.
    return [path for path in paths if path.stem == "all"] or paths


def _listed(path: Path, root: Path) -> list[str]:
    """Return the files that a list names, one a line; none if its first line names no file on this machine."""
    found: list[str] = []
    try:
        if path.stat().st_size > LARGEST_LIST:
            return []
        with path.open(encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                name = line.strip()
                tried = (name, f"{path.parent}/{name}", f"{root}/{name}") if name else ()
                found += islice((each for each in tried if os.path.isfile(each)), 1)
                if tried and not found:
                    return []
    except (OSError, ValueError):
        return []
    return [os.path.abspath(each) for each in found]


def _below(path: str, common: str) -> str:
    """Return the path of a listed file below its split, or below the folder of all."""
    parts = path.split("/")
    last = max((at for at, part in enumerate(parts[:-1]) if SPLIT.fullmatch(part)), default=None)
    return os.path.relpath(path, common) if last is None else "/".join(parts[last + 1 :])


def _make_own(folder: str, view: str) -> None:
    """Make a folder of a view where none is; one that is a link is linked entry by entry, so that it can be filled."""
    if not folder.startswith(f"{view}/"):
        return
    _make_own(os.path.dirname(folder), view)
    if os.path.islink(folder):
        target = os.readlink(folder)
        os.unlink(folder)
        os.mkdir(folder)
        _link(folder, target)
    elif not os.path.isdir(folder):
        os.mkdir(folder)


def _link(path: str, target: str) -> None:
    """Link a file or folder; what lies in several folders of one path is linked entry by entry."""
    if not os.path.lexists(path):
        os.symlink(target, path)
    elif os.path.isdir(target) and os.path.isdir(path):
        if os.path.islink(path):
            before = os.readlink(path)
            os.unlink(path)
            os.mkdir(path)
            _link(path, before)
        for entry in _entries(Path(target)):
            _link(f"{path}/{entry.name}", str(entry))
