"""Size and CRC-32 of every file that kit put into a data folder, so that a changed byte is noticed when it is read.

`.kit/files.txt` has a line `path<TAB>size<TAB>crc32` for each file, sorted by path, below a seal: the SHA-256 of these
lines. Earlier kits wrote paths alone, without a seal; for such files there is nothing to compare with.
"""

import contextlib
import hashlib
import mmap
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

from kit.console import Console
from kit.errors import KitError, PluginError
from kit.files import open_plain, write_bytes
from kit.paths import IMAGE_ENDINGS, OWN

if TYPE_CHECKING:
    from kit.data.store import Store

T = TypeVar("T")
FILES = "files.txt"
CHUNK = 1 << 20
LINE = re.compile(rb"([^\t\n]+)(?:\t(\d{1,18})\t([0-9a-f]{8}))?")
SEAL = re.compile(rb"\tsha256\t([0-9a-f]{64})\n")
# A line whose file has an ending, and not that of an image.
TABLE = re.compile(rb"\.(?!(?i:%s)\t)[^.\t\n/]+\t" % "|".join(IMAGE_ENDINGS).encode())
LARGEST_TABLE = 1 << 28  # bytes; larger files are no tables and take seconds
MOST_OPEN = 8  # data folders


class Record(NamedTuple):
    """What is on record of a file: its path relative to the data folder, its size and checksum (None: not known)."""

    name: str
    size: int | None
    crc: int | None


