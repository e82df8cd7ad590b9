"""Files into equal numbered directories; killed at any moment, the same call ends in the same state."""

import errno
import filecmp
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.console import Console
from kit.data.split_plan import (
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
from kit.errors import KitError
from kit.files import atomic, sha256, write_bytes

BATCH = 500  # files between two steps of the progress bar
PLACE: dict[str, Callable[[str, str], object]] = {"copy": shutil.copyfile, "link": os.link, "move": os.rename}
# Other file systems, read-only ones, and those that know no hard links.
IMPOSSIBLE = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold: equal files give equal archives


@dataclass(frozen=True)
class Split:
    """What came of it.

    Args:
        plan: which file stands in which part.
        placed: files placed by this call; the others were there already.
    """

    plan: Plan
    placed: int


def split(arguments: Arguments, target: Path, console: Console) -> Split:
    """Bring the files of a tree into equal numbered directories. Started again after a kill, it goes on.

    Args:
        arguments: what to do; `source` must be absolute.
        target: the folder of the split: new, empty, or with an earlier call of the same arguments.
        console: shows the progress.

    Raises:
        KitError: the places, the arguments or what is there already don't fit, or the tree has changed since.
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
        _refuse_other(plan.arguments, arguments, target)
        _refuse_changed(plan, target)
    with locked(target):
        if found is None:
            if find_plan(target) is not None:
                raise KitError(f"another kit has just split into {target}: give the same command again")
            plan.write(target / UNFINISHED)
        placed = _place_all(plan, target, found is not None, finished, console)
        _check(plan, target)
        if arguments.lists:
            _write_lists(plan, target, prefix)
        if arguments.zip:
            _write_zips(plan, target, console)
        if not finished:
            os.replace(target / UNFINISHED, target / MANIFEST)
    return Split(plan, placed)


def list_prefix(arguments: Arguments, target: Path) -> str:
    """How the paths in the lists begin: the folder of the split, or what `OLD=NEW` makes of it.

    Raises:
        KitError: the map is not `OLD=NEW`, doesn't concern the folder, or there are no lists.
    """
    own = os.path.abspath(target)
    if arguments.prefix_map is None:
        return own
    old, _, new = arguments.prefix_map.partition("=")
    if not arguments.lists:
        raise KitError("--prefix-map rewrites the path lists: add --lists")
    if not old or not new:
        raise KitError(f"--prefix-map {arguments.prefix_map!r} is not OLD=NEW: give {own}=NEW")
    old = os.path.abspath(old).rstrip("/")
    if not f"{own}/".startswith(f"{old}/"):
        raise KitError(f"no path begins with {old}: give --prefix-map {own}={new}")
    return new.rstrip("/") + own[len(old) :]


def _refuse_places(source: Path, target: Path, mode: str) -> None:
    if not source.is_dir():
        raise KitError(f"{source} is no folder: give the one that holds the files")
    if target.exists() and not target.is_dir():
        raise KitError(f"{target} is no folder: give another DST")
    whole, inside = source.resolve(), target.resolve()
    if whole == inside or whole in inside.parents:
        raise KitError(f"{target} lies in {source}, which is to be split: give a DST outside of it")
    there = next(folder for folder in (inside, *inside.parents) if folder.exists())
    if mode != "copy" and whole.stat().st_dev != there.stat().st_dev:
        raise KitError(f"--{mode} works within one file system, and {target} is on another than {source}: use --copy")


def _refuse_strangers(target: Path) -> None:
    """A folder without a split must be empty but for what the very first write of a killed call has left."""
    own = [path for path in target.iterdir() if not LEFTOVER.fullmatch(path.name)] if target.exists() else []
    if own:
        raise KitError(f"{target} holds other things ({own[0].name}) and no split: give a new folder as DST")


def _refuse_other(before: Arguments, now: Arguments, target: Path) -> None:
    if before != now:
        raise KitError(
            f"{target} holds a split with other arguments: {before.command(target)} goes on with it, "
            f"{_undo(before, target)} undoes it, or give another DST"
        )


def _refuse_changed(plan: Plan, target: Path) -> None:
    """A tree that isn't the one that was divided would end in a split that lacks files."""
    source, mode = Path(plan.arguments.source), plan.arguments.mode
    now = scan(source, plan.arguments.suffix, sizes=False)[0].keys()
    before = {name for part in plan.parts for name in part.files}
    new, gone = now - before, set() if mode == "move" else before - now
    if new or gone:
        what = f"{len(new):,} new files, {len(gone):,} gone, such as {min(new | gone)}"
        raise KitError(
            f"{source} has changed since {target} was begun ({what}): bring it back as it was, "
            f"or {_undo(plan.arguments, target)} and split it anew"
        )


def _undo(arguments: Arguments, target: Path) -> str:
    return f"kit merge-files {target}" if arguments.mode == "move" else f"rm -r {target}"


def _place_all(plan: Plan, target: Path, resumed: bool, finished: bool, console: Console) -> int:
    """Copy, link or move every file that is not in its part yet; how many that were."""
    source, mode, placed = plan.arguments.source, plan.arguments.mode, 0
    place = PLACE[mode]
    with console.progress(mode, plan.count, "files") as progress:
        for part in plan.parts:
            there = scan(target / part.name, None, sizes=False)[0] if resumed else {}
            for folder in folders_of(part.files):
                (target / part.name / folder).mkdir(parents=True, exist_ok=True)
            ours = os.path.join(target, part.name)
            for files in _batches(part.files):
                for name in files:
                    if name in there and _is_placed(f"{source}/{name}", f"{ours}/{name}", mode, finished):
                        continue
                    try:
                        place(f"{source}/{name}", f"{ours}/{name}")
                    except OSError as error:
                        raise _explained(error, plan.arguments, name, target) from None
                    placed += 1
                progress.advance(len(files))
    return placed


def _batches(files: list[str]) -> Iterator[list[str]]:
    return (files[at : at + BATCH] for at in range(0, len(files), BATCH))


def _is_placed(source: str, ours: str, mode: str, finished: bool) -> bool:
    """Whether the file in a part is the one that belongs there; False for a copy that was cut short.

    Raises:
        KitError: someone else has put it there or changed it.
    """
    if mode == "copy":
        if not finished:
            return filecmp.cmp(source, ours, shallow=False)
        fits = os.path.getsize(source) == os.path.getsize(ours)
    else:
        fits = os.path.samefile(source, ours) if mode == "link" else not os.path.lexists(source)
    if not fits:
        raise KitError(f"{ours} is not the file that kit put there: move it away and give the same command again")
    return True


def _explained(error: OSError, arguments: Arguments, name: str, target: Path) -> Exception:
    if isinstance(error, FileNotFoundError) and not os.path.lexists(f"{arguments.source}/{name}"):
        return KitError(f"{arguments.source}/{name} is gone: put it back and give the same command again")
    if arguments.mode != "copy" and error.errno in IMPOSSIBLE:
        return KitError(
            f"{arguments.source}/{name} can't be brought to {target} by --{arguments.mode} ({error.strerror}): "
            f"{_undo(arguments, target)}, then use --copy"
        )
    return error


def _check(plan: Plan, target: Path) -> None:
    """Count what stands in the parts: on a disk that doesn't tell upper from lower case, one file replaces another."""
    for part in plan.parts:
        found, planned = scan(target / part.name, None, sizes=False)[0].keys(), set(part.files)
        if found != planned:
            raise KitError(
                f"{target / part.name} holds {len(found):,} files instead of {len(planned):,} "
                f"(such as {min(found ^ planned)}): move away what is not of this split and start again, or use a disk "
                "that tells upper from lower case"
            )


def _write_lists(plan: Plan, target: Path, prefix: str) -> None:
    (target / LISTS).mkdir(exist_ok=True)
    texts = {
        part.name: os.fsencode("".join(f"{prefix}/{part.name}/{name}\n" for name in part.files)) for part in plan.parts
    }
    for name, text in {**texts, "all": b"".join(texts.values())}.items():
        path = target / LISTS / f"{name}.txt"
        if not path.is_file() or path.read_bytes() != text:
            write_bytes(path, text)


def _write_zips(plan: Plan, target: Path, console: Console) -> None:
    """One archive a part, and their checksums; archives that are there are whole, since they were renamed."""
    missing = [part for part in plan.parts if not (target / f"{part.name}.zip").is_file()]
    if not missing and (target / SUMS).is_file():
        return
    with console.progress("zip", sum(len(part.files) for part in missing), "files") as progress:
        for part in missing:
            with atomic(target / f"{part.name}.zip") as path, zipfile.ZipFile(path, "w") as archive:
                for files in _batches(part.files):
                    for name in files:
                        _add(archive, target, f"{part.name}/{name}")
                    progress.advance(len(files))
    sums = "".join(f"{sha256(target / f'{part.name}.zip')}  {part.name}.zip\n" for part in plan.parts)
    write_bytes(target / SUMS, sums.encode())


def _add(archive: zipfile.ZipFile, target: Path, name: str) -> None:
    """Stored, not deflated: png and jpg don't shrink, tif patches by 12 %, at a tenth of the speed."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    with open(target / name, "rb") as file:
        info.file_size = os.fstat(file.fileno()).st_size
        with archive.open(info, "w") as member:
            shutil.copyfileobj(file, member)
