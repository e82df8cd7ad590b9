"""Plan which file goes into which split, and read and write that plan as a manifest.

A split is one numbered directory. The folder given as DST holds:

    00/ 01/ ...          the splits; a file keeps its path, so `train/a.tif` becomes `00/train/a.tif`
    unfinished.jsonl     the plan, written before the first file is placed; renamed once every file is there to
    manifest.jsonl       a line with the count and the arguments, then one line per split
    lists/00.txt ...     with `--lists`: the paths in each split, and `lists/all.txt`
    00.zip ...           with `--zip`: one archive per split, and `SHA256SUMS` for `sha256sum -c`
"""

import contextlib
import fcntl
import json
import math
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NoReturn

from kit.errors import KitError
from kit.plugin.files import is_litter, open_plain, write_bytes

UNFINISHED, MANIFEST, SUMS, LISTS = "unfinished.jsonl", "manifest.jsonl", "SHA256SUMS", "lists"
# What a killed atomic write leaves behind.
LEFTOVER = re.compile(r"\.(unfinished\.jsonl|SHA256SUMS|\d+\.zip|\d+\.txt|all\.txt)\.\d+\.tmp")
# Line breaks and bytes that are not UTF-8: lists and archives can't hold such names.
ODD = re.compile("[\n\ud800-\udfff]")
Mode = Literal["copy", "link", "move"]
LARGEST = 1 << 29  # bytes of a manifest; 750,000 files take some 50 MB


