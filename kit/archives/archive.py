"""Archives: check every member before a byte is written, then unpack with a few threads, resumably."""

import copy
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from kit.archives.expand import TooLarge, expanded
from kit.archives.kinds import DamagedArchive, not_taken
from kit.archives.part import Differs, Part, holds, make_folder, parts
from kit.archives.workers import Stop, in_order
from kit.console import size
from kit.data.checksums import crc_of
from kit.errors import DISK, KitError
from kit.paths import OWN, is_litter

CHUNK = 1 << 20
BLOCK = 4096  # the least that a file takes on disk
# Images barely compress and tables by a factor of tens; only a bomb grows by more than this.
MAX_RATIO, RATIO_FLOOR = 100, 100_000_000
PACKED = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
KINDS = (0, stat.S_IFREG, stat.S_IFDIR)  # 0: made by a tool that stores no unix mode
# What zipfile and the decompressors raise on damaged input.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, IndexError, OSError, OverflowError, MemoryError, AttributeError, TypeError),
)
# The largest data of a competition has some 800,000 files; a name of 65,000 bytes takes 1 GB to take apart.
MOST_MEMBERS, LONGEST_NAME, DEEPEST = 900_000, 1000, 50
LARGEST_DIRECTORY = 1 << 29  # bytes
MOST_TOPS = 4  # folders around the data of an archive
NOTES = ("", ".md", ".txt", ".json", ".pdf", ".html")  # what may lie beside the one folder
ENTRY = b"PK\x01\x02"
# Names that need no closer look.
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. +-]{0,254}(/[A-Za-z0-9_][A-Za-z0-9_. +-]{0,254}){0,9}")


class Member(NamedTuple):
    """One entry of an archive.

    Args:
        name: the relative path with `/`, already checked for the members of `Archive.members`.
        size: of the file in bytes.
        crc: its CRC-32.
        packed: its size in the archive, in bytes.
        kind: the file type of its unix mode, 0 where there is none.
        is_folder: whether it is a folder.
        is_locked: whether it is encrypted.
        key: what the archive's reader finds it by.
    """

    name: str
    size: int
    crc: int
    packed: int
    kind: int
    is_folder: bool
    is_locked: bool
    key: Any


Target = tuple[Member, str]  # paths as text: 277,483 Path objects take seconds and much memory


class Archive:
    """A zip archive that is safe to unpack, and a context manager. Opening it checks everything but the contents.

    Args:
        path: the archive.
        label: what messages call it; by default the path.

    Raises:
        DamagedArchive: it is not a zip, or is cut short.
        KitError: it is encrypted, or has a member that no harmless archive has.
    """

    def __init__(self, path: Path, label: str = "") -> None:
        self.path, self.label = path, label or str(path)
        refuse_no_file(path)
        # zipfile must not own the file: its reference count is not safe with several threads.
        self.file = path.open("rb")
        try:
            self.members = checked(self.label, path.stat().st_size, self._list())
        except KitError:
            self.file.close()
            raise

    def _list(self) -> Iterable[Member]:
        try:
            _refuse_many(self.file, self.label)
            self.zip = zipfile.ZipFile(self.file)
        except (*DAMAGE, NotImplementedError):
            raise not_taken(self.path, self.label) from None
        return map(_member, self.zip.infolist())

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    @property
    def digest(self) -> str:
        """A digest that identifies the content: over names, without a folder around all, sizes and checksums."""
        top = tops(member.name for member in self.members)[-1]
        found = (member for member in self.members if member.name.startswith(top))
        lines = sorted(f"{member.name[len(top) :]} {member.size} {member.crc}\n" for member in found)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def write(self, targets: list[Target], root: Path, done: Callable[[int], None]) -> int:
        """Write the members that are not complete at their path yet, each to `root/.kit/parts` and then renamed.

        Files are left in the disk's cache: flushing it takes as long as all the rest, far longer on a slow disk.

        Args:
            targets: members and the paths below `root` to write them to.
            root: links below it are not followed.
            done: called every now and then with the number of further bytes that are in place.

        Returns:
            The number of files written.

        Raises:
            DamagedArchive: for the first damaged member; none is left half-written.
            KitError: a file can't be written.
        """
        made: set[str] = set()
        with parts(root) as folder:

            def write_batch(number: int, batch: list[Target], stop: Stop) -> int:
                part, written = folder / f"{number}.part", 0
                for member, path in batch:
                    if not matches(path, member):
                        parent = os.path.dirname(path)
                        if parent not in made:
                            make_folder(root, Path(parent))
                            made.add(parent)
                        self._write(member, part, path, stop)
                        written += 1
                    stop.count(member.size)
                return written

            return sum(in_order(write_batch, targets, lambda target: target[0].size, done))

    def _write(self, member: Member, part: Path, path: str, stop: Stop) -> None:
        try:
            with Part(part, path, member.size, member.crc) as out:
                for chunk in self._read(member):
                    stop.check()
                    out.write(chunk)
                out.place()
        except Differs as error:
            raise damaged(self.label, member, error) from None

    def _read(self, member: Member) -> Iterator[bytes]:
        try:
            with self._open(member.key) as file:
                if member.key.compress_type in PACKED:
                    yield from expanded(file, member.key.compress_type, member.size)
                else:
                    while chunk := file.read(CHUNK):
                        yield chunk
        except TooLarge as error:
            raise refused(self.label, member.name, str(error)) from None
        except NotImplementedError as error:
            raise KitError(
                f"{self.label}: {member.name}: {error}: unpack it and zip it again with plain deflate"
            ) from None
        except DAMAGE as error:
            raise damaged(self.label, member, error) from None

    def _open(self, info: zipfile.ZipInfo) -> IO[bytes]:
        if info.compress_type not in PACKED:
            return self.zip.open(info)
        # As it is: `expanded` has bounds.
        raw: Any = copy.copy(info)
        raw.compress_type, raw.file_size, raw.CRC = zipfile.ZIP_STORED, info.compress_size, None
        return self.zip.open(raw)


