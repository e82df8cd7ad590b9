"""Split a tree of files into equally full, numbered directories; after a kill, the same call ends in the same state."""

import errno
import filecmp
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.errors import KitError
from kit.plugin.commands import Console
from kit.plugin.files import atomic, refuse_links, sha256, write_bytes
from kit_split_files.copy import copy_file
from kit_split_files.plan import (
    LEFTOVER,
    LISTS,
    MANIFEST,
    SUMS,
    UNFINISHED,
    Arguments,
    Plan,
    find_plan,
    folders_of,
    locked,
    make_plan,
    scan,
)

BATCH = 500  # files between two updates of the progress bar
PLACE: dict[str, Callable[[str, str], object]] = {"copy": copy_file, "link": os.link, "move": os.rename}
# Other file systems, read-only ones, and those without hard links.
IMPOSSIBLE = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: equal files give equal archives


@dataclass(frozen=True)
class SplitResult:
    """The result of a call.

    Args:
        plan: which file is in which split.
        placed: number of files placed by this call; the others were there already.
    """

    plan: Plan
    placed: int


def split_files(arguments: Arguments, target: Path, console: Console) -> SplitResult:
    """Place the files of a tree in equally full, numbered directories, resuming a killed call.

    Args:
        arguments: what to do; `source` must be absolute.
        target: the folder for the splits: new, empty, or begun by an earlier call with the same arguments.
        console: shows the progress.

    Raises:
        KitError: the folders, the arguments or the existing files don't fit, or the tree has changed since.
    """
    prefix = list_prefix(arguments, target)
    _refuse_places(Path(arguments.source), target, arguments.mode)
    found = find_plan(target)
    if found is None:
        _refuse_strangers(target)
        plan, finished = make_plan(arguments), False
        target.mkdir(parents=True, exist_ok=True)
    else:
        plan, finished = found
        refuse_links(target)
        _refuse_other(plan.arguments, arguments, target)
        _refuse_changed(plan, target)
    with locked(target):
        if found is None:
            if find_plan(target) is not None:
                raise KitError(f"another kit has just split into {target}: run the same command again")
            plan.write(target / UNFINISHED)
        placed = _place_all(plan, target, found is not None, finished, console)
        _check(plan, target)
        if arguments.lists:
            _write_lists(plan, target, prefix)
        if arguments.zip:
            _write_zips(plan, target, console)
        if not finished:
            os.replace(target / UNFINISHED, target / MANIFEST)
    return SplitResult(plan, placed)


def list_files(arguments: Arguments, target: Path) -> Plan:
    """Write lists of the files of a tree where they lie, one per split and one of all; divide nothing.

    Args:
        arguments: what to do; with `lists`, and one split if neither `per_dir` nor `parts` is given.
        target: gets the folder of the lists.

    Raises:
        KitError: the folders or the arguments don't fit, or `target` holds splits.
    """
    source = Path(arguments.source)
    prefix = list_prefix(arguments, source)
    _refuse_places(source, target, "copy")
    if find_plan(target) is not None:
        raise KitError(f"{target} holds splits, whose lists name the files in them: give another DST")
    plan = make_plan(arguments)
    target.mkdir(parents=True, exist_ok=True)
    texts = {split.name: [f"{prefix}/{name}" for name in split.files] for split in plan.splits}
    _write_texts(texts if len(texts) > 1 else {}, [path for paths in texts.values() for path in paths], target)
    return plan


def list_prefix(arguments: Arguments, folder: Path) -> str:
    """Return how the paths in the lists begin: with the folder of the files, or what `OLD=NEW` makes of it.

    Raises:
        KitError: the map is not `OLD=NEW`, doesn't match the folder, or no lists are written.
    """
    own = os.path.abspath(folder)
    if arguments.prefix_map is None:
        return own
    old, _, new = arguments.prefix_map.partition("=")
    if not arguments.lists:
        raise KitError("--prefix-map rewrites the lists of paths: add --lists")
    if not old or not new:
        raise KitError(f"--prefix-map {arguments.prefix_map!r} is not OLD=NEW: give {own}=NEW")
    old = os.path.abspath(old).rstrip("/")
    if not f"{own}/".startswith(f"{old}/"):
        raise KitError(f"no path begins with {old}: give --prefix-map {own}={new}")
    return new.rstrip("/") + own[len(old) :]


def _refuse_places(source: Path, target: Path, mode: str) -> None:
    if not source.is_dir():
        raise KitError(f"{source} is not a folder: give the folder that holds the files")
    if target.exists() and not target.is_dir():
        raise KitError(f"{target} is not a folder: give another DST")
    whole, inside = source.resolve(), target.resolve()
    if whole == inside or whole in inside.parents:
        raise KitError(f"{target} lies in {source}, the folder to split: give a DST outside it")
    there = next(folder for folder in (inside, *inside.parents) if folder.exists())
    if mode != "copy" and whole.stat().st_dev != there.stat().st_dev:
        raise KitError(
            f"--{mode} works within one file system, and {target} is on a different one from {source}: use --copy"
        )


def _refuse_strangers(target: Path) -> None:
    """Refuse a folder without a plan unless it holds only what a killed call left of its first write."""
    own = [path for path in target.iterdir() if not LEFTOVER.fullmatch(path.name)] if target.exists() else []
    if own:
        raise KitError(f"{target} holds other things ({own[0].name}) and no splits: give a new folder as DST")


def _refuse_other(before: Arguments, now: Arguments, target: Path) -> None:
    if before != now:
        raise KitError(
            f"{target} holds splits made with other arguments: {before.command(target)} resumes them, "
            f"{_undo(before, target)} undoes them, or give another DST"
        )


