"""A competition's data on disk: its folder, its origin, its index."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from kit.data.checksums import Checksums, read_unchanged, recorded
from kit.errors import KitError
from kit.files import cant_write, locked, need_writable, read_json, refuse_links, write_json
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, DatasetSpec
from kit.images import levels
from kit.paths import OWN, data_dir

if TYPE_CHECKING:
    from kit.data.index import Index

ORIGIN, UNFINISHED = "origin.json", "unfinished.json"
Origin = Literal["miniature", "archive", "kaggle"]


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

    origin: Literal["miniature", "archive", "kaggle", "sample"]
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
        return "absent"
    return note.origin if _origin_file(root).is_file() else "incomplete"


@dataclass(frozen=True)
class Store:
    """The data of one competition. `own` in its folder is kit's; the rest is laid out as Kaggle does it."""

    competition: Competition
    dataset: DatasetSpec
    root: Path

    @classmethod
    def of(cls, registry: Registry, name: str, dataset: str | None = None) -> "Store":
        """Return the store of a competition by any of its names; `dataset` reads the same folder in another way."""
        competition = registry.competitions.get(name)
        spec = registry.datasets.get(dataset or competition.dataset)
        return cls(competition, spec, data_dir(competition.slug))

    @property
    def own(self) -> Path:
        """The folder for what kit itself keeps beside the data."""
        return self.root / OWN

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
        return note.origin if note else None  # type: ignore[return-value]

    @property
    def is_miniature(self) -> bool:
        """Whether the data is the synthetic miniature."""
        return self.origin == "miniature"

    def writable(self, folder: Path) -> Path:
        """Return a folder in the data's, made if need be; raise `KitError` if nothing can be written into it."""
        need_writable(folder, f"copy {self.root} into a folder that is, and set KIT_DATA to that folder")
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
        own = self.own
        if own.is_symlink():
            raise KitError(f"{own} is a link, and kit writes into real folders only: link {self.root} as a whole")
        for folder in (self.root, own):
            if os.path.lexists(folder) and not folder.is_dir():
                raise KitError(f"{folder} is not a folder: move it away")
        try:
            own.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cant_write(own, error) from None
        refuse_links(own)
        with locked(own / "lock", f"another kit download is running in {self.root}: wait for it or stop it"):
            yield

    def set_origin(self, origin: Origin, source: str, digest: str = "") -> None:
        """Record that the data is complete and where it came from; `digest` tells it from other data of that origin."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        note = {"origin": origin, "source": source, "digest": digest, "at": now}
        write_json(_origin_file(self.root), note)
        (self.own / UNFINISHED).unlink(missing_ok=True)

    def index(self) -> "Index":
        """Read the index.

        Raises:
            KitError: there is no data, its tables are not what was downloaded, or it is not of this competition.
        """
        if self.origin is None:
            name = self.competition.name
            raise KitError(
                f"no data for {name} in {self.root}: kit download {name} --from ARCHIVE.zip, "
                f"or kit download {name} --miniature for the synthetic miniature"
            )

        def read() -> "Index":
            index = self.dataset.index(self.root)
            self._check(index)
            return index

        index = read_unchanged(lambda: Checksums.of(self.root).check_tables(), read)
        levels.provide(index.root, lambda: self._levels(index))
        return index

    def _levels(self, index: "Index") -> Mapping[str, levels.Range]:
        from kit.data.images import measured_levels

        frame = index.train if len(index.train) else index.test
        return measured_levels(index.root, frame, self.own / f"levels-{self.dataset.name}")

    def _check(self, index: "Index") -> None:
        """Check the index against the competition, whose facts are known without any data."""
        facts, name = self.competition, self.dataset.name
        if index.task.name != facts.task:
            raise KitError(
                f"dataset {name} has a {index.task} index, competition {facts.name} is {facts.task}: tell its author"
            )
        if facts.classes and name == facts.dataset and index.classes != facts.classes:
            raise KitError(
                f"dataset {name} has the classes {', '.join(index.classes[:5])} ..., competition {facts.name} says "
                f"{', '.join(facts.classes[:5])} ...: tell its author"
            )
        from kit.data.index import check_values

        check_values(index)


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
