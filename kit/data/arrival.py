"""How data arrives in a store: from an archive or as a sample; it counts as there only when all of it is.

`.kit/` in the competition's folder remembers it:

    files.txt         the files that kit put there, one path a line: the only ones that kit ever removes
    unfinished.json   what is arriving, from before the first file is written until all is whole
    origin.json       what has arrived
    lock              held by the process that is at it
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.console import Console
from kit.data.archive import Archive, length, make_folder, matches, need_space, safe_name
from kit.data.store import Origin, Store
from kit.errors import KitError
from kit.files import write_bytes, write_json

if TYPE_CHECKING:
    from kit.data.index import Index

OWN = {"files.txt", "unfinished.json", "origin.json", "lock", "draft"}


@dataclass(frozen=True)
class Arrival:
    """What came of it.

    Args:
        source: the archive's name, or the sample's seed.
        written: files written.
        kept: files that were there already, byte for byte.
        removed: files of earlier data that were removed.
        train: ids to learn from.
        test: ids to predict.
    """

    source: str
    written: int
    kept: int
    removed: int
    train: int
    test: int


def from_archive(store: Store, path: Path, force: bool, console: Console) -> Arrival | None:
    """Unpack an archive into a store. Started again after any interruption, it goes on where it stopped.

    Args:
        store: where to.
        path: a zip in the layout that Kaggle gives.
        force: replace data of another origin, overwrite files that kit did not write, and check every file anew.
        console: shows the progress.

    Returns:
        What was done; None when all of it was there already.

    Raises:
        KitError: the archive is unsafe, damaged or another competition's, other data is there, or space is missing.
    """
    with Archive(path) as archive, _lock(store):
        sizes = {member.name: member.info.file_size for member in archive.members}
        missing = [name for name in sizes if length(store.root / name) != sizes[name]]
        if store.is_whole and store.note["digest"] == archive.digest and not missing and not force:
            return None
        if not force:
            _refuse_other(store, archive.digest)
            known = set(store.files())
            strange = (member for member in archive.members if member.name not in known)
            _refuse_overwriting(store, (m.name for m in strange if not matches(store.root / m.name, m.info)))
        leaving = sum(max(length(store.root / name), 0) for name in store.files() if name not in sizes)
        need_space(store.root, [sizes[name] for name in missing], freed=leaving)
        removed = _begin(store, "archive", path.name, archive.digest, list(sizes))
        written, kept = archive.unpack(store.root, console)
        index = _finish(store, "archive", path.name, archive.digest)
    return Arrival(path.name, written, kept, removed, index.train["id"].nunique(), index.test["id"].nunique())


def from_sample(store: Store, seed: int | None, force: bool) -> Arrival | None:
    """Write the synthetic miniature into a store.

    Args:
        store: where to.
        seed: of the pictures; None takes the sample that is there whatever its seed, or else seed 0.
        force: replace data of another origin or seed, and files that kit did not write.

    Returns:
        What was done; None when it was there already.

    Raises:
        KitError: other data is there, or the dataset has no miniature.
    """
    if store.dataset.sample is None:
        raise KitError(f"{store.competition.name} has no synthetic miniature: use --from ARCHIVE.zip")
    with _lock(store):
        any_seed = seed is None and store.note.get("origin") == "sample"
        source = store.note["source"] if any_seed else f"seed {seed or 0}"
        this = store.is_whole and store.note["source"] == source
        if this and not force and all((store.root / name).is_file() for name in store.files()):
            return None
        if not force:
            _refuse_other(store, source)
        draft = store.root / ".kit" / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        store.dataset.sample(draft, int(source.removeprefix("seed ")))
        names = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
        if not force:
            known = set(store.files())
            _refuse_overwriting(store, (name for name in names if name not in known))
        removed = _begin(store, "sample", source, source, names)
        for name in names:
            make_folder(store.root, (store.root / name).parent)
            (draft / name).replace(store.root / name)
        shutil.rmtree(draft)
        index = _finish(store, "sample", source, source)
    return Arrival(source, len(names), 0, removed, index.train["id"].nunique(), index.test["id"].nunique())


@contextlib.contextmanager
def _lock(store: Store) -> Iterator[None]:
    """Let one process at a time change a store."""
    own = store.root / ".kit"
    own.mkdir(parents=True, exist_ok=True)
    with (own / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KitError(f"another kit download works in {store.root}: wait for it or stop it") from None
        yield


def _refuse_other(store: Store, digest: str) -> None:
    note = store.note
    if note and note["digest"] != digest:
        unfinished = "" if store.is_whole else "an unfinished download of "
        raise KitError(
            f"{store.root} holds {unfinished}other data ({note['origin']}, {note['source']}): --force replaces it"
        )


def _refuse_overwriting(store: Store, names: Iterable[str]) -> None:
    """Files that kit did not write are the person's own."""
    own = next((name for name in names if os.path.lexists(store.root / name)), None)
    if own is not None:
        raise KitError(f"{store.root / own} is there and not kit's: move it away, or overwrite it with --force")


def _begin(store: Store, origin: Origin, source: str, digest: str, names: list[str]) -> int:
    """Note what arrives, then remove the files of earlier data and what was computed from them; how many went."""
    own = store.root / ".kit"
    earlier = store.files()
    replaces = bool(store.note) and store.note["digest"] != digest
    # Both lists stand there while it lasts, so that after a kill nothing is forgotten.
    _write_files(store, {*earlier, *names})
    write_json(own / "unfinished.json", {"origin": origin, "source": source, "digest": digest})
    (own / "origin.json").unlink(missing_ok=True)
    leaving = sorted(set(earlier) - set(names))
    removed = sum(_remove(store.root, name) for name in leaving)
    if replaces:
        for path in own.iterdir():
            if path.name not in OWN:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _write_files(store, names)
    return removed


def _finish(store: Store, origin: Origin, source: str, digest: str) -> "Index":
    """Read the index and, when it can be learned from, record that the data is there."""
    name = store.competition.name
    try:
        index = store.dataset.index(store.root)
        if index.train.empty:
            raise KitError("it has no training images")
    except Exception as error:
        raise KitError(
            f"{source} was written to {store.root} but is not the data of {name} ({error}): "
            f"kit download {name} --force --from ARCHIVE.zip replaces it by the right archive"
        ) from error
    store.set_origin(origin, source, digest)
    return index


def _write_files(store: Store, names: Iterable[str]) -> None:
    write_bytes(store.root / ".kit" / "files.txt", "".join(f"{name}\n" for name in sorted(names)).encode())


def _remove(root: Path, name: str) -> bool:
    """Remove one file of earlier data and the folders that it leaves empty; never anything outside `root`."""
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
