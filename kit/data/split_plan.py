"""How a tree of files is divided into equal parts, and the manifest in which the split remembers it.

A split's folder holds:

    00/ 01/ ...          the parts; a file keeps its path, so `train/a.tif` becomes `00/train/a.tif`
    unfinished.jsonl     what goes where, from before the first file is placed; renamed when all is there to
    manifest.jsonl       first a line with the count and the arguments, then a line a part
    lists/00.txt ...     the paths of a part, and `lists/all.txt`, with `--lists`
    00.zip ...           a part as one archive, and `SHA256SUMS` for `sha256sum -c`, with `--zip`
"""

import contextlib
import fcntl
import json
import math
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from kit.errors import KitError
from kit.files import write_bytes

UNFINISHED, MANIFEST, SUMS, LISTS = "unfinished.jsonl", "manifest.jsonl", "SHA256SUMS", "lists"
# What an atomic write leaves behind when it is killed.
LEFTOVER = re.compile(r"\.(unfinished\.jsonl|SHA256SUMS|\d+\.zip|\d+\.txt|all\.txt)\.\d+\.tmp")
# In a name: a line break, or bytes that are no UTF-8.
ODD = re.compile("[\n\ud800-\udfff]")
Mode = Literal["copy", "link", "move"]


@dataclass(frozen=True)
class Arguments:
    """What a split was asked for; the same ones go on with it, any others are refused.

    Args:
        source: the absolute path of the tree.
        mode: how the files come into the parts; `link` makes hard links.
        per_dir: files a part, roughly; None when `parts` is given.
        parts: the number of parts; None when `per_dir` is given.
        suffix: of the files that are taken, with its dot; None takes all.
        zip: make an archive of each part, too.
        lists: write path lists, too.
        prefix_map: `OLD=NEW`: how the paths in the lists begin on another machine.
    """

    source: str
    mode: Mode
    per_dir: int | None = None
    parts: int | None = None
    suffix: str | None = None
    zip: bool = False
    lists: bool = False
    prefix_map: str | None = None

    def command(self, target: Path) -> str:
        """The command line that gives these arguments."""
        words = ["kit", "split-files", self.source, str(target), f"--{self.mode}"]
        for flag, value in (("per-dir", self.per_dir), ("parts", self.parts), ("suffix", self.suffix)):
            words += [] if value is None else [f"--{flag}", str(value)]
        words += ["--zip"] * self.zip + ["--lists"] * self.lists
        words += [] if self.prefix_map is None else ["--prefix-map", self.prefix_map]
        return shlex.join(words)


@dataclass(frozen=True)
class Part:
    """One directory of a split.

    Args:
        name: a zero-padded number.
        files: paths relative to the tree, with `/`.
        sizes: their sizes in bytes; empty in a split of hard links, which have no bytes of their own.
    """

    name: str
    files: list[str]
    sizes: list[int]


@dataclass(frozen=True)
class Plan:
    """Which file goes into which part.

    Args:
        arguments: what was asked for.
        parts: in the order of their names; all files in them together are sorted.
        empty_folders: folders of the tree that hold nothing, so that a merge can make them again.
    """

    arguments: Arguments
    parts: list[Part]
    empty_folders: list[str]

    @property
    def count(self) -> int:
        """The number of files."""
        return sum(len(part.files) for part in self.parts)

    def write(self, path: Path) -> None:
        """Write the manifest, atomically."""
        head = {"format": 1, "count": self.count, "parts": len(self.parts), "arguments": asdict(self.arguments)}
        lines = [{**head, "empty_folders": self.empty_folders}]
        lines += [{"part": part.name, "count": len(part.files), **_contents(part)} for part in self.parts]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _contents(part: Part) -> dict[str, object]:
    return {"files": part.files, **({"sizes": part.sizes} if part.sizes else {})}


def make_plan(arguments: Arguments) -> Plan:
    """Look through the tree once and divide its files, sorted by path, into equal parts.

    Raises:
        KitError: no file is there, there are more parts than files, or a file can't be split.
    """
    source = Path(arguments.source)
    found, empty_folders = scan(source, arguments.suffix, sizes=arguments.mode != "link")
    if not found:
        raise _nothing_found(source, arguments.suffix)
    names = sorted(found)
    if ODD.search("".join(names)):
        odd = next(name for name in names if ODD.search(name))
        raise KitError(f"{source}: the name {odd!r} can't stand in a list or an archive: rename that file")
    parts, at = [], 0
    counts = part_sizes(len(names), arguments.per_dir, arguments.parts)
    width = max(2, len(str(len(counts) - 1)))
    for number, count in enumerate(counts):
        files = names[at : at + count]
        sizes = [] if arguments.mode == "link" else [found[name] for name in files]
        parts.append(Part(f"{number:0{width}d}", files, sizes))
        at += count
    return Plan(arguments, parts, sorted(empty_folders))