class PlainFile(Archive):
    """A file that is not an archive (a csv), treated as an archive that holds it."""

    def _list(self) -> Iterable[Member]:
        count, crc = crc_of(self.file)
        return [Member(self.path.name, count, crc, count, 0, False, False, None)]

    def _read(self, member: Member) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            yield from iter(lambda: file.read(CHUNK), b"")


def refuse_no_file(path: Path) -> None:
    """Raise `KitError` unless there is a file that can be read: opening a pipe would wait for ever."""
    give = "give the file that the browser saved"
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise KitError(f"no archive at {path}, which is {what}: {give}")
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise KitError(f"no archive at {path}: {give}") from None
    except PermissionError as error:
        raise KitError(f"{path} can't be read ({error.strerror}): fix its permissions", DISK) from None
    except OSError as error:
        raise KitError(f"no archive at {str(path)[:100]} ({error.strerror}): {give}") from None


def _refuse_many(file: IO[bytes], label: str) -> None:
    """Raise `KitError` for a directory with too many entries, before zipfile takes seconds to read it.

    Raise `BadZipFile` for the last part of a split zip, whose offsets are those of other files.
    """
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if not end:
        return
    if end[zipfile._ECD_DISK_NUMBER]:  # type: ignore[attr-defined]
        raise zipfile.BadZipFile("it is split")
    length, at, count = end[zipfile._ECD_SIZE], end[zipfile._ECD_LOCATION], 0  # type: ignore[attr-defined]
    if length > LARGEST_DIRECTORY:
        raise too_many(label)
    # The directory ends there, or 76 bytes before in large archives. Its own count can lie.
    file.seek(max(0, at - length - 76))
    before = b""
    while at > file.tell() and (chunk := file.read(min(CHUNK, at - file.tell()))):
        count += (before + chunk).count(ENTRY)
        before = chunk[-len(ENTRY) + 1 :]
    if count > MOST_MEMBERS:
        raise too_many(label)


def too_many(label: str) -> KitError:
    """Return the error for an archive with more members than kit takes."""
    return KitError(f"{label} holds more than {MOST_MEMBERS:,} files: unpack it by hand and zip its folders apart")


def _member(info: zipfile.ZipInfo) -> Member:
    # zipfile cuts a name at a NUL byte; `orig_filename` keeps it.
    kind, locked = stat.S_IFMT(info.external_attr >> 16), bool(info.flag_bits & 0x1)
    counts = (info.file_size, info.CRC, info.compress_size)
    return Member(info.orig_filename, *counts, kind, info.is_dir(), locked, info)


def damaged(label: str, member: Member, error: Exception) -> DamagedArchive:
    """Return the error for a member whose bytes are not what the archive says they are."""
    # What zipfile says can repeat a name of 65,000 bytes.
    return DamagedArchive(
        f"{label}: {member.name} is damaged ({str(error)[:200] or type(error).__name__}): "
        "fetch the archive again in the browser, then run the same command again"
    )


def matches(path: Path | str, member: Member) -> bool:
    """Return whether a file exists with the size and the checksum of an archive's member."""
    return holds(path, member.size, member.crc)


def safe_name(name: str) -> str | None:
    """Return a member's name as a relative path that stays below the folder it is unpacked into; otherwise None."""
    if PLAIN.fullmatch(name) and len(name) <= LONGEST_NAME:
        return name
    if too_long(name):
        return None
    if "\\" in name or name.startswith("/") or re.match(r"[A-Za-z]:", name) or not name.isprintable():
        return None
    names = PurePosixPath(name).parts
    if not names or ".." in names or any(len(each.encode()) > 255 for each in names):
        return None
    # kit keeps its records in `.kit`; some disks ignore case.
    return None if names[0].casefold() == OWN else "/".join(names)


