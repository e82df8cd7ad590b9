"""Tar archives, plain or packed with gzip, bzip2 or xz: checked and written as a zip is.

A tar is read from front to back, header by header, in bounded memory: once to list and measure what is in it, which no
directory tells, and once more to write it. Python's own `tarfile` parses each header; its reader of whole archives
takes headers of any length into memory and follows links.
"""

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from kit.archives.archive import (
    DAMAGE,
    MAX_RATIO,
    RATIO_FLOOR,
    Archive,
    Member,
    Target,
    damaged,
    matches,
    refuse_bomb,
    refused,
)
from kit.archives.expand import LARGEST_DICTIONARY
from kit.archives.kinds import TAR_BLOCK, begins_as_tar, cut_short
from kit.archives.part import Differs, Part, make_folder, parts
from kit.errors import KitError

CHUNK = 1 << 20
LONGEST_HEADER = 1 << 20  # bytes of names and attributes before a member
HEADER_KINDS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
FILE_KINDS = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
OTHER_KINDS = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.LNKTYPE: stat.S_IFLNK,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}
RECORD = re.compile(rb"(\d{1,8}) ([^=\n]+)=")


class Tar(Archive):
    """A tar archive that is safe to unpack; used like a zip `Archive`.

    Raises:
        DamagedArchive: it is damaged or cut short.
        KitError: for the reasons of `Archive`.
    """

    def _list(self) -> Iterable[Member]:
        for member, chunks in self._walk():
            count = crc = 0
            for chunk in chunks:
                count, crc = count + len(chunk), zlib.crc32(chunk, crc)
            if not member.is_folder or PurePosixPath(member.name).parts:
                yield member._replace(crc=crc)

    def write(self, targets: list[Target], root: Path, done: Callable[[int], None]) -> int:
        """Write members as `Archive.write` does, in one thread: they come one after the other."""
        missing: dict[int, Target] = {}
        for member, path in targets:
            if matches(path, member):
                done(member.size)
            else:
                make_folder(root, Path(path).parent)
                missing[member.key] = (member, path)
        left = len(missing)
        with parts(root) as folder:
            for found, chunks in self._walk() if missing else ():
                if found.key not in missing:
                    continue
                member, path = missing[found.key]
                try:
                    with Part(folder / "0.part", path, member.size, member.crc) as out:
                        for chunk in chunks:
                            out.write(chunk)
                            done(len(chunk))
                        out.place()
                except Differs as error:
                    raise damaged(self.label, member, error) from None
                left -= 1
                if not left:
                    break
        return len(missing)

    def _walk(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Yield every entry and its content, whose chunks are to be taken before the next one; crc is not known yet."""
        self.file.seek(0)
        return _entries(_Stream(_expanding(self.file), self.label, self.path.stat().st_size))


def is_tar(path: Path) -> bool:
    """Return whether a file is a tar, plain or packed."""
    with path.open("rb") as file:
        try:
            return begins_as_tar(_expanding(file).read(TAR_BLOCK))
        except DAMAGE:
            return False


def _expanding(file: IO[bytes]) -> IO[bytes]:
    """Return a reader of what a file holds, expanded if it is packed."""
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file, mode="rb")  # type: ignore[return-value]
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return io.BufferedReader(_Xz(file), CHUNK) if head == b"\xfd7zXZ\0" else file


class _Xz(io.RawIOBase):
    """The content of an xz file; `lzma.LZMAFile` would take any amount of memory for its dictionary."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.expander = file, _xz()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read the next bytes into `buffer`; return their number, 0 at the end."""
        data = b""
        while True:
            if self.expander.eof:
                # Further streams and zeros may follow.
                data = self.expander.unused_data.lstrip(b"\0")
                while not data:
                    more = self.file.read(CHUNK)
                    if not more:
                        return 0
                    data = more.lstrip(b"\0")
                self.expander = _xz()
            elif self.expander.needs_input:
                data = self.file.read(CHUNK)
                if not data:
                    raise EOFError("it ends in the middle")
            chunk = self.expander.decompress(data, len(buffer))
            data = b""
            if chunk:
                buffer[: len(chunk)] = chunk
                return len(chunk)


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2 * LARGEST_DICTIONARY)