def part_sizes(count: int, per_dir: int | None, parts: int | None) -> list[int]:
    """How many files stand in each part; they differ by one at most; with neither argument there is one part.

    With `per_dir`, the divisor of `count` nearest to it is taken, so that all parts are equally full, as long as it is
    between half and twice of what was asked for and doesn't leave everything in one part; otherwise no part holds more
    than `per_dir`.

    Raises:
        KitError: fewer files than parts.
    """
    if per_dir is not None:
        pairs = ((low, count // low) for low in range(1, math.isqrt(count) + 1) if count % low == 0)
        equal = [n for pair in pairs for n in pair if per_dir <= 2 * n <= 4 * per_dir and (n < count or n <= per_dir)]
        nearest = min(equal, key=lambda n: (abs(n - per_dir), n), default=per_dir)
        parts = -(-count // nearest)
    parts = parts or 1
    if parts > count:
        raise KitError(f"{count:,} files don't fill {parts:,} parts: give --parts {count} at most")
    whole, more = divmod(count, parts)
    return [whole + (number < more) for number in range(parts)]


def scan(root: Path, suffix: str | None, sizes: bool) -> tuple[dict[str, int], list[str]]:
    """Walk a tree once.

    Args:
        root: the tree; one that is not there is empty.
        suffix: of the files to find; None finds all.
        sizes: ask for the sizes, which takes as long again; otherwise they are 0.

    Returns:
        Path below the root and size in bytes of each file, and the folders that hold nothing.

    Raises:
        KitError: a link or a device stands in the place of a file or a folder.
    """
    files: dict[str, int] = {}
    empty, folders = [], [""] if root.exists() else []
    while folders:
        folder = folders.pop()
        alone = True
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                alone = False
                wanted = suffix is None or entry.name.endswith(suffix)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{entry.name}/")
                elif wanted and entry.is_file(follow_symlinks=False):
                    files[folder + entry.name] = entry.stat(follow_symlinks=False).st_size if sizes else 0
                elif wanted or entry.is_dir():
                    raise KitError(f"{entry.path} is a link or a device: put real files in its place (cp -rL)")
        if alone and folder:
            empty.append(folder[:-1])
    return files, empty


def _nothing_found(source: Path, suffix: str | None) -> KitError:
    others = Counter(PurePosixPath(name).suffix for name in scan(source, None, sizes=False)[0])
    if not others:
        return KitError(f"{source} holds no files: give the folder that holds the images")
    known = ", ".join(f"{other or 'no suffix'} ({count:,})" for other, count in others.most_common(5))
    return KitError(f"{source} holds no file with the suffix {suffix}: give --suffix one of {known}")


def find_plan(target: Path) -> tuple[Plan, bool] | None:
    """The split that a folder holds, and whether it is finished; None when it holds none.

    Raises:
        KitError: the manifest is damaged.
    """
    path = next((target / name for name in (MANIFEST, UNFINISHED) if (target / name).is_file()), None)
    if path is None:
        return None
    try:
        head, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        parts = [Part(line["part"], line["files"], line.get("sizes", [])) for line in lines]
        plan = Plan(Arguments(**head["arguments"]), parts, head["empty_folders"])
        whole = plan.count == head["count"] and len(parts) == head["parts"] and head["format"] == 1
        fits = all(re.fullmatch(r"\d+", part.name) and len(part.sizes) in (0, len(part.files)) for part in parts)
        # A manifest may come from another machine: nothing in it may lead out of the folder.
        names = (name for folder in [plan.empty_folders, *(part.files for part in parts)] for name in folder)
        if not whole or not fits or any(name.startswith("/") or ".." in name.split("/") for name in names):
            raise ValueError("it contradicts itself")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise KitError(f"{path} is damaged ({error}): restore it from where {target} was copied from") from None
    return plan, path.name == MANIFEST


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process at a time change a split, and clear away what a killed one was just writing."""
    handle = os.open(target, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a network disk may know no locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KitError(f"another kit works in {target}: wait for it or stop it") from None
        for folder in (target, target / LISTS):
            for path in folder.iterdir() if folder.is_dir() else ():
                if LEFTOVER.fullmatch(path.name):
                    path.unlink()
        yield
    finally:
        os.close(handle)


def folders_of(names: list[str]) -> list[str]:
    """The folders in which these files stand, each once, shortest first; `""` is the root."""
    return sorted({name.rpartition("/")[0] for name in names}, key=len)
