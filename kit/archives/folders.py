"""Data in folders that others made: `$KIT_DATA/<slug>/` gets links to what lies in them.

Nothing is copied, and nothing is ever written into these folders: what kit makes lies beside the links. Each entry of a
folder gets a link of its own name. A folder of images alone, where it is one of several, is linked as a whole, so that
images of different folders don't mix. Links in the folders are followed, out of them as well.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kit.archives.archive import refuse_doubled
from kit.archives.nested import is_archive
from kit.archives.stage import Incoming, begin, discard_stages, place, refuse_in_the_way, staged, take_over
from kit.archives.unpack import Arrival, beside, lock, read_arrived, refuse_other, refuse_overwriting
from kit.console import Console
from kit.data.checksums import Record, recorded
from kit.data.store import Store
from kit.errors import DISK, KitError
from kit.files import cant_write
from kit.paths import IMAGE, OWN, is_litter

if TYPE_CHECKING:
    from kit.data.index import Index

TABLE = ".csv"
MOST_NAMED = 5


def from_folders(store: Store, paths: Sequence[Path], force: bool, add: bool = False) -> Arrival | None:
    """Link what lies in the person's folders, and single csv files, into a store.

    Args:
        store: where to link.
        paths: the folders and files.
        force: replace other data, and files that kit did not write.
        add: keep the data that is already there; in a folder that is not in `$KIT_DATA` too, which is linked first.

    Returns:
        What was done; None if everything is linked already.

    Raises:
        KitError: a folder is not there, two have the same name in them, or the dataset finds nothing in them.
    """
    if store.is_foreign and not force:
        raise KitError(
            f"{store.root} holds files that are not kit's, and kit writes nothing there: move that folder away and "
            "give it with --from too, or replace its files with --force"
        )
    paths = list(dict.fromkeys(path.absolute() for path in paths))
    links = _links(store, paths, add)
    text = "".join(f"{name}\0{target}\n" for name, target in sorted(links.items()))
    source = ", ".join(map(str, paths))
    incoming = Incoming("folder", source, hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest())
    with lock(store):
        incoming = beside(store, incoming) if add else incoming
        is_current = not force and store.is_whole and store.note["digest"] == incoming.digest
        if is_current and all(_leads_to(store.root / name, target) for name, target in links.items()):
            discard_stages(store)
            return None
        known = {record.name: record for record in recorded(store.root)}
        if not force:
            if not add:
                refuse_other(store, incoming.origin, incoming.digest)
            refuse_overwriting(store, (name for name in links if name not in known))
        with staged(store, incoming) as stage:
            if add:
                take_over(store.root, stage, known)
            for name, target in links.items():
                _link(stage / name, target)
            records = {**known} if add else {}
            records |= {name: Record(name, None, None) for name in links}
            refuse_doubled(source, records)
            refuse_in_the_way(store.root, records, known.keys() - records.keys())
            index = _read(store, incoming, stage, links)
        removed = begin(store, incoming, records, force, keep={stage.name})
        place(store, incoming, stage)
    return Arrival(incoming.source, len(links), 0, removed, index.train["id"].nunique(), index.test["id"].nunique())


def _read(store: Store, incoming: Incoming, stage: Path, links: dict[str, Path]) -> "Index":
    """Read the index of what is linked; an error names an archive in it, which the data may be in."""
    try:
        return read_arrived(store, incoming, stage)
    except KitError as error:
        packed = sorted(target for target in links.values() if is_archive(target.name) and target.is_file())
        if not packed:
            raise
        raise KitError(
            f"{error}; {packed[0]} is an archive: unpack it, or give archives and csv files instead of the folder, "
            "each with --from"
        ) from None


def _links(store: Store, paths: Sequence[Path], add: bool) -> dict[str, Path]:
    """Return the name of each link, relative to the data's folder, and what it leads to."""
    links: dict[str, Path] = {}
    for path in paths:
        for target in _targets(store, path, several=add or len(paths) > 1):
            before = links.setdefault(target.name, target)
            if before != target:
                raise KitError(f"{before} and {target} have one name: rename one of them, or give folders above them")
    return links


def _targets(store: Store, path: Path, several: bool) -> list[Path]:
    """Return what of one given path is linked, as absolute paths."""
    path = path.absolute()
    if not os.path.isdir(path):
        is_file = os.path.isfile(path)
        if is_file and path.suffix.lower() == TABLE:
            return [path]
        if not is_file:
            raise KitError(f"{path} is not there: correct --from")
        add = f"kit download {store.competition.name} --add --from {path}"
        raise KitError(f"{path} is an archive, and folders are linked: give the folders alone, and then {add}")
    own = Path(os.path.realpath(store.root))
    if path.resolve().is_relative_to(own):
        raise KitError(f"{path} lies in {store.root}, to which it would be linked: move it away, or set KIT_DATA")
    try:
        entries = sorted(entry for entry in path.iterdir() if not is_litter(entry.name) and entry.name != OWN)
        dead = [entry.name for entry in entries if not entry.exists()]
        entries = [entry for entry in entries if entry.name not in dead and not own.is_relative_to(entry.resolve())]
    except OSError as error:
        raise KitError(f"{path} can't be read ({error.strerror}): fix its permissions", DISK) from None
    if dead:
        Console().warn(
            f"{path}: {', '.join(dead[:MOST_NAMED])} {'leads' if len(dead) == 1 else 'lead'} nowhere: left out"
        )
    if not entries:
        raise KitError(f"no archive at {path}, which is an empty folder: give one in which data lies")
    images_alone = all(IMAGE.search(entry.name) and not entry.is_dir() for entry in entries)
    return [path] if several and images_alone else entries


def _link(path: Path, target: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        path.symlink_to(target, target.is_dir())
    except OSError as error:
        raise cant_write(path, error) from None


def _leads_to(path: Path, target: Path) -> bool:
    return path.is_symlink() and Path(os.readlink(path)) == target and path.exists()
