"""A competition's data on disk: its folder, its origin, its index, and where kit keeps what it makes of it.

Kit brings data to `$KIT_DATA/<slug>/` and notes in its `.kit` what has arrived. Data without that note was made by
others: it is used as it lies, and nothing is written into its folder.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from kit.data.checksums import FILES, Checksums, read_unchanged, recorded
from kit.errors import KitError
from kit.files import cant_write, locked, need_writable, read_json, refuse_links, write_json
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, DatasetSpec
from kit.images import levels
from kit.paths import IMAGE, OWN, cache_dir, data_dir, holds_data, is_writable, own_data_dir, walk
from kit.splits import divided_in, views

if TYPE_CHECKING:
    from kit.data.index import Index

ORIGIN, UNFINISHED = "origin.json", "unfinished.json"
PICTURES = "explore"
MOST_TABLES, LARGE = 100, 1 << 26  # files of a folder, bytes
# `folder`: others made it, and it is used as it lies.
Origin = Literal["miniature", "archive", "kaggle", "folder"]


@dataclass(frozen=True)
class Note:
    """What has arrived (`.kit/origin.json`) or is arriving (`.kit/unfinished.json`).

    Args:
        origin: where it comes from; before format 2, kit called the miniature a sample.
        source: the same for people.
        digest: tells it from other data of that origin.
        at: when it was complete.
        clears: whether it replaces other data, and what was computed from that is removed.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    origin: Literal["miniature", "archive", "kaggle", "folder", "sample"]
    source: str
    digest: str = ""
    at: str = ""
    clears: bool = False


def data_state(root: Path) -> str:
    """Return the state of a competition's folder: absent, incomplete (arrival interrupted), damaged, or its origin."""
    try:
        note = _read_note(root)
    except KitError:
        return "damaged"
    if note is None:
        return "folder" if is_foreign(root) else "absent"
    return note.origin if _origin_file(root).is_file() else "incomplete"


def is_foreign(root: Path) -> bool:
    """Return whether data lies in a folder to which kit did not bring it: nothing is written into that."""
    brought = any(os.path.lexists(root / OWN / name) for name in (ORIGIN, UNFINISHED, FILES))
    return not brought and holds_data(root, {OWN, PICTURES})


def identity(root: Path) -> str:
    """Return what tells data from other data, wherever it lies: a digest of its tables and of the names of all files.

    No image is read: 220,025 names take some tenths of a second.
    """
    digest = hashlib.sha256()
    for folder, folders, names in walk(root):
        if folder == str(root):
            folders[:] = [name for name in folders if name not in (OWN, PICTURES)]
        listed = [os.path.relpath(folder, root), *names, ""]
        digest.update("\0".join(listed).encode(errors="surrogateescape"))
        others = [name for name in names if not IMAGE.search(name)]
        for name in others:
            _add_content(digest, Path(folder, name), whole=len(others) <= MOST_TABLES)
    return digest.hexdigest()[:16]


def _add_content(digest: "hashlib._Hash", path: Path, whole: bool) -> None:
    """Add the content of what may be a table; where that is large, or one of many files, its size and time."""
    with contextlib.suppress(OSError):
        state = path.stat()
        if whole and path.is_file() and state.st_size <= LARGE:
            digest.update(path.read_bytes())
        else:
            digest.update(f"{state.st_size} {state.st_mtime_ns}".encode())


