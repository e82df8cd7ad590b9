"""7z archives, through py7zr where it is installed: checked and written as a zip is."""

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from kit.archives.archive import Archive, DamagedArchive, Member, Target, damaged, make_folder, matches, parts, writing
from kit.errors import KitError

MAGIC = b"7z\xbc\xaf\x27\x1c"


class SevenZip(Archive):
    """A 7z archive that is safe to unpack; used like a zip `Archive`.

    Raises:
        DamagedArchive: it is damaged or cut short.
        KitError: py7zr is not installed, or for the reasons of `Archive`.
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
        except Exception as error:  # py7zr can raise anything on hostile input
            what = f"is cut short or damaged ({error or type(error).__name__})"
            raise DamagedArchive(f"{self.label} {what}: fetch it again in the browser") from None
        without = next((member.name for member in members if member.crc < 0), None)
        if without is not None:
            raise KitError(f"{self.label}: {without!r} has no checksum: pack the archive again")
        if sum(packed) > self.path.stat().st_size:
            raise DamagedArchive(f"{self.label} is cut short or damaged: fetch it again in the browser")
        return members

    def write(self, targets: list[Target], root: Path, done: Callable[[int], None]) -> int:
        """Write members as `Archive.write` does, in one thread: members of a block are packed as one stream."""
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
            """A `_Part` with the base class that py7zr requires."""

        class Factory(py7zr.io.WriterFactory):  # type: ignore[name-defined]
            """Gives py7zr a file for each member, which it names as if it were unpacked into `folder`."""

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
    """An unfinished file: written under another name, renamed once its size and checksum are the member's."""

    def __init__(self, label: str, member: Member, part: Path, path: str, done: Callable[[int], None]) -> None:
        self.label, self.member, self.part, self.path, self.done = label, member, part, path, done
        self.crc = self.count = 0
        with writing(path):
            self.file: IO[bytes] = part.open("wb", buffering=0)

    def write(self, chunk: bytes | bytearray) -> int:
        """Write the next bytes; called by py7zr."""
        with writing(self.path):
            self.file.write(chunk)
        self.crc = zlib.crc32(chunk, self.crc)
        self.count += len(chunk)
        self.done(len(chunk))
        return len(chunk)

    def close(self) -> None:
        """Check and rename the file; called by py7zr after the last bytes."""
        self.file.close()
        if (self.count, self.crc) != (self.member.size, self.member.crc):
            raise damaged(self.label, self.member, ValueError("its checksum differs"))
        with writing(self.path):
            self.part.replace(self.path)

    def read(self, size: int | None = None) -> bytes:
        """Return nothing; py7zr never reads."""
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Do nothing; py7zr calls this once before `close`."""
        return 0

    def flush(self) -> None:
        """Do nothing: the file has no buffer."""

    def size(self) -> int:
        """Return the number of bytes so far."""
        return self.count


def _member(info: Any, locked: bool) -> Member:
    crc = info.crc32 if info.crc32 is not None else (-1 if info.uncompressed else 0)
    kind = info.st_fmt or 0
    if info.is_symlink or info.is_junction:
        kind = -1
    # The packed size of a single file is unknown: files are packed together.
    return Member(info.filename, info.uncompressed, crc, 0, kind, info.is_directory, locked, info.filename)


def _unsupported(label: str, error: Exception) -> KitError:
    return KitError(f"{label}: {error}: unpack it and pack it again as a zip")


def _py7zr(label: str) -> Any:
    try:
        import py7zr
        import py7zr.io
    except ImportError:
        raise KitError(f"{label}: .7z needs the optional package: pip install 'competition-kit[sevenzip]'") from None
    return py7zr