class Checksums:
    """The record of a data folder's files, looked up on disk: 750,000 files take no memory and no time to load."""

    def __init__(self, root: Path) -> None:
        self.root, self._begin = root, 0
        self._lines: bytes | mmap.mmap = b""
        try:
            with open_plain(root / OWN / FILES, "r") as file:
                if os.fstat(file.fileno()).st_size:
                    self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            return
        seal = SEAL.match(self._lines)
        self._begin = seal.end() if seal else 0
        if seal:
            with memoryview(self._lines) as view:
                sealed = hashlib.sha256(view[self._begin :]).hexdigest() == seal[1].decode()
        else:
            sealed = self._lines.find(b"\t") < 0
        # The search relies on whole lines.
        sealed = sealed and (not seal or self._lines[-1:] == b"\n")
        if not sealed:
            raise self._damaged("its own checksum differs")

    @classmethod
    def of(cls, root: Path) -> "Checksums":
        """Return the record of a data folder; its seal is checked once per process.

        Raises:
            KitError: the record was damaged or changed by hand.
        """
        try:
            status = os.lstat(root / OWN / FILES)
        except OSError:
            return cls(root)
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = _opened.get(root)
        if known is None or known[0] != state:
            if len(_opened) >= MOST_OPEN:
                _opened.clear()
            known = _opened[root] = (state, cls(root))
        return known[1]

    def __reduce__(self) -> tuple[object, ...]:
        return Checksums.of, (self.root,)

    def __iter__(self) -> Iterator[Record]:
        """Iterate over all records, sorted by path."""
        at = self._begin
        while at < len(self._lines):
            record, at = self._at(at)
            yield record

    def get(self, name: str) -> Record | None:
        """Return what is on record of a file; None if kit did not put it there."""
        wanted, lines = name.encode(errors="surrogateescape"), self._lines
        low, high = self._begin, len(lines)
        while low < high and self._begin:
            at = max(lines.rfind(b"\n", low, (low + high) // 2) + 1, low)
            end = lines.find(b"\n", at, high)
            found = lines[at:end].partition(b"\t")[0]
            if found == wanted:
                return self._at(at)[0]
            low, high = (end + 1, high) if found < wanted else (low, at)
        return None

    def fits(self, name: str, content: bytes) -> bool:
        """Return whether the content of a file is what is on record of it, if anything is."""
        record = self.get(name)
        return record is None or record.crc is None or not _differs(record, len(content), zlib.crc32(content))

    def check_file(self, name: str) -> None:
        """Raise `KitError` if a file is not what is on record of it, or is gone."""
        record = self.get(name)
        if record is not None and record.crc is not None:
            self._refuse(record, _wrong(self.root, record))

    def check_tables(self) -> None:
        """Check all files that are no images, as far as they may be tables."""
        for found in TABLE.finditer(self._lines, self._begin) if self._begin else ():
            record, _ = self._at(self._lines.rfind(b"\n", 0, found.start()) + 1)
            if record.size is not None and record.size <= LARGEST_TABLE:
                self._refuse(record, _wrong(self.root, record))

    def _refuse(self, record: Record, wrong: str) -> None:
        if wrong:
            name = self.root.name
            raise KitError(
                f"{self.root / record.name} is not what was downloaded ({wrong}): "
                f"kit download {name} --force, given the same source as before, restores it; "
                f"kit verify {name} --accept takes the files as they are now"
            )

    def _at(self, at: int) -> tuple[Record, int]:
        end = self._lines.find(b"\n", at)
        found = LINE.fullmatch(self._lines[at:end]) if end >= 0 else None
        record = _record(found) if found else None
        if record is None:
            raise self._damaged("a line of it is none of kit's")
        return record, end + 1

    def _damaged(self, why: str) -> KitError:
        return KitError(
            f"{self.root / OWN / FILES} was damaged or changed by hand ({why}): kit download {self.root.name} --force, "
            "given the same source as before, makes it anew"
        )


_opened: dict[Path, tuple[tuple[int, ...], Checksums]] = {}


class ChangedData(KitError):
    """What `kit.data` read from files that are not what was downloaded: `content`, for who can say more about it."""

    def __init__(self, error: KitError, content: object) -> None:
        super().__init__(str(error), error.code, error.ways)
        self.content = content

    def __reduce__(self) -> tuple[object, ...]:
        # To another process goes what happened, not the content.
        return KitError, (str(self), self.code, self.ways)


def read_unchanged(check: Callable[[], object], read: Callable[[], T]) -> T:
    """Return what `read` returns; raise what `check` raises, unless `read` itself names what is wrong.

    What is wrong with the content of a file helps more than that the file has changed.

    Raises:
        ChangedData: `check` raised an error, though the content could be read.
    """
    changed: KitError | None = None
    try:
        check()
    except KitError as error:
        changed = error
    try:
        content = read()
    except Exception as error:
        if changed is None or (isinstance(error, KitError) and not isinstance(error, PluginError)):
            raise
        raise changed from None
    if changed is not None:
        raise ChangedData(changed, content) from None
    return content


def _record(line: re.Match[bytes]) -> Record | None:
    """Return what a line says; None for a path that is none or leads elsewhere."""
    try:
        name = line[1].decode()
    except UnicodeDecodeError:
        return None
    if name.startswith("/") or "\0" in name or ".." in name.split("/"):
        return None
    return Record(name, *((int(line[2]), int(line[3], 16)) if line[2] else (None, None)))


def tables_are_right(root: Path) -> bool:
    """Return whether the record is whole and all tables are what it says."""
    try:
        Checksums.of(root).check_tables()
    except KitError:
        return False
    return True


def recorded(root: Path) -> list[Record]:
    """Return all records that can be read, also of a list that was damaged: for what replaces the data."""
    with contextlib.suppress(FileNotFoundError), open_plain(root / OWN / FILES, "r") as file:
        content: bytes = file.buffer.read()  # type: ignore[attr-defined]
        lines = (LINE.fullmatch(line) for line in content.split(b"\n"))
        return [record for line in lines if line and (record := _record(line))]
    return []


def write_records(root: Path, records: Iterable[Record]) -> None:
    """Write and seal the list of a data folder's files."""
    lines = [
        name.encode() + (b"\t%d\t%08x\n" % (size, crc) if size is not None and crc is not None else b"\n")
        for name, size, crc in sorted(records)
    ]
    content = b"".join(lines)
    write_bytes(root / OWN / FILES, b"\tsha256\t%s\n" % hashlib.sha256(content).hexdigest().encode() + content)


def measure(path: Path | str) -> tuple[int, int] | None:
    """Return the size and the CRC-32 of a file; None if there is no plain file."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would block
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            return None
        size = crc = 0
        while chunk := os.read(number, CHUNK):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        return size, crc
    finally:
        os.close(number)


def crc_of(file: BinaryIO) -> tuple[int, int]:
    """Return the number of the bytes that are left in an open file, and their CRC-32."""
    size = crc = 0
    while chunk := file.read(CHUNK):
        size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return size, crc


def _wrong(root: Path, record: Record) -> str:
    """Return what is wrong with a file; empty if nothing is, or nothing is on record."""
    if record.crc is None and (root / record.name).is_symlink():
        return "" if (root / record.name).exists() else f"it leads to {os.readlink(root / record.name)}, which is gone"
    try:
        found = measure(root / record.name)
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    return "it is missing" if found is None else _differs(record, *found)


def is_as_recorded(root: Path, record: Record) -> bool:
    """Return whether a file is what is on record of it."""
    return not _wrong(root, record)


def _differs(record: Record, size: int, crc: int) -> str:
    if record.size is not None and size != record.size:
        return f"it has {size:,} bytes, not {record.size:,}"
    return "its checksum differs" if record.crc is not None and crc != record.crc else ""


def verify_data(store: "Store", console: Console) -> list[tuple[str, str]]:
    """Compare all files of a competition's data with what is on record; return each that differs, and in what.

    Raises:
        KitError: the record itself is damaged.
    """
    records = list(Checksums.of(store.root))
    wrong: list[tuple[str, str]] = []
    with console.progress("verify", sum(record.size or 0 for record in records), "bytes") as progress:
        for record in records:
            why = _wrong(store.root, record)
            if why:
                wrong.append((record.name, why))
            progress.advance(record.size or 0)
    unknown = sum(record.crc is None and not (store.root / record.name).is_symlink() for record in records)
    if unknown:
        console.warn(
            f"{unknown:,} files have no checksum on record (an earlier kit wrote them): "
            f"kit verify {store.root.name} --accept records them as they are now"
        )
    return wrong


def accept_data(store: "Store", names: Iterable[str]) -> None:
    """Record files as they are now (`store.files()` for all); those that are gone leave the record."""
    with store.locked():
        known = {record.name: record for record in recorded(store.root)}
        for name in names:
            if (store.root / name).is_symlink():
                continue
            found = measure(store.root / name)
            if found is None:
                known.pop(name, None)
            elif name in known:
                known[name] = Record(name, *found)
        write_records(store.root, known.values())