@dataclass(frozen=True)
class Arguments:
    """What the user asked for; equal arguments resume an earlier call, different ones are refused.

    The field names are the keys of the manifest.

    Args:
        source: absolute path of the tree.
        mode: how files are placed; `link` makes hard links.
        per_dir: approximate number of files per split; None when `parts` is given.
        parts: number of splits (`--splits`; format 1 calls a split a part); None when `per_dir` is given.
        suffix: take only files with this suffix, including its dot; None takes all.
        zip: also write one archive per split.
        lists: also write lists of paths.
        prefix_map: `OLD=NEW`: in the lists, begin paths with NEW instead of OLD; for another machine.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    source: str
    mode: Mode
    per_dir: int | None = None
    parts: int | None = None
    suffix: str | None = None
    zip: bool = False
    lists: bool = False
    prefix_map: str | None = None

    def command(self, target: Path) -> str:
        """Return the command line that gives these arguments."""
        words = ["kit", "split-files", self.source, str(target), f"--{self.mode}"]
        for flag, value in (("per-dir", self.per_dir), ("splits", self.parts), ("suffix", self.suffix)):
            words += [] if value is None else [f"--{flag}", str(value)]
        words += ["--zip"] * self.zip + ["--lists"] * self.lists
        words += [] if self.prefix_map is None else ["--prefix-map", self.prefix_map]
        return shlex.join(words)

    def merge_command(self, target: Path) -> str:
        """Return the command line that restores the tree where it came from."""
        return shlex.join(["kit", "merge-files", str(target), self.source])


@dataclass(frozen=True)
class Split:
    """One numbered directory.

    Args:
        name: a zero-padded number.
        files: paths relative to the tree, with `/`.
        sizes: file sizes in bytes; empty for hard links, which have no bytes of their own.
    """

    name: str
    files: list[str]
    sizes: list[int]


@dataclass(frozen=True)
class Plan:
    """Which file goes into which split.

    Args:
        arguments: what the user asked for.
        splits: ordered by name; their files, taken together, are sorted.
        empty_folders: folders of the tree without any file, for a merge to recreate.
    """

    arguments: Arguments
    splits: list[Split]
    empty_folders: list[str]

    @property
    def count(self) -> int:
        """The number of files."""
        return sum(len(split.files) for split in self.splits)

    def write(self, path: Path) -> None:
        """Write the manifest atomically."""
        # Format 1 calls a split a part: manifests on disk keep those keys, so that they can still be merged.
        head = {"format": 1, "count": self.count, "parts": len(self.splits), "arguments": asdict(self.arguments)}
        lines = [{**head, "empty_folders": self.empty_folders}]
        lines += [{"part": split.name, "count": len(split.files), **_contents(split)} for split in self.splits]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _contents(split: Split) -> dict[str, object]:
    return {"files": split.files, **({"sizes": split.sizes} if split.sizes else {})}


def make_plan(arguments: Arguments) -> Plan:
    """Walk the tree once and divide its files, sorted by path, into equally full splits.

    Raises:
        KitError: there are no files, fewer files than splits, or a file that can't be split.
    """
    source = Path(arguments.source)
    found, empty_folders = scan(source, arguments.suffix, sizes=arguments.mode != "link")
    if not found:
        raise _nothing_found(source, arguments.suffix)
    names = sorted(found)
    if ODD.search("".join(names)):
        odd = next(name for name in names if ODD.search(name))
        raise KitError(f"{source}: the name {odd!r} can't be written to a list or an archive: rename that file")
    splits, at = [], 0
    counts = split_sizes(len(names), arguments.per_dir, arguments.parts)
    width = max(2, len(str(len(counts) - 1)))
    for number, count in enumerate(counts):
        files = names[at : at + count]
        sizes = [] if arguments.mode == "link" else [found[name] for name in files]
        splits.append(Split(f"{number:0{width}d}", files, sizes))
        at += count
    return Plan(arguments, splits, sorted(empty_folders))


def split_sizes(count: int, per_dir: int | None, number: int | None) -> list[int]:
    """Return the number of files in each split; they differ by at most one.

    With `per_dir`, all splits hold the same number of files where possible: the divisor of `count` nearest to
    `per_dir`, if it lies between half and twice `per_dir` and doesn't put everything into one split. Otherwise no
    split holds more than `per_dir`.

    Args:
        count: number of files.
        per_dir: approximate number of files per split; it wins over `number`.
        number: number of splits; one if neither is given.

    Raises:
        KitError: there are fewer files than splits.
    """
    if per_dir is not None:
        pairs = ((low, count // low) for low in range(1, math.isqrt(count) + 1) if count % low == 0)
        equal = [n for pair in pairs for n in pair if per_dir <= 2 * n <= 4 * per_dir and (n < count or n <= per_dir)]
        nearest = min(equal, key=lambda n: (abs(n - per_dir), n), default=per_dir)
        number = -(-count // nearest)
    number = number or 1
    if number > count:
        raise KitError(f"{count:,} files can't fill {number:,} splits: give --splits {count} or fewer")
    whole, more = divmod(count, number)
    return [whole + (at < more) for at in range(number)]


def scan(root: Path, suffix: str | None, sizes: bool) -> tuple[dict[str, int], list[str]]:
    """Walk a tree once.

    Args:
        root: the tree; a missing one counts as empty.
        suffix: find only files with this suffix; None finds all.
        sizes: ask for file sizes, which doubles the time; otherwise sizes are 0.

    Returns:
        The size in bytes of each file by its path below the root, and the folders that hold nothing.

    Raises:
        KitError: a link or a device is in the place of a file or a folder.
    """
    files: dict[str, int] = {}
    empty, folders = [], [""] if root.exists() else []
    while folders:
        folder = folders.pop()
        alone = True
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                alone = False
                if is_litter(entry.name):
                    continue
                wanted = suffix is None or entry.name.endswith(suffix)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{entry.name}/")
                elif wanted and entry.is_file(follow_symlinks=False):
                    files[folder + entry.name] = entry.stat(follow_symlinks=False).st_size if sizes else 0
                elif wanted or entry.is_dir():
                    raise KitError(f"{entry.path} is a link or a device: replace it with real files (cp -rL)")
        if alone and folder:
            empty.append(folder[:-1])
    return files, empty


def _nothing_found(source: Path, suffix: str | None) -> KitError:
    others = Counter(PurePosixPath(name).suffix for name in scan(source, None, sizes=False)[0])
    if not others:
        return KitError(f"{source} holds no files: give the folder that holds the images")
    known = ", ".join(f"{other or 'no suffix'} ({count:,})" for other, count in others.most_common(5))
    return KitError(f"{source} holds no files with the suffix {suffix}: give --suffix one of {known}")


def find_plan(target: Path) -> tuple[Plan, bool] | None:
    """Return the plan stored in a folder and whether it is finished; None without a plan.

    A manifest may come from another machine or a stranger: nothing in it may lead out of the folder.

    Raises:
        KitError: the manifest is damaged, or none of kit's.
    """
    path = next((target / name for name in (MANIFEST, UNFINISHED) if os.path.lexists(target / name)), None)
    if path is None:
        return None

    def refuse(why: object) -> NoReturn:
        raise KitError(f"{path} is damaged ({why}): restore it from where {target} was copied from") from None

    try:
        with open_plain(path, "r") as file:
            if os.fstat(file.fileno()).st_size > LARGEST:
                refuse("it is too large")
            head, *lines = map(json.loads, file.buffer.read().decode().splitlines())  # type: ignore[attr-defined]
        return _checked(head, lines, refuse), path.name == MANIFEST
    except RecursionError:
        refuse("it is nested too deeply")
    except (ValueError, OSError) as error:
        refuse(error)


def _checked(head: Any, lines: list[Any], refuse: Callable[[object], NoReturn]) -> Plan:
    """Return the plan that the lines of a manifest hold."""
    from pydantic import TypeAdapter, ValidationError

    try:
        top = TypeAdapter(_Head).validate_python(head)
        parts = TypeAdapter(list[_Line]).validate_python(lines)
    except ValidationError as error:
        first = error.errors()[0]
        refuse(f"{'.'.join(map(str, first['loc'])) or 'its first line'}: {first['msg'].lower()}")
    splits = [Split(part.part, part.files, part.sizes) for part in parts]
    plan = Plan(top.arguments, splits, top.empty_folders)
    names = [name for split in splits for name in split.files]
    whole = plan.count == top.count and len(splits) == top.parts
    whole = whole and all(len(part.files) == part.count for part in parts)
    fits = all(re.fullmatch(r"\d{1,9}", split.name) and len(split.sizes) in (0, len(split.files)) for split in splits)
    once = len(set(names)) == len(names) and len({split.name for split in splits}) == len(splits)
    if not whole or not fits or not once or not os.path.isabs(plan.arguments.source):
        refuse("it contradicts itself")
    strange = next((name for name in [*names, *plan.empty_folders] if not _is_plain(name)), None)
    if strange is not None:
        refuse(f"{strange[:100]!r} is not the path of a file below a folder")
    return plan


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    odd = ODD.search(name) or "\0" in name or len(os.fsencode(name)) > 4000
    return not odd and all(part not in ("", ".", "..") and len(os.fsencode(part)) <= 255 for part in parts)


@dataclass(frozen=True)
class _Head:
    """The first line of a manifest."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    format: Literal[1]
    count: int
    parts: int
    arguments: Arguments
    empty_folders: list[str]