def too_long(name: str) -> bool:
    """Return whether a name is longer, or names more folders, than any disk or harmless archive has."""
    return len(name) > LONGEST_NAME or len(name.encode(errors="replace")) > LONGEST_NAME or name.count("/") > DEEPEST


def tops(names: Iterable[str]) -> list[str]:
    """Return where the data in an archive may begin: at its top, or in the one folder there (`a/`), or in the next."""
    found, names = [""], list(names)
    while len(found) <= MOST_TOPS:
        below = [name[len(found[-1]) :] for name in names if name.startswith(found[-1])]
        folders = {name.partition("/")[0] for name in below if "/" in name}
        if len(folders) != 1 or any("/" not in name and PurePosixPath(name).suffix not in NOTES for name in below):
            break
        found.append(f"{found[-1]}{folders.pop()}/")
    return found


def free_space(root: Path) -> int:
    """Return the free bytes where `root` is or will be."""
    existing = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free


def need_space(root: Path, sizes: list[int]) -> None:
    """Raise `KitError` (code 5) if files of these sizes (bytes) don't fit in `root`."""
    needed = sum(-(-count // BLOCK) * BLOCK for count in sizes)
    free = free_space(root)
    if needed > free:
        raise KitError(
            f"{size(needed)} are needed in {root}, {size(free)} are free: free {size(needed - free)} more, "
            "or set KIT_DATA to a folder on a larger disk",
            DISK,
        )


def checked(label: str, packed: int, entries: Iterable[Member]) -> list[Member]:
    """Return the files among an archive's entries, once it is sure that they are safe to unpack.

    Args:
        label: what messages call the archive.
        packed: its size in bytes.
        entries: everything it lists.

    Raises:
        KitError: a name leads out of the folder or appears twice, or there is a link, encryption, or a zip bomb.
    """
    members: list[Member] = []
    for entry in entries:
        plain = entry.name.replace("\\", "/")  # Windows' separator, which tools there write
        if is_litter(plain):
            continue
        name = safe_name(plain)
        if name is None and too_long(entry.name):
            raise refused(label, entry.name, f"its name is longer than {LONGEST_NAME:,} bytes or {DEEPEST} folders")
        if name is None:
            raise refused(label, entry.name, "its name leads out of the folder or is not a plain path")
        if entry.kind not in KINDS:
            raise refused(label, entry.name, "it is a link or a device, not a file")
        if entry.is_locked:
            raise encrypted(label, name)
        if not (entry.is_folder or plain.endswith("/")):
            members.append(entry if entry.name == name else entry._replace(name=name))
        if len(members) > MOST_MEMBERS:
            raise too_many(label)
    if not members:
        raise DamagedArchive(f"{label} holds no files: fetch it again in the browser")
    refuse_doubled(label, (member.name for member in members))
    if sum(member.packed for member in members) > packed:
        raise KitError(f"{label} holds members that overlap, so it is damaged or a zip bomb: fetch it again")
    refuse_bomb(label, packed, sum(member.size for member in members))
    return members


def encrypted(label: str, name: str = "") -> KitError:
    """Return the error for an archive, or a member of it, that wants a password."""
    what = f"{label}: {name} is encrypted" if name else f"{label} is encrypted"
    return KitError(f"{what}, and kit knows no password: unpack it with yours and give its files as a zip without one")


def refuse_doubled(label: str, names: Iterable[str]) -> None:
    """Raise `KitError` for names that can't coexist: the same one twice, or a file where a folder must be.

    Names that differ only in case overwrite each other on some disks: the result must not depend on the disk.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise refused(label, name, f"its name appears twice (also as {seen[key]!r})")
        seen[key] = name
    fine = {""}
    for key, name in seen.items():
        folder = key
        while (folder := folder.rpartition("/")[0]) not in fine:
            if folder in seen:
                raise refused(label, name, "another member has the name of its folder")
            fine.add(folder)


def refuse_bomb(label: str, packed: int, total: int) -> None:
    """Raise `KitError` for content that grows from `packed` to `total` bytes as no harmless archive does."""
    if total > max(RATIO_FLOOR, MAX_RATIO * packed):
        raise KitError(f"{label} would grow from {size(packed)} to {size(total)}, like a zip bomb: fetch it again")


def refused(label: str, name: str, why: str) -> KitError:
    """Return the error for a member that no harmless archive has."""
    shown = repr(name if len(name) <= 200 else f"{name[:80]}...{name[-20:]}")
    return KitError(f"{label} is not unpacked: {shown}: {why}: fetch the archive from its own page")
