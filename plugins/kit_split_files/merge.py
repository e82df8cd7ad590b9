"""Restore the tree that was split, byte for byte."""

import contextlib
import errno
import filecmp
import os
from dataclasses import dataclass
from pathlib import Path

from kit.errors import KitError
from kit.plugin.commands import Console
from kit.plugin.files import refuse_links
from kit_split_files.copy import copy_file
from kit_split_files.plan import (
    LISTS,
    MANIFEST,
    SUMS,
    UNFINISHED,
    Plan,
    Split,
    find_plan,
    folders_of,
    locked,
    refuse_links_on_the_way,
    scan,
)

TEMPORARY = ".merge-files.tmp"  # a copy grows here until it is whole


@dataclass(frozen=True)
class MergeResult:
    """The result of a call.

    Args:
        plan: which file was in which split.
        root: the restored tree.
        restored: number of files restored by this call; the others were there already, with the same bytes.
    """

    plan: Plan
    root: Path
    restored: int


def merge_files(target: Path, root: Path | None, console: Console) -> MergeResult:
    """Restore the tree that was split, resuming a killed call.

    Files split by `--move` are moved back, and everything kit wrote in `target` is removed. Otherwise files are
    copied, and the splits stay.

    Args:
        target: the folder of the splits.
        root: where to restore the tree. A manifest may be a stranger's: where it says that the tree came from is only
            proposed to the person, who then names it.
        console: shows the progress.

    Raises:
        KitError: there are no splits, they are unfinished or lack files, other files or links are in the way, or no
            `root` is given.
    """
    found = find_plan(target)
    if found is None:
        raise KitError(f"{target} holds no splits ({MANIFEST} is missing): give the DST of kit split-files")
    plan, finished = found
    moves = plan.arguments.mode == "move"
    source = Path(plan.arguments.source)
    if not finished and not moves:
        raise KitError(
            f"the splits in {target} are unfinished, and {source} still holds their files: "
            f"finish them with {plan.arguments.command(target)}, or rm -r {target}"
        )
    if root is None:
        there = f"{plan.arguments.merge_command(target)} restores it there"
        if not source.parent.is_dir():
            there = f"which this machine lacks: kit merge-files {target} TARGET restores it in a new folder"
        raise KitError(f"the tree came from {source}: {there}")
    if not finished and root.resolve() != source.resolve():
        raise KitError(
            f"the splits in {target} are unfinished, and their files were moved: "
            f"{plan.arguments.merge_command(target)} moves them back to {source}"
        )
    if os.path.lexists(root) and not root.is_dir():
        raise KitError(f"{root} is not a folder: give another TARGET")
    if target.resolve() in (root.resolve(), *root.resolve().parents):
        raise KitError(f"{root} lies in {target}, the folder of the splits: give a TARGET outside it")
    refuse_links(target)
    files = [name for split in plan.splits for name in split.files]
    refuse_links_on_the_way(root, [*folders_of(files), *plan.empty_folders], files)
    with locked(target):
        for split in plan.splits:
            _refuse_incomplete(split, target, root if moves else None)
        restored = _restore_all(plan, target, root, console)
        if moves:
            _remove_splits(plan, target)
    return MergeResult(plan, root, restored)


def _refuse_incomplete(split: Split, target: Path, moved_to: Path | None) -> None:
    """Refuse a split with missing or truncated files, except for files that are already moved back."""
    there = scan(target / split.name, None, sizes=True)[0]
    absent = [name for name in split.files if name not in there]
    if moved_to is not None:
        absent = [name for name in absent if not os.path.lexists(moved_to / name)]
    if absent:
        raise KitError(
            f"{target / split.name} lacks {len(absent):,} of {len(split.files):,} files, such as {absent[0]}: "
            f"copy {split.name} here again"
        )
    for name, size in zip(split.files, split.sizes, strict=bool(split.sizes)):
        if there.get(name, size) != size:
            raise KitError(f"{target / split.name / name} has {there[name]:,} bytes, not {size:,}: copy it here again")


def _restore_all(plan: Plan, target: Path, root: Path, console: Console) -> int:
    """Put every missing file in its place; return how many were missing."""
    moves, restored, temporary = plan.arguments.mode == "move", 0, root / TEMPORARY
    root.mkdir(parents=True, exist_ok=True)
    for folder in plan.empty_folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    try:
        with console.progress("merge", plan.count, "files") as progress:
            for split in plan.splits:
                for folder in folders_of(split.files):
                    (root / folder).mkdir(parents=True, exist_ok=True)
                for name in split.files:
                    restored += _restore(target / split.name / name, root / name, temporary, moves)
                progress.advance(len(split.files))
    finally:
        temporary.unlink(missing_ok=True)
    return restored


def _restore(ours: Path, path: Path, temporary: Path, moves: bool) -> bool:
    """Put one file in its place; return False if it was already there."""
    if os.path.lexists(path):
        if ours.exists():
            if not filecmp.cmp(ours, path, shallow=False):
                raise KitError(f"{path} exists and differs from {ours}: move it away or give another TARGET")
            if moves:
                ours.unlink()
        return False
    if not moves:
        copy_file(ours, temporary)
        ours = temporary
    try:
        os.rename(ours, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise KitError(
            f"files split by --move are moved back within one file system, and {path} is on another: "
            "give another TARGET"
        ) from None
    return True


def _remove_splits(plan: Plan, target: Path) -> None:
    """Remove what kit wrote, the manifest last; folders that hold anything else stay."""
    for split in plan.splits:
        (target / f"{split.name}.zip").unlink(missing_ok=True)
        (target / LISTS / f"{split.name}.txt").unlink(missing_ok=True)
        for folder in _with_parents(split):
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


def _with_parents(split: Split) -> list[Path]:
    """Return the folders of a split and the split itself, deepest first."""
    folders = {Path(split.name, folder) for folder in folders_of(split.files)}
    folders |= {parent for folder in folders for parent in folder.parents if parent != Path()}
    return sorted(folders, key=lambda folder: len(folder.parts), reverse=True)