@dataclass(frozen=True)
class _Line:
    """A line of a manifest for each split."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    part: str
    count: int
    files: list[str]
    sizes: list[int] = field(default_factory=list)


def refuse_links_on_the_way(root: Path, folders: Iterable[str], files: Iterable[str]) -> None:
    """Raise `KitError` for a link, or a file in place of a folder, below `root`: it could lead anywhere."""
    given = {Path(folder) for folder in folders}
    for folder in sorted(given | {parent for each in given for parent in each.parents} - {Path()}):
        path = root / folder
        if path.is_symlink() or (os.path.lexists(path) and not path.is_dir()):
            raise KitError(f"{path} is a link or a file where a folder must be: move it away")
    link = next((name for name in files if os.path.islink(f"{root}/{name}")), None)
    if link is not None:
        raise KitError(f"{root / link} is a link where a file must be: move it away")


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process at a time change a folder of splits, and clear away what a killed one was writing."""
    handle = os.open(target, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # network disks may lack locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KitError(f"another kit is working in {target}: wait for it or stop it") from None
        for folder in (target, target / LISTS):
            for path in folder.iterdir() if folder.is_dir() else ():
                if LEFTOVER.fullmatch(path.name):
                    path.unlink()
        yield
    finally:
        os.close(handle)


def folders_of(names: list[str]) -> list[str]:
    """Return the folders that hold these files, each once, shortest first; `""` is the root."""
    return sorted({name.rpartition("/")[0] for name in names}, key=len)
