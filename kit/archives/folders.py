"""Data in folders that others made: `$KIT_DATA/<slug>/` gets links to what lies in them.

Nothing is copied, and nothing is ever written into these folders: what kit makes lies beside the links. Each entry of a
folder gets a link of its own name. A folder of images alone, where it is one of several, is linked as a whole, so that
images of different folders don't mix. Links in the folders are followed, out of them as well.

Archives in a folder are linked like everything else while the dataset finds all that it names. Where it does not, they
are unpacked beside the links, like archives in an archive; what lies unpacked already is linked.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kit.archives.archive import Archive, refuse_doubled
from kit.archives.nested import Plan, is_archive, new_files, open_archive
from kit.archives.stage import Incoming, begin, discard_stages, place, refuse_in_the_way, staged, take_over
from kit.archives.unpack import Arrival, beside, lock, missing_files, read_arrived, refuse_other, refuse_overwriting
from kit.console import Console
from kit.data.checksums import Record, recorded
from kit.data.store import Store
from kit.errors import DISK, KitError
from kit.files import cant_write
from kit.image_files import DEEPEST, data_files
from kit.paths import IMAGE, OWN, is_litter

if TYPE_CHECKING:
    from kit.data.index import Index

TABLE = ".csv"
MOST_NAMED = 5


def from_folders(
    store: Store, paths: Sequence[Path], force: bool, add: bool = False, console: Console | None = None
) -> Arrival | None:
    """Link what lies in the person's folders, and single csv files, into a store.

    Args:
        store: where to link.
        paths: the folders and files.
        force: replace other data, and files that kit did not write.
        add: keep the data that is already there; in a folder that is not in `$KIT_DATA` too, which is linked first.
        console: shows the progress of unpacking.

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
        if is_current and _is_there(store, links):
            discard_stages(store)
            return None
        known = {record.name: record for record in recorded(store.root)}
        if not force:
            if not add:
                refuse_other(store, incoming.origin, incoming.digest)
            # A folder of links stands for one that holds archives.
            ours = known.keys() | {name.partition("/")[0] for name in known}
            refuse_overwriting(store, (name for name in links if name not in ours))
        with staged(store, incoming) as stage:
            if add:
                take_over(store.root, stage, known)
            for name, target in links.items():
                _link(stage / name, target)
            records = {**known} if add else {}
            records |= {name: Record(name, None, None) for name in links}
            refuse_doubled(source, records)
            refuse_in_the_way(store.root, records, known.keys() - records.keys())
            index, unpacked = _read(store, incoming, stage, links, console)
            if unpacked is not None:
                records = ({**known} if add else {}) | {name: Record(name, None, None) for name in _linked(stage)}
                records |= unpacked
                refuse_in_the_way(store.root, records, known.keys() - records.keys())
        removed = begin(store, incoming, records, force, keep={stage.name})
        place(store, incoming, stage)
    count = len(links) + len(unpacked or {})
    return Arrival(incoming.source, count, 0, removed, index.train["id"].nunique(), index.test["id"].nunique())


def _read(
    store: Store, incoming: Incoming, stage: Path, links: dict[str, Path], console: Console | None
) -> "tuple[Index, dict[str, Record] | None]":
    """Read the index of what is linked, with what archives hold if need be; return the files written, None if none."""
    packed = _archives(links)
    if not packed:
        return read_arrived(store, incoming, stage), None
    why = ""
    try:
        index = read_arrived(store, incoming, stage)
        if not any(index.missing.values()):
            return index, None
    except KitError as error:
        why = f"{error}; "
    try:
        with ExitStack() as opened:
            archives = [opened.enter_context(open_archive(path)) for path in packed.values()]
            written = _unpacked(stage, links, packed, archives, console or Console(silent=True))
        return read_arrived(store, incoming, stage), written
    except KitError as error:
        if error.code == DISK:
            raise
        path = next(iter(packed.values()))
        raise KitError(
            f"{why or f'{error}; '}{path} is an archive: unpack it, or give archives and csv files instead of the "
            "folder, each with --from"
        ) from None


def _is_there(store: Store, links: dict[str, Path]) -> bool:
    """Return whether each link leads where it is to lead, and nothing that was unpacked is gone."""
    names = store.files()
    if missing_files(store):
        return False
    for name in names:
        path = store.root / name
        if path.is_symlink() and not (_leads_to(path, links[name]) if name in links else path.exists()):
            return False
    return all(name in names or is_archive(name) or (store.root / name).is_dir() for name in links)


def _linked(stage: Path) -> list[str]:
    """Return the names of all links, relative to the stage."""
    found = []
    for folder, folders, names in os.walk(stage):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                found.append(os.path.relpath(path, stage))
    return found


def _archives(links: dict[str, Path]) -> dict[str, Path]:
    """Return the archives among what is linked, and in the folders there, by their names in the data's folder."""
    found: dict[str, Path] = {}
    for name, target in links.items():
        if target.is_dir():
            inside = (f"{place}{each}" for place, each in data_files(target, depth=DEEPEST) if is_archive(each))
            found |= {f"{name}/{each}": target / each for each in inside if (target / each).is_file()}
        elif is_archive(target.name) and target.is_file():
            found[name] = target
    return dict(sorted(found.items()))


def _unpacked(
    stage: Path, links: dict[str, Path], packed: dict[str, Path], archives: list[Archive], console: Console
) -> dict[str, Record]:
    """Unpack archives beside the links; a folder that holds one becomes a folder of links, so that both fit in it.

    What the folder has unpacked already is not written again, and nothing is written through a link.
    """
    there = {each for name, target in links.items() for each in _names(name, target)}
    with Plan(archives, stage, console, list(packed)) as plan:
        plan.files = list(new_files({file.name: file for file in plan.files}, there).values())
        for name in (*packed, *(file.name for file in plan.files)):
            for folder in reversed(PurePosixPath(name).parents[:-1]):
                _open_up(stage / folder)
        for archive, name in zip(archives, packed, strict=True):
            if any(file.archive is archive for file in plan.files):
                (stage / name).unlink(missing_ok=True)
        plan.write()
        return {file.name: Record(file.name, file.member.size, file.member.crc) for file in plan.files}


def _names(name: str, target: Path) -> Iterator[str]:
    """Yield the names of all files that a link leads to, relative to the data's folder."""
    if not target.is_dir():
        yield name
        return
    for folder, each in data_files(target):
        yield f"{name}/{folder}{each}"


def _open_up(path: Path) -> None:
    """Replace a link to a folder by a folder of links to what lies in it."""
    if not path.is_symlink():
        return
    target = Path(os.readlink(path))
    path.unlink()
    path.mkdir()
    for entry in sorted(target.iterdir()):
        if not is_litter(entry.name) and entry.name != OWN and entry.exists():
            _link(path / entry.name, entry)


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