def _refuse_changed(plan: Plan, target: Path) -> None:
    """Refuse a tree that has changed since it was planned: the splits would lack files."""
    source, mode = Path(plan.arguments.source), plan.arguments.mode
    now = scan(source, plan.arguments.suffix, sizes=False)[0].keys()
    before = {name for split in plan.splits for name in split.files}
    new, gone = now - before, set() if mode == "move" else before - now
    if new or gone:
        what = f"{len(new):,} new files, {len(gone):,} gone, such as {min(new | gone)}"
        raise KitError(
            f"{source} has changed since {target} was begun ({what}): restore it as it was, "
            f"or run {_undo(plan.arguments, target)} and split it again"
        )


def _undo(arguments: Arguments, target: Path) -> str:
    return arguments.merge_command(target) if arguments.mode == "move" else f"rm -r {target}"


def _place_all(plan: Plan, target: Path, resumed: bool, finished: bool, console: Console) -> int:
    """Copy, link or move every missing file into its split; return how many were missing."""
    source, mode, placed = plan.arguments.source, plan.arguments.mode, 0
    place = PLACE[mode]
    with console.progress(mode, plan.count, "files") as progress:
        for split in plan.splits:
            there = scan(target / split.name, None, sizes=False)[0] if resumed else {}
            for folder in folders_of(split.files):
                (target / split.name / folder).mkdir(parents=True, exist_ok=True)
            ours = os.path.join(target, split.name)
            for files in _batches(split.files):
                for name in files:
                    if name in there and _is_placed(f"{source}/{name}", f"{ours}/{name}", mode, finished):
                        continue
                    try:
                        place(f"{source}/{name}", f"{ours}/{name}")
                    except OSError as error:
                        raise _explain(error, plan.arguments, name, target) from None
                    placed += 1
                progress.advance(len(files))
    return placed


def _batches(files: list[str]) -> Iterator[list[str]]:
    return (files[at : at + BATCH] for at in range(0, len(files), BATCH))


def _is_placed(source: str, ours: str, mode: str, finished: bool) -> bool:
    """Tell whether a file in a split belongs there; False for a copy that was cut short.

    Raises:
        KitError: someone else put it there or changed it.
    """
    if mode == "copy":
        if not finished:
            return filecmp.cmp(source, ours, shallow=False)
        fits = os.path.getsize(source) == os.path.getsize(ours)
    else:
        fits = os.path.samefile(source, ours) if mode == "link" else not os.path.lexists(source)
    if not fits:
        raise KitError(f"{ours} is not the file that kit put there: move it away and run the same command again")
    return True


def _explain(error: OSError, arguments: Arguments, name: str, target: Path) -> Exception:
    if isinstance(error, FileNotFoundError) and not os.path.lexists(f"{arguments.source}/{name}"):
        return KitError(f"{arguments.source}/{name} is gone: put it back and run the same command again")
    if arguments.mode != "copy" and error.errno in IMPOSSIBLE:
        return KitError(
            f"--{arguments.mode} can't place {arguments.source}/{name} in {target} ({error.strerror}): "
            f"run {_undo(arguments, target)}, then use --copy"
        )
    return error


def _check(plan: Plan, target: Path) -> None:
    """Compare each split with the plan: on a case-insensitive disk, one file may have replaced another."""
    for split in plan.splits:
        found, planned = scan(target / split.name, None, sizes=False)[0].keys(), set(split.files)
        if found != planned:
            raise KitError(
                f"{target / split.name} holds {len(found):,} files instead of {len(planned):,} "
                f"(such as {min(found ^ planned)}): move foreign files away and run the same command again, "
                "or use a case-sensitive disk"
            )


def _write_lists(plan: Plan, target: Path, prefix: str) -> None:
    texts = {split.name: [f"{prefix}/{split.name}/{name}" for name in split.files] for split in plan.splits}
    _write_texts(texts, [path for paths in texts.values() for path in paths], target)


def _write_texts(by_split: dict[str, list[str]], whole: list[str], target: Path) -> None:
    (target / LISTS).mkdir(exist_ok=True)
    for name, paths in {**by_split, "all": whole}.items():
        path, text = target / LISTS / f"{name}.txt", os.fsencode("".join(f"{each}\n" for each in paths))
        if not path.is_file() or path.read_bytes() != text:
            write_bytes(path, text)


def _write_zips(plan: Plan, target: Path, console: Console) -> None:
    """Write one archive per split, and their checksums; an existing archive is whole, because writes are atomic."""
    missing = [split for split in plan.splits if not (target / f"{split.name}.zip").is_file()]
    if not missing and (target / SUMS).is_file():
        return
    with console.progress("zip", sum(len(split.files) for split in missing), "files") as progress:
        for split in missing:
            with atomic(target / f"{split.name}.zip") as path:
                with zipfile.ZipFile(path, "w") as archive:
                    for files in _batches(split.files):
                        for name in files:
                            _add(archive, target, f"{split.name}/{name}")
                        progress.advance(len(files))
                with zipfile.ZipFile(path) as archive:
                    if archive.testzip() is not None:
                        raise OSError(errno.EIO, "what was written does not read back", str(path))
    sums = "".join(f"{sha256(target / f'{split.name}.zip')}  {split.name}.zip\n" for split in plan.splits)
    write_bytes(target / SUMS, sums.encode())


def _add(archive: zipfile.ZipFile, target: Path, name: str) -> None:
    """Store without deflating: png and jpg don't shrink, tif patches by 12 %, at a tenth of the speed."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    with open(target / name, "rb") as file:
        info.file_size = os.fstat(file.fileno()).st_size
        with archive.open(info, "w") as member:
            shutil.copyfileobj(file, member)
