"""The stage: a folder beside the data in which new data lies until it is whole, and how it takes its place."""

import contextlib
import os
import re
import shutil
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.archives.archive import Member, matches, safe_name
from kit.archives.part import length, make_folder, writing
from kit.data.checksums import FILES, Record, recorded, write_records
from kit.data.store import ORIGIN, UNFINISHED, Origin, Store
from kit.errors import KitError
from kit.files import write_json

OWN = {FILES, UNFINISHED, ORIGIN, "lock"}
STAGE = "incoming-"
# What a killed atomic write leaves.
LEFTOVER = re.compile(r"\.(files\.txt|unfinished\.json|origin\.json)\.\d+\.tmp")


@dataclass(frozen=True)
class Incoming:
    """What arrives: its origin, the same for people, a digest of its content, and whether it adds to earlier data."""

    origin: Origin
    source: str
    digest: str
    adds: bool = False


@contextlib.contextmanager
def staged(store: Store, incoming: Incoming) -> Iterator[Path]:
    """Provide the folder that the new data is written to; an error removes it, a kill leaves it for the same command.

    It is on the disk of the data, so that all of it takes its place by renames.
    """
    stage = store.inside / f"{STAGE}{zlib.crc32(f'{incoming.origin} {incoming.digest}'.encode()):08x}"
    discard_stages(store, keep=stage.name)
    try:
        with writing(stage):
            stage.mkdir(exist_ok=True)
        if not store.is_whole and not (store.inside / UNFINISHED).exists():
            _note(store, incoming, clears=False)
        yield stage
    except KitError:
        shutil.rmtree(stage, ignore_errors=True)
        if not store.is_whole and not (store.inside / FILES).exists():
            (store.inside / UNFINISHED).unlink(missing_ok=True)
        raise


def discard_stages(store: Store, keep: str = "") -> None:
    """Remove what killed calls left, also those of earlier kits."""
    for path in store.inside.iterdir():
        stale = path.name.startswith(STAGE) and path.name != keep
        if stale or path.name in ("draft", "nested", "parts"):
            shutil.rmtree(path, ignore_errors=True)
        elif LEFTOVER.fullmatch(path.name):
            path.unlink()
    if not keep and store.is_whole:
        (store.inside / UNFINISHED).unlink(missing_ok=True)


def take_over(root: Path, stage: Path, files: "dict[str, Member] | dict[str, Record]") -> None:
    """Give the stage what lies in the folder already, without copying it where the disk has hard links.

    Args:
        root: the folder.
        stage: gets the files.
        files: what each must be: a member that its file must match, or a record, whose file is taken as it is. A link
            of kit's own (`kit.archives.folders`) is made again; what lies behind one is not taken.
    """
    made: set[str] = set()
    links = {name for name in os.listdir(root) if os.path.islink(f"{root}/{name}")}
    for name, wanted in files.items():
        ours, staged = f"{root}/{name}", f"{stage}/{name}"
        if name.partition("/")[0] in links:
            if name in links and isinstance(wanted, Record) and not os.path.lexists(staged):
                os.symlink(os.readlink(ours), staged)
            continue
        if os.path.islink(ours) and isinstance(wanted, Record):
            make_folder(stage, Path(staged).parent)
            os.symlink(os.readlink(ours), staged)
            continue
        count = length(ours)
        if count < 0 or (wanted.size is not None and count != wanted.size):
            continue
        if isinstance(wanted, Member) and (matches(staged, wanted) or not matches(ours, wanted)):
            continue
        with writing(staged):
            if (parent := os.path.dirname(staged)) not in made:
                make_folder(stage, Path(parent))
                made.add(parent)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)
            try:
                os.link(ours, staged)
            except OSError:
                shutil.copyfile(ours, staged)


