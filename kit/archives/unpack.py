"""Bring data into a store: from archives, file by file or as the miniature. It counts only once all of it is there.

`.kit/` in the competition's folder keeps track:

    files.txt         the files that kit put there, one path per line: the only ones that kit ever removes
    unfinished.json   what is arriving, from before the first file is written until everything is complete
    origin.json       what has arrived
    lock              held by the process at work
    nested, parts     inner archives and unfinished files; removed at the end
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kit.archives.archive import Archive, matches, need_space, refuse_doubled, refused, safe_name
from kit.archives.nested import Plan, digest_of, discard_nested, is_archive, open_archive, own_folder
from kit.archives.part import length, make_folder, writing
from kit.console import Console
from kit.data.store import Origin, Store
from kit.errors import KitError
from kit.files import locked, write_bytes, write_json

if TYPE_CHECKING:
    from kit.data.index import Index

OWN = {"files.txt", "unfinished.json", "origin.json", "lock"}


@dataclass(frozen=True)
class Arrival:
    """What an arrival did.

    Args:
        source: the archive's name, or the miniature's seed.
        written: number of files written.
        kept: number of files that were there already, byte for byte.
        removed: number of files of earlier data that were removed.
        train: number of training ids.
        test: number of test ids.
    """

    source: str
    written: int
    kept: int
    removed: int
    train: int
    test: int


@dataclass(frozen=True)
class Incoming:
    """What arrives: its origin, the same for people, a digest of its content, and whether it adds to earlier data."""

    origin: Origin
    source: str
    digest: str
    adds: bool = False


def from_archives(
    store: Store, paths: Sequence[Path], force: bool, console: Console, add: bool = False
) -> Arrival | None:
    """Unpack the user's archives into a store, as one; arguments and errors as for `unpack`.

    With `add` they join the data that is already there, which stays, as does what was computed from it.
    """
    with ExitStack() as opened:
        archives = [opened.enter_context(open_archive(path)) for path in paths]
        opened.enter_context(lock(store))
        incoming = Incoming("archive", ", ".join(path.name for path in paths), digest_of(archives))
        return _unpack(store, archives, _beside(store, incoming) if add else incoming, force, console)


def _beside(store: Store, incoming: Incoming) -> Incoming:
    """Merge what arrives into the note of the data already there, under its origin."""
    note = store.note
    digests = note.get("digest", "").split("+")
    # After a kill, and where everything has arrived already, the note includes these archives.
    noted = incoming.digest in digests
    if not note or note["origin"] == "miniature" or not (store.is_whole or noted):
        raise KitError(
            f"{store.root} holds no complete real data to add to: "
            f"run kit download {store.competition.name} first, or drop --add"
        )
    source = note["source"] if noted else f"{note['source']}, {incoming.source}"
    digest = "+".join(digests if noted else [*digests, incoming.digest])
    return Incoming(cast(Origin, note["origin"]), source, digest, adds=True)


@contextlib.contextmanager
def _taken_back(store: Store, incoming: Incoming, names: Iterable[str]) -> Iterator[None]:
    """Undo a failed addition to a complete store: remove its files and restore the old note.

    After a kill the addition is unfinished, like any arrival, and the same command resumes it.
    """
    note, known = store.note, store.files()
    was_whole = incoming.adds and store.is_whole
    try:
        yield
    except KitError:
        if was_whole:
            for name in set(names) - set(known):
                _remove(store.root, name)
            _write_files(store, known)
            store.set_origin(cast(Origin, note["origin"]), note["source"], note["digest"])
        raise


def unpack(store: Store, path: Path, origin: Origin, source: str, force: bool, console: Console) -> Arrival | None:
    """Unpack an archive into a store that the caller has locked. After any interruption, resume where it stopped.

    Args:
        store: where to unpack.
        path: a zip or 7z in Kaggle's layout; archives in it are unpacked too.
        origin: where the data comes from, "archive" or "kaggle".
        source: the same for people.
        force: replace data of another origin, overwrite files that kit did not write, and check every file again.
        console: shows the progress.

    Returns:
        What was done; None when everything was there already.

    Raises:
        DamagedArchive: the archive is damaged or cut short.
        KitError: the archive is unsafe or another competition's, other data is there, or space is short.
    """
    with open_archive(path) as archive:
        return _unpack(store, [archive], Incoming(origin, source, archive.digest), force, console)


def _unpack(
    store: Store, archives: Sequence[Archive], incoming: Incoming, force: bool, console: Console
) -> Arrival | None:
    root, known = store.root, set(store.files())
    at = f"{root}/"
    plain = {own_folder(each, archives) + member.name: member.size for each in archives for member in each.members}
    is_current = store.is_whole and store.note["digest"] == incoming.digest and not force and missing_files(store) == 0
    if is_current and all(length(at + name) == count for name, count in plain.items() if not is_archive(name)):
        return None
    if not force and not incoming.adds:
        _refuse_other(store, incoming.origin, incoming.digest)
    staying = known if incoming.adds else set()
    freed = sum(max(length(at + name), 0) for name in known - set(plain) - staying)
    with Plan(archives, root, freed, console) as plan:
        if not force:
            strange = (file for file in plan.files if file.name not in known)
            _refuse_overwriting(store, (f.name for f in strange if not matches(at + f.name, f.member)))
        sizes = {file.name: file.member.size for file in plan.files}
        leaving = sum(max(length(at + name), 0) for name in known - staying if name not in sizes)
        missing = [count for name, count in sizes.items() if length(at + name) != count]
        need_space(root, missing, freed=leaving)
        own = set().union(*(_own_entry(store, archive.path) for archive in archives))
        with _taken_back(store, incoming, sizes):
            removed = _begin(store, incoming, list({*staying, *sizes}), keep={"nested", *own})
            written, kept = plan.write()
            index = _finish(store, incoming)
    return Arrival(incoming.source, written, kept, removed, index.train["id"].nunique(), index.test["id"].nunique())


def missing_files(store: Store) -> int:
    """Count the files that kit put into a store and that are gone; each folder is listed once."""
    names = set(store.files())
    for folder in {name[: name.rfind("/") + 1] for name in names}:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names.difference_update([folder + name for name in os.listdir(store.root / folder)])
    return len(names)


def add_files(store: Store, files: dict[str, Path], force: bool, origin: Origin, source: str) -> None:
    """Move single files into a store that the caller has locked. A complete store stays complete.

    Args:
        store: where to move them.
        files: the temporary path of each name; on the same disk as the store.
        force: replace an existing miniature, and files that kit did not write.
        origin: where they come from.
        source: the same for people.

    Raises:
        KitError: a name leads out of the folder, a file is not kit's, or the miniature is there.
    """
    for name in files:
        if safe_name(name) != name:
            raise refused(source, name, "its name leads out of the folder or is not a plain path")
    refuse_doubled(source, files)
    known = store.files()
    if not force:
        if store.note.get("origin") == "miniature":
            _refuse_other(store, origin, "")
        _refuse_overwriting(store, files.keys() - set(known))
    if store.note.get("origin", "miniature") == "miniature":
        own = set().union(*(_own_entry(store, path) for path in files.values()))
        _begin(store, Incoming(origin, source, ""), list(files), keep=own)
    else:
        _write_files(store, {*known, *files})
    for name, path in files.items():
        make_folder(store.root, (store.root / name).parent)
        with writing(store.root / name):
            path.replace(store.root / name)


def from_miniature(store: Store, seed: int | None, force: bool) -> Arrival | None:
    """Write the synthetic miniature into a store.

    Args:
        store: where to write.
        seed: of the images; None accepts an existing miniature of any seed, or else means seed 0.
        force: replace data of another origin or seed, and files that kit did not write.

    Returns:
        What was done; None when it was there already.

    Raises:
        KitError: other data is there, or the dataset has no miniature.
    """
    if store.dataset.miniature is None:
        raise KitError(f"{store.competition.name} has no synthetic miniature: use --from ARCHIVE.zip")
    with lock(store):
        any_seed = seed is None and store.note.get("origin") == "miniature"
        source = store.note["source"] if any_seed else f"seed {seed or 0}"
        is_current = store.is_whole and store.note["source"] == source
        if is_current and not force and all((store.root / name).is_file() for name in store.files()):
            return None
        if not force:
            _refuse_other(store, "miniature", source)
        draft = store.own / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        store.dataset.miniature(draft, int(source.removeprefix("seed ")))
        names = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
        if not force:
            known = set(store.files())
            _refuse_overwriting(store, (name for name in names if name not in known))
        discard_nested(store.root)
        incoming = Incoming("miniature", source, source)
        removed = _begin(store, incoming, names, keep={"draft"})
        for name in names:
            make_folder(store.root, (store.root / name).parent)
            (draft / name).replace(store.root / name)
        shutil.rmtree(draft)
        index = _finish(store, incoming)
    return Arrival(source, len(names), 0, removed, index.train["id"].nunique(), index.test["id"].nunique())


@contextlib.contextmanager
def lock(store: Store) -> Iterator[None]:
    """Let one process at a time change a store; raise `KitError` for a second one."""
    store.own.mkdir(parents=True, exist_ok=True)
    with locked(store.own / "lock", f"another kit download is running in {store.root}: wait for it or stop it"):
        yield


def _refuse_other(store: Store, origin: Origin, digest: str) -> None:
    note = store.note
    # Without a digest the store holds single files of that origin, which the rest may follow.
    resumes = note and note["origin"] == origin and not note["digest"] and not store.is_whole
    if note and note["digest"] != digest and not resumes:
        unfinished = "" if store.is_whole else "an unfinished download of "
        raise KitError(
            f"{store.root} holds {unfinished}other data ({note['origin']}, {note['source']}): --force replaces it"
        )


def _refuse_overwriting(store: Store, names: Iterable[str]) -> None:
    """Raise `KitError` for existing files that kit did not write: they are the user's own."""
    own = next((name for name in names if os.path.lexists(store.root / name)), None)
    if own is not None:
        raise KitError(f"{store.root / own} exists and is not kit's: move it away, or overwrite it with --force")


