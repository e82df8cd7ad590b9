"""The way back: the tree that `split_files` divided, to the byte."""

import contextlib
import errno
import filecmp
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from kit.console import Console
from kit.data.split_plan import LISTS, MANIFEST, SUMS, UNFINISHED, Part, Plan, find_plan, folders_of, locked, scan
from kit.errors import KitError

TEMPORARY = ".merge-files.tmp"  # where a copy grows until it is whole


@dataclass(frozen=True)
class Merge:
    """What came of it.

    Args:
        plan: of the split.
        root: where the tree stands.
        restored: files brought there by this call; the others were there already, with the same bytes.
    """

    plan: Plan
    root: Path
    restored: int


def merge(target: Path, root: Path | None, console: Console) -> Merge:
    """Restore the tree of a split. Started again after a kill, it goes on.

    A split by `--move` is undone: its files are moved back and what kit wrote in `target` is removed. From other
    splits the files are copied, and the split stays.

    Args:
        target: the folder of the split.
        root: where to; None is the place that the tree came from.
        console: shows the progress.

    Raises:
        KitError: no split, an unfinished one, files of it are missing, or other files stand in the way.
    """
    found = find_plan(target)
    if found is None:
        raise KitError(f"{target} holds no split ({MANIFEST} is missing): give the DST of kit split-files")
    plan, finished = found
    moves = plan.arguments.mode == "move"
    if not finished and not moves:
        raise KitError(
            f"{target} is an unfinished split, and its files still stand in {plan.arguments.source}: "
            f"finish it by {plan.arguments.command(target)}, or rm -r {target}"
        )
    source = Path(plan.arguments.source)
    if not finished and root is not None:
        raise KitError(
            f"{target} is an unfinished split by --move: kit merge-files {target} brings it back to {source}"
        )
    if root is None and not source.parent.is_dir():
        raise KitError(f"the tree came from {source}, which this machine lacks: kit merge-files {target} TARGET")
    root = root or source
    if target.resolve() in (root.resolve(), *root.resolve().parents):
        raise KitError(f"{root} lies in the split {target}: give a TARGET outside of it")
    with locked(target):
        for part in plan.parts:
            _refuse_incomplete(part, target, root if moves else None)
        restored = _restore_all(plan, target, root, console)
        if moves:
            _remove_split(plan, target)
    return Merge(plan, root, restored)


def _refuse_incomplete(part: Part, target: Path, moved_to: Path | None) -> None:
    """Every file must stand in its part, uncut, or else be moved back already."""
    there = scan(target / part.name, None, sizes=True)[0]
    absent = [name for name in part.files if name not in there]
    if moved_to is not None:
        absent = [name for name in absent if not os.path.lexists(moved_to / name)]
    if absent:
        raise KitError(
            f"{target / part.name} lacks {len(absent):,} of {len(part.files):,} files, such as {absent[0]}: "
            "copy the split here anew"
        )
    for name, size in zip(part.files, part.sizes, strict=bool(part.sizes)):
        if there.get(name, size) != size:
            raise KitError(f"{target / part.name / name} has {there[name]:,} bytes, not {size:,}: copy it here anew")


def _restore_all(plan: Plan, target: Path, root: Path, console: Console) -> int:
    """Bring every file to its place; how many were not there."""
    moves, restored, temporary = plan.arguments.mode == "move", 0, root / TEMPORARY
    root.mkdir(parents=True, exist_ok=True)
    for folder in plan.empty_folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    try:
        with console.progress("merge", plan.count, "files") as progress:
            for part in plan.parts:
                for folder in folders_of(part.files):
                    (root / folder).mkdir(parents=True, exist_ok=True)
                for name in part.files:
                    restored += _restore(target / part.name / name, root / name, temporary, moves)
                progress.advance(len(part.files))
    finally:
        temporary.unlink(missing_ok=True)
    return restored


def _restore(ours: Path, path: Path, temporary: Path, moves: bool) -> bool:
    """Bring one file to its place; False when it was there."""
    if os.path.lexists(path):
        if ours.exists():
            if not filecmp.cmp(ours, path, shallow=False):
                raise KitError(f"{path} is there and differs from {ours}: move it away or give another TARGET")
            if moves:
                ours.unlink()
        return False
    if not moves:
        shutil.copyfile(ours, temporary)
        ours = temporary
    try:
        os.rename(ours, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise KitError(
            f"a split by --move is moved back, within one file system, and {path} is on another: give another TARGET"
        ) from None
    return True


def _remove_split(plan: Plan, target: Path) -> None:
    """Remove what kit wrote, the manifest last; folders that hold anything else stay."""
    for part in plan.parts:
        (target / f"{part.name}.zip").unlink(missing_ok=True)
        (target / LISTS / f"{part.name}.txt").unlink(missing_ok=True)
        for folder in _with_parents(part):
            with contextlib.suppress(OSError):
                (target / folder).rmdir()
    (target / LISTS / "all.txt").unlink(missing_ok=True)
    (target / SUMS).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (target / LISTS).rmdir()
    for name in (UNFINISHED, MANIFEST):
        (target / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        target.rmdir()


def _with_parents(part: Part) -> list[Path]:
    """The folders of a part and the part itself, deepest first."""
    folders = {Path(part.name, folder) for folder in folders_of(part.files)}
    folders |= {parent for folder in folders for parent in folder.parents if parent != Path()}
    return sorted(folders, key=lambda folder: len(folder.parts), reverse=True)