def refuse_in_the_way(root: Path, names: Collection[str], leaving: Collection[str]) -> None:
    """Raise `KitError` for links and the person's own files where folders must be, before anything is removed."""
    folders: set[str] = set()
    for name in names:
        folder = name
        while (folder := folder.rpartition("/")[0]) and folder not in folders:
            folders.add(folder)
    for folder in sorted(folders):
        path = root / folder
        if path.is_symlink() and folder not in leaving:
            raise KitError(f"{path} is a link, and kit writes into real folders only: link {root} as a whole instead")
        if os.path.lexists(path) and not path.is_dir() and folder not in leaving:
            raise KitError(f"{path} is a file where a folder must be: move it away")
    folders = {name for name in names if os.path.isdir(f"{root}/{name}") and not os.path.islink(f"{root}/{name}")}
    for name in folders:
        if not any(each.startswith(f"{name}/") for each in leaving):
            raise KitError(f"{root / name} is a folder where a file must be: move it away")


def known_note(store: Store, force: bool) -> dict[str, str]:
    """Return the store's note; none for a damaged one if it is to be replaced anyway."""
    try:
        return store.note
    except KitError:
        if not force:
            raise
        return {}


def _note(store: Store, incoming: Incoming, clears: bool) -> None:
    note = {"origin": incoming.origin, "source": incoming.source, "digest": incoming.digest, "clears": clears}
    write_json(store.inside / UNFINISHED, note)


def begin(store: Store, incoming: Incoming, records: dict[str, Record], force: bool, keep: set[str]) -> int:
    """Record what arrives, remove earlier files and what was computed from them, and return the number removed.

    After a kill the same command goes on: until the earlier files are gone, both are on record.

    `keep` names entries of `.kit` that the arrival itself still needs.
    """
    own, note = store.inside, known_note(store, force)
    earlier = {record.name: record for record in recorded(store.root)}
    # A damaged note says nothing, but the same files are the same data.
    is_other = note["digest"] != incoming.digest if note else store.is_whole and earlier != records
    clears = (is_other and not incoming.adds) or (bool(note) and store.clears)
    _note(store, incoming, clears)
    (own / ORIGIN).unlink(missing_ok=True)
    write_records(store.root, (earlier | records).values())
    removed = sum(_remove(store.root, name) for name in sorted(earlier.keys() - records.keys()))
    if clears:
        for path in own.iterdir():
            if path.name not in OWN | keep:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    write_records(store.root, records.values())
    return removed


def place(store: Store, incoming: Incoming, stage: Path, top: str = "") -> None:
    """Move what has arrived, or what the folder `top` of it holds, to its place, and record that it has."""
    with writing(store.root):
        _move(str(stage / top), str(store.root))
    store.set_origin(incoming.origin, incoming.source, incoming.digest)
    shutil.rmtree(stage, ignore_errors=True)


def _move(source: str, target: str) -> None:
    with os.scandir(source) as found:
        entries = list(found)
    for entry in entries:
        there = f"{target}/{entry.name}"
        if not entry.is_dir(follow_symlinks=False):
            # Two names of one file: a rename would do nothing.
            if not (os.path.lexists(there) and os.path.samestat(os.lstat(there), entry.stat(follow_symlinks=False))):
                os.replace(entry.path, there)
        elif os.path.lexists(there):
            _move(entry.path, there)
        else:
            os.rename(entry.path, there)


def own_entry(store: Store, path: Path) -> set[str]:
    """Return the entry of `.kit` that contains a path, if one does."""
    own, path = store.inside.resolve(), path.resolve()
    return {path.relative_to(own).parts[0]} if path.is_relative_to(own) else set()


def _remove(root: Path, name: str) -> bool:
    """Remove one file of earlier data and the folders it leaves empty; never anything outside `root`."""
    path = root / name
    parents = [parent for parent in path.parents if root in parent.parents]
    if safe_name(name) is None or any(parent.is_symlink() for parent in parents):
        return False
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    with contextlib.suppress(OSError):
        for parent in parents:
            parent.rmdir()
    return True