@dataclass(frozen=True)
class Store:
    """The data of one competition.

    Args:
        competition: its facts.
        dataset: reads the data.
        root: the folder in which the data lies, laid out as Kaggle does it. What kit brought has `inside` in it.
    """

    competition: Competition
    dataset: DatasetSpec
    root: Path

    @classmethod
    def of(cls, registry: Registry, name: str, dataset: str | None = None) -> "Store":
        """Return the store of a competition by any of its names; `dataset` reads the same folder in another way."""
        competition = registry.competitions.get(name)
        spec = registry.datasets.get(dataset or competition.dataset)
        return cls(competition, spec, data_dir(competition.slug))

    def to_fill(self) -> "Store":
        """Return the store of the same competition in `$KIT_DATA`, to which kit brings data."""
        return replace(self, root=own_data_dir(self.competition.slug))

    @property
    def inside(self) -> Path:
        """Kit's folder in that of the data: the record of what has arrived."""
        return self.root / OWN

    @property
    def is_foreign(self) -> bool:
        """Whether the data lies in a folder to which kit did not bring it."""
        return is_foreign(self.root)

    @property
    def own(self) -> Path:
        """The folder for what kit makes of the data: `inside`, or in `$KIT_CACHE` where that is not to be written."""
        if not self.is_foreign and is_writable(self.inside):
            return self.inside
        return cache_dir() / self._cache

    @cached_property
    def _cache(self) -> str:
        return f"{self.root.name}-{identity(self.root)}"

    @property
    def _views(self) -> str:
        # Links lead to this place: a copy elsewhere has views of its own.
        return f"views-{hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:8]}"

    @property
    def pictures(self) -> Path:
        """The folder for pictures of the data."""
        return (self.root if self.own == self.inside else self.own) / PICTURES

    @property
    def places(self) -> tuple[Path, ...]:
        """Where to look for what kit has made: `own`, and `inside` of data that kit brought and that is read-only."""
        own = self.own
        return (own,) if own == self.inside or self.is_foreign else (own, self.inside)

    def kept(self, name: str) -> Path:
        """Return the path of a file that kit may have made, in the first of `places` that has it, or else in `own`."""
        return next((place / name for place in self.places if (place / name).exists()), self.own / name)

    @property
    def note(self) -> dict[str, str]:
        """What has arrived or is arriving: `origin`, `source` (for people) and `digest`; empty without data."""
        note = _read_note(self.root)
        return {} if note is None else {"origin": note.origin, "source": note.source, "digest": note.digest}

    @property
    def clears(self) -> bool:
        """Whether a killed arrival was replacing other data."""
        note = None if self.is_whole else _read_note(self.root)
        return note is not None and note.clears

    @property
    def is_whole(self) -> bool:
        """Whether data has arrived and, as far as kit knows, is complete."""
        return _origin_file(self.root).is_file()

    @property
    def origin(self) -> Origin | None:
        """Where the data came from; None unless it has arrived completely."""
        note = _read_note(self.root) if self.is_whole else None
        if note is None:
            return "folder" if self.is_foreign else None
        return note.origin  # type: ignore[return-value]

    @property
    def is_miniature(self) -> bool:
        """Whether the data is the synthetic miniature."""
        return self.origin == "miniature"

    def writable(self, folder: Path) -> Path:
        """Return a folder of kit's own, made if need be; raise `KitError` if nothing can be written into it."""
        need_writable(folder, "set KIT_CACHE to a folder that is")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def files(self) -> list[str]:
        """Return the files that kit put there, relative to the folder."""
        return [record.name for record in recorded(self.root)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time change the data; make the folder if it is not there.

        Raises:
            KitError: another process changes it, or something in `.kit` would lead kit's writing elsewhere.
        """
        own = self.inside
        if own.is_symlink():
            raise KitError(f"{own} is a link, and kit writes into real folders only: link {self.root} as a whole")
        for folder in (self.root, own):
            if os.path.lexists(folder) and not folder.is_dir():
                raise KitError(f"{folder} is not a folder: move it away")
        made = [folder for folder in (own, *own.parents) if not folder.exists()]
        try:
            own.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cant_write(own, error) from None
        refuse_links(own)
        lock, busy = own / "lock", f"another kit download is running in {self.root}: wait for it or stop it"
        with locked(lock, busy):
            if not lock.exists():
                raise KitError(busy)  # it has just ended, and taken the lock with it
            try:
                yield
            finally:
                # What was refused leaves nothing behind.
                if own in made and os.listdir(own) == [lock.name]:
                    lock.unlink()
                    with contextlib.suppress(OSError):
                        for folder in made:
                            folder.rmdir()

    def set_origin(self, origin: Origin, source: str, digest: str = "") -> None:
        """Record that the data is complete and where it came from; `digest` tells it from other data of that origin."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        note = {"origin": origin, "source": source, "digest": digest, "at": now}
        write_json(_origin_file(self.root), note)
        (self.inside / UNFINISHED).unlink(missing_ok=True)

    def index(self) -> "Index":
        """Read the index.

        Raises:
            KitError: there is no data, its tables are not what was downloaded, or it is not of this competition.
        """
        if self.origin is None:
            name = self.competition.name
            raise KitError(
                f"no data for {name} in {self.root}: kit download {name} --from ARCHIVE.zip (or --from FOLDER), "
                f"or kit download {name} --miniature for the synthetic miniature"
            )

        def read() -> "Index":
            self.check_links()
            index = index_of(self.dataset, self.root, lambda: cache_dir() / self._cache / self._views)
            self._check(index)
            return index

        index = read_unchanged(lambda: Checksums.of(self.root).check_tables(), read)
        levels.provide(index.root, lambda: self._levels(index))
        return index

    def _levels(self, index: "Index") -> Mapping[str, levels.Range]:
        from kit.data.images import measured_levels

        frame = index.train if len(index.train) else index.test
        return measured_levels(index.root, frame, self.own / f"levels-{self.dataset.name}")

    def check_links(self) -> None:
        """Raise `KitError` if a link to the person's own folder leads nowhere by now."""
        for name in self.files() if self.origin == "folder" else ():
            link = self.root / name
            if link.is_symlink() and not link.exists():
                name = self.competition.name
                raise KitError(
                    f"{link} leads to {os.readlink(link)}, which is gone: bring it back, or "
                    f"kit download {name} --force --from FOLDER links it anew"
                )

    def _check(self, index: "Index") -> None:
        """Check the index against the competition, whose facts are known without any data."""
        facts, name = self.competition, self.dataset.name
        if index.task.name != facts.task:
            raise KitError(
                f"dataset {name} has a {index.task} index, competition {facts.name} is {facts.task}: tell its author"
            )
        if facts.classes and name == facts.dataset and index.classes != tuple(facts.classes):
            raise KitError(
                f"dataset {name} has the classes {', '.join(index.classes[:5])} ..., competition {facts.name} says "
                f"{', '.join(facts.classes[:5])} ...: tell its author"
            )
        from kit.data.index import check_samples

        check_samples(index)


def index_of(dataset: DatasetSpec, root: Path, views_in: Callable[[], Path]) -> "Index":
    """Read the index of a data folder; where files are divided into splits, as the tree that they came from.

    Args:
        dataset: reads it.
        root: the folder.
        views_in: says where views of divided data are kept (`kit.splits`).

    Raises:
        KitError: the dataset can read neither the folder nor a view of it.
    """
    best: Index | None = None
    failed: KitError | None = None
    try:
        best = dataset.index(root)
        if _is_complete(best):
            return best
    except KitError as error:
        failed = error
    for view in views(root, views_in):
        try:
            found = dataset.index(view)
        except Exception:  # a view is one guess of several
            continue
        if best is None or _count(found) > _count(best):
            best = found
            if _is_complete(best):
                break
    divided = divided_in(root) if best is None or not _count(best) else None
    if divided is not None:
        why = failed or f"{root} holds no training images"
        raise KitError(f"{why}; {divided} holds splits: kit merge-files {divided} TARGET restores the tree they are of")
    if best is None:
        raise failed or KitError(f"{root} holds no data")
    return best


def _count(index: "Index") -> int:
    return len(index.train) + len(index.test) + len(index.controls)


def _is_complete(index: "Index") -> bool:
    return len(index.train) > 0 and not any(index.missing.values())


def _origin_file(root: Path) -> Path:
    return root / OWN / ORIGIN


def _read_note(root: Path) -> Note | None:
    for path in (_origin_file(root), root / OWN / UNFINISHED):
        if path.is_file():
            mend = f"kit download {root.name} --force, given the same source as before, makes it anew"
            # Earlier kits did not seal it.
            note = read_json(path, Note, mend, sealed=False)
            return replace(note, origin="miniature") if note.origin == "sample" else note
    return None
