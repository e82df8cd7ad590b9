"""A competition's data on disk: its folder, its origin, its index."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from kit.errors import KitError
from kit.files import check_writable, read_json, write_json
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, DatasetSpec
from kit.paths import OWN, data_dir

if TYPE_CHECKING:
    from kit.data.index import Index

Origin = Literal["miniature", "archive", "kaggle"]


def data_state(root: Path) -> str:
    """Return the state of a competition's folder: absent, incomplete (arrival interrupted), or the data's origin."""
    note = _read_note(root)
    if not note:
        return "absent"
    return note["origin"] if _origin_file(root).is_file() else "incomplete"


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
        return _read_note(self.root)

    @property
    def is_whole(self) -> bool:
        """Whether data has arrived and, as far as kit knows, is complete."""
        return _origin_file(self.root).is_file()

    @property
    def origin(self) -> Origin | None:
        """Where the data came from; None unless it has arrived completely."""
        return cast(Origin, self.note["origin"]) if self.is_whole else None

    @property
    def is_miniature(self) -> bool:
        """Whether the data is the synthetic miniature."""
        return self.origin == "miniature"

    def writable(self, folder: Path) -> Path:
        """Return a folder in the data's, made if need be; raise `KitError` if nothing can be written into it."""
        check_writable(folder, f"copy {self.root} into a folder that is, and set KIT_DATA to that folder")
        return folder

    def files(self) -> list[str]:
        """Return the files that kit put there, relative to the folder."""
        path = self.own / "files.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []

    def set_origin(self, origin: Origin, source: str, digest: str = "") -> None:
        """Record that the data is complete and where it came from; `digest` tells it from other data of that origin."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        note = {"origin": origin, "source": source, "digest": digest, "at": now}
        write_json(_origin_file(self.root), note)
        (self.own / "unfinished.json").unlink(missing_ok=True)

    def index(self) -> "Index":
        """Read the index; without data, raise a `KitError` with the command that downloads it."""
        if self.origin is None:
            name = self.competition.name
            raise KitError(
                f"no data for {name} in {self.root}: kit download {name} --from ARCHIVE.zip, "
                f"or kit download {name} --miniature for the synthetic miniature"
            )
        index = self.dataset.index(self.root)
        self._check(index)
        return index

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
    return root / OWN / "origin.json"


def _read_note(root: Path) -> dict[str, str]:
    for path in (_origin_file(root), root / OWN / "unfinished.json"):
        if path.is_file():
            note: dict[str, str] = {"digest": "", **read_json(path, dict[str, str], sealed=False)}
            # Before format 2, kit called the miniature a sample.
            return note | ({"origin": "miniature"} if note["origin"] == "sample" else {})
    return {}