def _begin(store: Store, incoming: Incoming, names: list[str], keep: set[str]) -> int:
    """Record what arrives, remove earlier files and what was computed from them, and return the number removed.

    `keep` names entries of `.kit` that the arrival itself still needs.
    """
    own = store.own
    earlier = store.files()
    replaces = bool(store.note) and store.note["digest"] != incoming.digest and not incoming.adds
    # List both until the earlier files are gone, so that nothing is forgotten after a kill.
    _write_files(store, {*earlier, *names})
    note = {"origin": incoming.origin, "source": incoming.source, "digest": incoming.digest}
    write_json(own / "unfinished.json", note)
    (own / "origin.json").unlink(missing_ok=True)
    leaving = sorted(set(earlier) - set(names))
    removed = sum(_remove(store.root, name) for name in leaving)
    if replaces:
        for path in own.iterdir():
            if path.name not in OWN | keep:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _write_files(store, names)
    return removed


def _finish(store: Store, incoming: Incoming) -> "Index":
    """Read the index and, if it can be trained on, record that the data has arrived."""
    name = store.competition.name
    try:
        index = store.dataset.index(store.root)
        if index.train.empty and index.controls.empty:
            raise KitError("it has no training images")
    except Exception as error:
        raise KitError(
            f"{incoming.source} was written to {store.root} but is not the data of {name} ({error}): "
            f"kit download {name} --force --from ARCHIVE.zip replaces it with the right archive"
        ) from error
    store.set_origin(incoming.origin, incoming.source, incoming.digest)
    return index


def _own_entry(store: Store, path: Path) -> set[str]:
    """Return the entry of `.kit` that contains a path, if one does."""
    own, path = store.own.resolve(), path.resolve()
    return {path.relative_to(own).parts[0]} if path.is_relative_to(own) else set()


def _write_files(store: Store, names: Iterable[str]) -> None:
    write_bytes(store.own / "files.txt", "".join(f"{name}\n" for name in sorted(names)).encode())


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
