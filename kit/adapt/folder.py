"""What lies in a folder, or in the archives in it: images by folder, tables, and files of other kinds."""

import os
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from kit.archives.archive import tops
from kit.archives.nested import Plan, Planned, is_archive, new_files, open_archive
from kit.console import Console
from kit.errors import KitError
from kit.image_files import data_files
from kit.paths import IMAGE, OWN, is_litter

TABLES = (".csv", ".tsv", ".tab", ".json")
PATIENCE = 2.0  # seconds before progress is shown
MOST_FILES = 3_000_000
LARGEST_TABLE = 1 << 30
# Kinds of which no table of labels and no image is read, by ending; `.nii.gz` counts as `.nii`.
KINDS = {
    "DICOM": (".dcm", ".dicom"),
    "volumes": (".nii", ".mha", ".mhd", ".nrrd", ".mgz"),
    "arrays": (".npy", ".npz", ".h5", ".hdf5", ".mat", ".pkl", ".pt"),
    "records": (".tfrec", ".tfrecord", ".tfrecords", ".parquet", ".feather", ".lmdb"),
    "video": (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg"),
    "audio": (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".m4a"),
}
KIND_OF = {ending: kind for kind, endings in KINDS.items() for ending in endings}


class Folder:
    """The files of a folder or archive; a context manager, since archives stay open and what is read of them lies
    in a temporary folder.

    Args:
        path: the folder or archive, which is only read.
        console: shows progress after two seconds.

    Attributes:
        top: the folder in it that holds all (`data/`), with `/`; empty if there is none.
        images: names of image files by folder, both relative to `top`: {"train/": ["a.jpg"]}.
        tables: names of tables, relative to `top`.
        kinds: the number of files of other kinds (`KINDS`).

    Raises:
        KitError: it is not there, can't be listed, or an archive in it is damaged.
    """

    def __init__(self, path: Path, console: Console) -> None:
        self.path, self.console = path, console
        self.images: dict[str, list[str]] = {}
        self.tables: list[str] = []
        self.kinds: Counter[str] = Counter()
        self.count = 0
        self._packed: dict[str, Planned] = {}
        self._opened = ExitStack()
        if not os.path.lexists(path):
            raise KitError(f"{path} is not there: give the folder that holds the competition's data")
        try:
            self._scratch = Path(self._opened.enter_context(TemporaryDirectory(prefix="kit-adapt-")))
            names = self._list()
            self.top = tops(names)[-1] if names else ""
            for name in names:
                if name.startswith(self.top):
                    self._add(name[len(self.top) :])
        except BaseException:
            self._opened.close()
            raise

    def __enter__(self) -> "Folder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _list(self) -> list[str]:
        """Return the names of all files, also of those in archives, relative to the folder."""
        if not self.path.is_dir():
            self._plan([self.path], None)
            return sorted(self._packed)
        names: list[str] = []
        shown, began = 0.0, time.monotonic()
        for place, name in data_files(self.path):
            if place.startswith(f"{OWN}/"):
                continue
            names.append(place + name)
            now = time.monotonic()
            if now - began > PATIENCE and now - shown > PATIENCE:
                shown = now
                self.console.say(f"reading the folder: {len(names):,} files so far")
            if len(names) > MOST_FILES:
                raise KitError(f"{self.path} holds more than {MOST_FILES:,} files: give the folder of one competition")
        packed = sorted(name for name in names if is_archive(name) and (self.path / name).is_file())
        there = set(names)
        if packed:
            self._plan([self.path / name for name in packed], packed)
            self._packed = new_files(self._packed, there)
        return sorted(there - set(packed) | self._packed.keys())

    def _plan(self, archives: list[Path], names: list[str] | None) -> None:
        opened = [self._opened.enter_context(open_archive(path)) for path in archives]
        plan = self._opened.enter_context(Plan(opened, self._scratch, Console(silent=True), names, looks=True))
        self._packed = {file.name: file for file in plan.files if not is_litter(file.name)}

    def _add(self, name: str) -> None:
        place, _, last = name.rpartition("/")
        place = f"{place}/" if place else ""
        lower = last.lower()
        self.count += 1
        if IMAGE.search(last):
            self.images.setdefault(place, []).append(last)
        elif lower.endswith(TABLES):
            self.tables.append(name)
        else:
            kind = KIND_OF.get(os.path.splitext(lower.removesuffix(".gz"))[1])
            if kind:
                self.kinds[kind] += 1

    def file(self, name: str) -> Path:
        """Return the path of a file by its name relative to `top`; what lies in an archive is written out first."""
        full = self.top + name
        packed = self._packed.get(full)
        if packed is None:
            return self.path / full
        path = self._scratch / "files" / full
        if not path.is_file():
            if packed.member.size > LARGEST_TABLE:
                raise KitError(f"{full} in {packed.archive.label} is too large to look at: unpack it first")
            packed.archive.write([(packed.member, str(path))], self._scratch, lambda count: None)
        return path

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        packed = self._packed.get(self.top + name)
        return packed.member.size if packed is not None else (self.path / self.top / name).stat().st_size

    @property
    def image_count(self) -> int:
        """The number of image files."""
        return sum(len(names) for names in self.images.values())
