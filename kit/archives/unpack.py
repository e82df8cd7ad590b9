"""Bring data into a store: from archives, file by file or as the miniature.

New data is written beside what is there, looked at, and takes its place only when it is whole and this competition's.
A kill leaves the old or, after it, what the same command completes; a failure leaves what was there.

`.kit/` in the competition's folder keeps track:

    incoming-*        what arrives, as it will lie in the folder; with its own .kit for inner archives and parts
    files.txt         the files that kit put there, the only ones that it ever removes (`kit.data.checksums`)
    unfinished.json   what is arriving where there was nothing, or is taking its place
    origin.json       what has arrived
    lock              held by the process at work
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kit.archives.archive import Archive, Member, matches, need_space, refuse_doubled, refused, safe_name, tops
from kit.archives.nested import Plan, digest_of, is_archive, open_archive, own_folder
from kit.archives.part import length, make_folder, writing
from kit.archives.stage import (
    Incoming,
    begin,
    discard_stages,
    known_note,
    own_entry,
    place,
    refuse_in_the_way,
    staged,
    take_over,
)
from kit.console import Console
from kit.data.checksums import Record, measure, recorded, tables_are_right, write_records
from kit.data.store import Origin, Store, index_of
from kit.errors import KitError

if TYPE_CHECKING:
    from kit.data.index import Index


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
        return _unpack(store, archives, beside(store, incoming) if add else incoming, force, console)


def beside(store: Store, incoming: Incoming) -> Incoming:
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
    root, known = store.root, {record.name: record for record in recorded(store.root)}
    plain = {own_folder(each, archives) + member.name: member for each in archives for member in each.members}
    plain = {name: member for name, member in plain.items() if not is_archive(name)}
    keep = set().union(*(own_entry(store, archive.path) for archive in archives))
    is_current = not force and store.is_whole and store.note["digest"] == incoming.digest and missing_files(store) == 0
    is_current = is_current and any(
        all(length(f"{root}/{name[len(top) :]}") == m.size for name, m in plain.items() if name.startswith(top))
        for top in tops(plain)
    )
    if is_current and tables_are_right(root):
        discard_stages(store)
        return None
    if not force and not incoming.adds:
        refuse_other(store, incoming.origin, incoming.digest)
    with staged(store, incoming) as stage:
        if incoming.adds:
            take_over(root, stage, known)
        take_over(root, stage, plain)
        with Plan(archives, stage, console) as plan:
            files = {file.name: file.member for file in plan.files}
            _refuse_mixing(store, known, files, force)
            take_over(root, stage, {name: member for name, member in files.items() if name not in plain})
            need_space(stage, [m.size for name, m in files.items() if length(f"{stage}/{name}") != m.size])
            written, kept = plan.write()
        index, top = _index_below(store, incoming, stage, [""] if incoming.adds else tops(files))
        if top:
            files = {name.removeprefix(top): member for name, member in files.items() if name.startswith(top)}
            _refuse_mixing(store, known, files, force)
            console.say(f"the data is in the folder {top} of {incoming.source}")
        records = {**known} if incoming.adds else {}
        records |= {name: Record(name, member.size, member.crc) for name, member in files.items()}
        refuse_in_the_way(root, records, known.keys() - records.keys())
    removed = begin(store, incoming, records, force, keep={stage.name, *keep})
    place(store, incoming, stage, top)
    return Arrival(incoming.source, written, kept, removed, index.train["id"].nunique(), index.test["id"].nunique())


def _refuse_mixing(store: Store, known: Collection[str], files: dict[str, Member], force: bool) -> None:
    """Raise `KitError` for files that would take the place of others, unless those are kit's or the same."""
    if not force:
        strange = (name for name in files if name not in known)
        refuse_overwriting(store, (name for name in strange if not matches(f"{store.root}/{name}", files[name])))


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
    known = recorded(store.root)
    if not force:
        if store.note.get("origin") == "miniature":
            refuse_other(store, origin, "")
        refuse_overwriting(store, files.keys() - {record.name for record in known})
    measured = ((name, measure(path)) for name, path in files.items())
    records = {name: Record(name, *found) for name, found in measured if found is not None}
    refuse_in_the_way(store.root, records, set())
    if known_note(store, force).get("origin", "miniature") == "miniature":
        own = set().union(*(own_entry(store, path) for path in files.values()))
        begin(store, Incoming(origin, source, ""), records, force, keep=own)
    else:
        write_records(store.root, ({record.name: record for record in known} | records).values())
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
            refuse_other(store, "miniature", source)
        incoming = Incoming("miniature", source, source)
        with staged(store, incoming) as stage:
            shutil.rmtree(stage)
            with writing(stage):
                stage.mkdir()
                store.dataset.miniature(stage, int(source.removeprefix("seed ")))
            names = sorted(path.relative_to(stage).as_posix() for path in stage.rglob("*") if path.is_file())
            records = {name: Record(name, *found) for name in names if (found := measure(stage / name))}
            known = set(store.files())
            if not force:
                refuse_overwriting(store, (name for name in names if name not in known))
            refuse_in_the_way(store.root, records, known - records.keys())
            index = read_arrived(store, incoming, stage)
        removed = begin(store, incoming, records, force, keep={stage.name})
        place(store, incoming, stage)
    return Arrival(source, len(names), 0, removed, index.train["id"].nunique(), index.test["id"].nunique())


