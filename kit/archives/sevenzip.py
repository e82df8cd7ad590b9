"""7z archives, through py7zr where it is installed: the same checks as for a zip, and the same way to the disk."""

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from kit.archives.archive import Archive, DamagedArchive, Member, Target, damaged, make_folder, matches, parts, writing
from kit.errors import KitError

MAGIC = b"7z\xbc\xaf\x27\x1c"


class SevenZip(Archive):
    """A 7z archive that is safe to unpack; used as a zip `Archive` is.

    Raises:
        DamagedArchive: damaged or cut short.
        KitError: py7zr is not installed, or what `Archive` raises.
    """

    def _list(self) -> Iterable[Member]:
        py7zr = _py7zr(self.label)
        try:
            # An open file instead of a path: py7zr then starts no threads of its own.
            self.seven = py7zr.SevenZipFile(self.file)
            packed = [0]
            if getattr(self.seven.header, "main_streams", None) is not None:
                packed = self.seven.header.main_streams.packinfo.packsizes
            locked = self.seven.needs_password()
            members = [_member(info, locked) for info in self.seven.files]
        except py7zr.PasswordRequired:
            raise KitError(f"{self.label} is encrypted: kit takes archives without a password") from None
        except py7zr.UnsupportedCompressionMethodError as error:
            raise _unsupported(self.label, error) from None
        except KitError:
            raise
        except Exception as error:  # py7zr meets hostile input with any exception there is
            what = f"is cut short or damaged ({error or type(error).__name__})"
            raise DamagedArchive(f"{self.label} {what}: fetch it again in the browser") from None
        without = next((member.name for member in members if member.crc < 0), None)
        if without is not None:
            raise KitError(f"{self.label}: {without!r} has no checksum: pack the archive anew")
        if sum(packed) > self.path.stat().st_size:
            raise DamagedArchive(f"{self.label} is cut short or damaged: fetch it again in the browser")
        return members

    def write(self, targets: list[Target], root: Path, done: Callable[[int], None]) -> int:
        """As `Archive.write`; members of one block are packed as one stream, so one thread reads them in turn."""
        missing = []
        for member, path in targets:
            if matches(path, member):
                done(member.size)
            else:
                make_folder(root, Path(path).parent)
                missing.append((member, path))
        if missing:
            with parts(root) as folder:
                self._extract(missing, folder, done)
        return len(missing)

    def _extract(self, targets: list[Target], folder: Path, done: Callable[[int], None]) -> None:
        py7zr = _py7zr(self.label)
        by_name = {member.name: (member, path) for member, path in targets}
        current: list[_Part] = []

        class Part(_Part, py7zr.io.Py7zIO):  # type: ignore[name-defined]
            """py7zr asks for its own base class."""

        class Factory(py7zr.io.WriterFactory):  # type: ignore[name-defined]
            """Gives py7zr a file for each member, named as if it were unpacked into `folder`."""

            def create(self, filename: str) -> Any:
                member, path = by_name[Path(filename).relative_to(folder).as_posix()]
                current[:] = [Part(outer.label, member, folder / "0.part", path, done)]
                return current[0]

        outer = self
        try:
            self.seven.reset()
            self.seven.extract(folder, [member.key for member, _ in targets], factory=Factory())
        except py7zr.UnsupportedCompressionMethodError as error:
            raise _unsupported(self.label, error) from None
        except KitError:
            raise
        except Exception as error:
            first = current[0].member if current else targets[0][0]
            raise damaged(self.label, first, error) from None
        finally:
            if current:
                current[0].file.close()


class _Part:
    """A file on its way: written under another name, renamed once its size and checksum are the member's."""

    def __init__(self, label: str, member: Member, part: Path, path: str, done: Callable[[int], None]) -> None:
        self.label, self.member, self.part, self.path, self.done = label, member, part, path, done
        self.crc = self.count = 0
        with writing(path):
            self.file: IO[bytes] = part.open("wb", buffering=0)

    def write(self, chunk: bytes | bytearray) -> int:
        """Called by py7zr with the next bytes."""
        with writing(self.path):
            self.file.write(chunk)
        self.crc = zlib.crc32(chunk, self.crc)
        self.count += len(chunk)
        self.done(len(chunk))
        return len(chunk)

    def close(self) -> None:
        """Called by py7zr after the last bytes."""
        self.file.close()
        if (self.count, self.crc) != (self.member.size, self.member.crc):
            raise damaged(self.label, self.member, ValueError("its checksum differs"))
        with writing(self.path):
            self.part.replace(self.path)

    def read(self, size: int | None = None) -> bytes:
        """Never wanted."""
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Called once before `close`; it means nothing here."""
        return 0

    def flush(self) -> None:
        """The file has no buffer."""

    def size(self) -> int:
        """Bytes so far."""
        return self.count


def _member(info: Any, locked: bool) -> Member:
    crc = info.crc32 if info.crc32 is not None else (-1 if info.uncompressed else 0)
    kind = info.st_fmt or 0
    if info.is_symlink or info.is_junction:
        kind = -1
    # What a single file takes is not known: they are packed together.
    return Member(info.filename, info.uncompressed, crc, 0, kind, info.is_directory, locked, info.filename)


def _unsupported(label: str, error: Exception) -> KitError:
    return KitError(f"{label}: {error}: unpack and pack it anew as a zip")


def _py7zr(label: str) -> Any:
    try:
        import py7zr
        import py7zr.io
    except ImportError:
        raise KitError(f"{label}: .7z needs the optional package: pip install 'competition-kit[sevenzip]'") from None
    return py7zr
