"""Download a competition's data from Kaggle: sizes first, the transfer, the unpacking; or single files of it."""

import fnmatch
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kit.archives.archive import Archive, DamagedArchive, free_space, need_space, safe_name
from kit.archives.unpack import Arrival, add_files, lock, missing_files, unpack
from kit.console import Console, size
from kit.data.checksums import is_as_recorded, recorded
from kit.data.store import Store
from kit.errors import NETWORK, KitError
from kit.kaggle.client import Kaggle
from kit.kaggle.transfer import Transfer

T = TypeVar("T")
ARRIVALS = 3  # times that an archive may prove damaged inside


def from_kaggle(store: Store, keep: bool, force: bool, console: Console) -> tuple[Arrival | None, Path | None]:
    """Fetch the archive of a competition and unpack it. After any interruption, another call resumes where it stopped.

    Args:
        store: gets the data.
        keep: leave the archive beside the data's folder.
        force: fetch and unpack again, replacing data of another origin and files that kit did not write.
        console: shows the progress.

    Returns:
        What was done, None if all data was there already; and the kept archive.

    Raises:
        KitError: credentials, rules, network, space, or other data in the store.
    """
    with lock(store):
        if not force and _is_there(store, console):
            return None, None
        archive = _folder(store) / f"{store.root.name}.zip"

        def arrive() -> Arrival | None:
            if not archive.is_file():
                _fetch(store, archive, console)
            return unpack(store, archive, "kaggle", store.competition.slug, force, console)

        arrival = _undamaged(arrive, archive, console)
        kept = None
        if keep:
            # Beside the folder itself, not beside a link to it, so that the rename stays on one disk.
            kept = store.root.resolve().parent / archive.name
            os.replace(archive, kept)
        shutil.rmtree(_folder(store))
    return arrival, kept


def some_from_kaggle(store: Store, patterns: list[str], force: bool, console: Console) -> tuple[list[str], list[str]]:
    """Fetch single files whose path or name matches one of the patterns (`*`, `?`, `[...]`).

    Returns:
        Names of the files that were fetched, and of those that were already there.
    """
    with lock(store), Kaggle(store.competition, console) as kaggle:
        sizes = _matching(kaggle, patterns)
        known = {record.name: record for record in recorded(store.root)}
        present = [name for name in sizes if not force and name in known and is_as_recorded(store.root, known[name])]
        wanted = [name for name in sizes if name not in present]
        need_space(store.root, [sizes[name] for name in wanted])
        console.say(f"{len(wanted):,} of {len(sizes):,} files to download, {size(sum(sizes[name] for name in wanted))}")
        for name in wanted:
            # A name of its own, so that the remains of another file are never resumed.
            path = _folder(store) / hashlib.sha256(name.encode()).hexdigest()[:16]

            def arrive(name: str = name, path: Path = path) -> Path:
                transfer = Transfer(lambda: kaggle.sign(name), path, name, console)
                transfer.begin()
                transfer.run()
                return _unzipped(store, path, name)

            add_files(store, {name: _undamaged(arrive, path, console)}, force, "kaggle", store.competition.slug)
        shutil.rmtree(_folder(store))
    return wanted, present


def _undamaged(arrive: Callable[[], T], path: Path, console: Console) -> T:
    """Return what `arrive` returns; if the file at `path` proves damaged inside, remove it and let it arrive again."""
    for _ in range(ARRIVALS - 1):
        try:
            return arrive()
        except DamagedArchive:
            path.unlink()
            console.warn(f"{path.name} arrived damaged (a checksum inside is wrong): fetching it again")
    try:
        return arrive()
    except DamagedArchive:
        path.unlink()
        raise KitError(
            f"{path.name} arrived damaged {ARRIVALS} times (a checksum inside is wrong): "
            "run the same command again later",
            NETWORK,
        ) from None


def _is_there(store: Store, console: Console) -> bool:
    """Return whether there is nothing to do; raise `KitError` for data of another origin."""
    name, note = store.competition.name, store.note
    if store.is_whole and store.origin != "miniature":
        missing = missing_files(store)
        if not missing:
            return True
        if store.origin == "archive":
            raise KitError(
                f"{missing:,} files of {note['source']} are missing in {store.root}: "
                f"kit download {name} --from {note['source']} restores them, --force fetches all from Kaggle"
            )
        console.say(f"{missing:,} files are missing: fetching the archive again")
    elif note and note["origin"] != "kaggle":
        unfinished = "" if store.is_whole else "an unfinished download of "
        raise KitError(
            f"{store.root} holds {unfinished}other data ({note['origin']}, {note['source']}): --force replaces it"
        )
    return False


def _fetch(store: Store, archive: Path, console: Console) -> None:
    """Say what will be fetched, check that it fits on the disk, and fetch it."""
    with Kaggle(store.competition, console) as kaggle:
        count, unpacked, whole = kaggle.summary()
        transfer = Transfer(kaggle.sign, archive, archive.name, console)
        total = transfer.begin().total
        console.say(
            f"{store.competition.slug}: {'' if whole else 'at least '}{count:,} files, {size(unpacked)}"
            + (f"; archive {size(total)}" if total >= 0 else "")
            + (f", {size(transfer.done)} of it already there" if transfer.done else "")
            + f"; {size(free_space(store.root))} free in {store.root}"
        )
        need_space(store.root, [transfer.left, unpacked])
        transfer.run()


def _matching(kaggle: Kaggle, patterns: list[str]) -> dict[str, int]:
    """Return the sizes of the matching files by name; a pattern without wildcards is a name and needs no listing."""
    plain = [pattern for pattern in patterns if not any(sign in pattern for sign in "*?[")]
    listed = dict(kaggle.files(pages=None if len(plain) < len(patterns) else 1)[0])
    found = {name: listed.get(name, 0) for name in plain}
    for pattern in sorted(set(patterns) - set(plain)):
        names = [n for n in listed if fnmatch.fnmatch(n, pattern) or fnmatch.fnmatch(n.rsplit("/", 1)[-1], pattern)]
        if not names:
            some = ", ".join(list(listed)[:8])
            raise KitError(f"no file of {kaggle.slug} matches {pattern!r}: there are {some} ...")
        found.update((name, listed[name]) for name in names)
    strange = next((name for name in found if safe_name(name) != name), None)
    if strange is not None:
        raise KitError(f"{strange!r} is not a plain path: name a file below the data's folder")
    return found


def _unzipped(store: Store, path: Path, name: str) -> Path:
    """Return the file itself where Kaggle has zipped it, as it does large single files."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04" or name.lower().endswith(".zip"):
            return path
    with Archive(path, name) as archive:
        if [member.name.rsplit("/", 1)[-1] for member in archive.members] != [name.rsplit("/", 1)[-1]]:
            return path
        plain = path.with_suffix(".plain")
        archive.write([(archive.members[0], str(plain))], store.root, lambda count: None)
    path.unlink()
    return plain


def _folder(store: Store) -> Path:
    folder = store.inside / "download"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