@contextlib.contextmanager
def lock(store: Store) -> Iterator[None]:
    """Let one process at a time change a store; raise `KitError` for a second one."""
    with store.locked():
        yield


def refuse_other(store: Store, origin: Origin, digest: str) -> None:
    """Raise `KitError` for data of another origin or digest that is there, or is arriving."""
    note = store.note
    # Without a digest the store holds single files of that origin, which the rest may follow.
    resumes = note and note["origin"] == origin and not note["digest"] and not store.is_whole
    if note and note["digest"] != digest and not resumes:
        unfinished = "" if store.is_whole else "an unfinished download of "
        raise KitError(
            f"{store.root} holds {unfinished}other data ({note['origin']}, {note['source']}): --force replaces it"
        )


def refuse_overwriting(store: Store, names: Iterable[str]) -> None:
    """Raise `KitError` for existing files that kit did not write: they are the user's own."""
    own = next((name for name in names if os.path.lexists(store.root / name)), None)
    if own is not None:
        raise KitError(f"{store.root / own} exists and is not kit's: move it away, or overwrite it with --force")


def _index_below(store: Store, incoming: Incoming, stage: Path, folders: Sequence[str]) -> "tuple[Index, str]":
    """Read the index of what has arrived in the first of these folders that holds one; return that folder too."""
    errors: list[KitError] = []
    for folder in folders:
        try:
            return read_arrived(store, incoming, stage / folder), folder
        except KitError as error:
            errors.append(error)
    raise errors[-1]


def read_arrived(store: Store, incoming: Incoming, folder: Path) -> "Index":
    """Read the index of what has arrived; raise `KitError` if it can't be trained on."""
    from kit.data.index import no_images

    name = store.competition.name
    try:
        with tempfile.TemporaryDirectory() as views:
            index = index_of(store.dataset, folder, lambda: Path(views))
        if index.train.empty and index.controls.empty:
            raise KitError(f"it has {no_images(index, 'training')}")
    except Exception as error:
        if incoming.origin == "miniature":
            raise  # it is the dataset's own
        why = str(error).replace(f"{folder}/", "") or type(error).__name__
        # A dataset's own error ends with the same advice.
        why = why.partition(f": kit download {name} --from ")[0]
        raise KitError(
            f"{incoming.source} is not the data of {name}: {why}; {store.root} is as it was: "
            f"correct it, or give the right one: kit download {name} --from ARCHIVE.zip (or FOLDER)"
        ) from error
    return index
