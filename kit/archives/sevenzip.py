"""7z archives, through py7zr where it is installed: checked and written as a zip is."""

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from kit.archives.archive import Archive, Member, Target, damaged, encrypted, matches, refused
from kit.archives.expand import TooLarge, refuse_large
from kit.archives.kinds import cut_short
from kit.archives.part import Part, make_folder, parts
from kit.errors import KitError

LZMA, LZMA2, PPMD = b"\x03\x01\x01", b"\x21", b"\x03\x04\x01"


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
                _refuse_dictionaries(self.seven.header.main_streams.unpackinfo.folders)
            locked = self.seven.needs_password()
            members = [_member(info, locked) for info in self.seven.files]
        except py7zr.PasswordRequired:
            raise encrypted(self.label) from None
        except py7zr.UnsupportedCompressionMethodError as error:
            raise _unsupported(self.label, error) from None
        except TooLarge as error:
            raise refused(self.label, "its content", str(error)) from None
        except KitError:
            raise
        except Exception as error:  # py7zr can raise anything on hostile input
            raise cut_short(self.label, str(error) or type(error).__name__) from None
        without = next((member.name for member in members if member.crc < 0), None)
        if without is not None:
            raise KitError(f"{self.label}: {without!r} has no checksum: pack the archive again")
        if sum(packed) > self.path.stat().st_size:
            raise cut_short(self.label)
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
        # As py7zr spells a path.
        by_name = {PurePosixPath(member.key).as_posix(): (member, path) for member, path in targets}
        current: list[_Sink] = []

        class Sink(_Sink, py7zr.io.Py7zIO):  # type: ignore[name-defined]
            """A `_Sink` with the base class that py7zr requires."""

        class Factory(py7zr.io.WriterFactory):  # type: ignore[name-defined]
            """Gives py7zr a file for each member, which it names as if it were unpacked into `folder`."""

            def create(self, filename: str) -> Any:
                member, path = by_name[Path(filename).relative_to(folder).as_posix()]
                current[:] = [Sink(folder / "0.part", member, path, done)]
                return current[0]

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
                current[0].out.file.close()


class _Sink:
    """A `Part` as py7zr writes to it."""

    def __init__(self, part: Path, member: Member, path: str, done: Callable[[int], None]) -> None:
        self.member, self.done = member, done
        self.out = Part(part, path, member.size, member.crc)

    def write(self, chunk: bytes | bytearray) -> int:
        """Write the next bytes; called by py7zr."""
        self.out.write(chunk)
        self.done(len(chunk))
        return len(chunk)

    def close(self) -> None:
        """Check and rename the file; called by py7zr after the last bytes."""
        self.out.place()

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
        return self.out.count


def _member(info: Any, locked: bool) -> Member:
    crc = info.crc32 if info.crc32 is not None else (-1 if info.uncompressed else 0)
    kind = info.st_fmt or 0
    if info.is_symlink or info.is_junction:
        kind = -1
    # The packed size of a single file is unknown: files are packed together.
    return Member(info.filename, info.uncompressed, crc, 0, kind, info.is_directory, locked, info.filename)


def _refuse_dictionaries(folders: Any) -> None:
    """Raise `TooLarge` if unpacking would take too much memory."""
    for coder in (coder for folder in folders for coder in folder.coders):
        method, properties = coder["method"], coder.get("properties") or b""
        if method in (LZMA, PPMD) and len(properties) == 5:
            refuse_large(int.from_bytes(properties[1:], "little"))
        if method == LZMA2 and properties:
            refuse_large((2 | properties[0] & 1) << (properties[0] // 2 + 11))


def _unsupported(label: str, error: Exception) -> KitError:
    return KitError(f"{label}: {str(error)[:200]}: unpack it and pack it again as a zip")


def _py7zr(label: str) -> Any:
    try:
        import py7zr
        import py7zr.io
    except ImportError:
        raise KitError(f"{label}: .7z needs the optional package: pip install 'competition-kit[sevenzip]'") from None
    return py7zr