class _Stream:
    """What an expanded tar holds, front to back; no more of it than a harmless one expands to."""

    def __init__(self, file: IO[bytes], label: str, packed: int) -> None:
        self.file, self.label, self.packed, self.count = file, label, packed, 0

    def chunks(self, count: int) -> Iterator[bytes]:
        """Yield the next `count` bytes."""
        while count:
            chunk = self._next(count)
            if not chunk:
                raise self.damaged("it ends in the middle")
            count -= len(chunk)
            yield chunk

    def _next(self, count: int) -> bytes:
        try:
            chunk = self.file.read(min(CHUNK, count))
        except DAMAGE as error:
            raise self.damaged(error) from None
        self.count += len(chunk)
        # Headers and padding, which weigh nothing when packed, may triple what small files take.
        if self.count > 3 * max(RATIO_FLOOR, MAX_RATIO * self.packed):
            refuse_bomb(self.label, self.packed, self.count)
        return chunk

    def finish(self) -> None:
        """Read what follows the last member: the checksum of what is packed stands at its end."""
        while self._next(CHUNK):
            pass

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        return b"".join(self.chunks(count))

    def damaged(self, why: object) -> KitError:
        """Return the error for bytes that are no tar's."""
        return cut_short(self.label, str(why) or type(why).__name__)


def _entries(stream: _Stream) -> Iterator[tuple[Member, Iterator[bytes]]]:
    number = 0
    given: dict[str, bytes] = {}
    while True:
        block = stream.read(TAR_BLOCK)
        if not block.strip(b"\0"):
            stream.finish()
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            size = _size(given.get("size", info.size) if info.type in FILE_KINDS else info.size)
        except (tarfile.HeaderError, ValueError) as error:
            raise stream.damaged(error) from None
        if info.type in HEADER_KINDS:
            if size > LONGEST_HEADER:
                raise refused(stream.label, info.name, f"its header has {size:,} bytes")
            content = stream.read(size + -size % TAR_BLOCK)[:size]
            if info.type == tarfile.GNUTYPE_LONGNAME:
                given["path"] = content.rstrip(b"\0")
            elif info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                given |= _records(content, stream)
            continue
        name = given["path"].decode("utf-8", "surrogateescape") if "path" in given else info.name
        if info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in given):
            raise KitError(f"{stream.label}: {name[:200]!r} is stored with holes: pack it again without --sparse")
        given = {}
        kind = stat.S_IFREG if info.type in FILE_KINDS else OTHER_KINDS.get(info.type, -1)
        is_folder = kind == stat.S_IFDIR or (kind == stat.S_IFREG and name.endswith("/"))
        chunks = stream.chunks(size)
        yield Member(name, 0 if is_folder else size, 0, 0, kind, is_folder, False, number), chunks
        for _ in chunks:  # what the caller did not want
            pass
        stream.read(-size % TAR_BLOCK)
        number += 1


def _size(given: bytes | int) -> int:
    size = int(given)
    if size < 0:
        raise ValueError("a size is negative")
    return size


def _records(content: bytes, stream: _Stream) -> dict[str, bytes]:
    """Parse the extended header of POSIX: lines `LENGTH KEY=VALUE`; LENGTH is that of the whole line."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(content):
        line = RECORD.match(content, at)
        end = at + int(line[1]) if line else 0
        if line is None or end <= line.end() or content[end - 1 : end] != b"\n":
            raise stream.damaged("an extended header is damaged")
        found[line[2].decode(errors="replace")] = content[line.end() : end - 1]
        at = end
    return found
