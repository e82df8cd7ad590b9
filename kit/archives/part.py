"""The one writer of what is unpacked: a file grows under another name, is read back, and only then gets its own."""

import contextlib
import errno
import os
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from kit.data.checksums import measure
from kit.errors import KitError
from kit.files import cant_write
from kit.paths import OWN


class Differs(Exception):
    """The bytes that came are not those that were announced."""


class Part:
    """An unfinished file, as a context manager. It takes its place only if its bytes on disk are what they must be.

    Args:
        part: where it grows.
        path: its place.
        size: of the finished file in bytes.
        crc: its CRC-32.
    """

    def __init__(self, part: Path, path: Path | str, size: int, crc: int) -> None:
        self.part, self.path, self.announced = part, path, (size, crc)
        self.count = self.crc = 0
        with writing(path):
            self.file = part.open("wb", buffering=0)

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, chunk: bytes | bytearray) -> None:
        """Write the next bytes."""
        self.count, self.crc = self.count + len(chunk), zlib.crc32(chunk, self.crc)
        if self.count > self.announced[0]:
            raise Differs("it is longer than announced")
        left = memoryview(chunk)
        with writing(self.path):
            # A full disk takes some of the bytes and says so in a number alone; the next write raises.
            while left:
                left = left[self.file.write(left) or 0 :]

    def place(self) -> None:
        """Check the file and rename it to its place.

        Raises:
            Differs: the bytes that came are not those that were announced.
            KitError: (code 5) they are, but the disk does not hold them.
        """
        if (self.count, self.crc) != self.announced:
            raise Differs("its checksum differs" if self.count == self.announced[0] else "it is cut short")
        with writing(self.path):
            self.file.close()
            found = measure(self.part)
            if found != self.announced:
                short = found is None or found[0] < self.count
                raise OSError(errno.ENOSPC if short else errno.EIO, "what was written does not read back")
            os.replace(self.part, self.path)


@contextlib.contextmanager
def parts(root: Path) -> Iterator[Path]:
    """Provide `root/.kit/parts`, a folder for unfinished files: empty at first, removed afterwards."""
    folder = root / OWN / "parts"
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(root, folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn the disk's errors into a `KitError` (code 5) that names the file."""
    try:
        yield
    except OSError as error:
        raise cant_write(path, error) from None


def make_folder(root: Path, folder: Path) -> None:
    """Make a folder below `root`; raise `KitError` for a link on the way, since it could lead anywhere."""
    for parent in (folder, *folder.parents):
        if parent == root:
            break
        if parent.is_symlink():
            raise KitError(f"{parent} is a link, and kit writes into real folders only: link {root} as a whole instead")
        if os.path.lexists(parent) and not parent.is_dir():
            raise KitError(f"{parent} is a file where a folder must be: move it away")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def length(path: Path | str) -> int:
    """Return the size of a regular file in bytes; -1 for anything else."""
    try:
        status = os.lstat(path)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def holds(path: Path | str, size: int, crc: int) -> bool:
    """Return whether there is a regular file of this size and checksum."""
    return length(path) == size and measure(path) == (size, crc)
