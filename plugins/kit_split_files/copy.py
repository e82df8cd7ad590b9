"""Copy one file, and be sure of it."""

import errno
import os
import zlib
from pathlib import Path

CHUNK = 1 << 20


def copy_file(source: str | Path, path: str | Path) -> None:
    """Copy the bytes of a file, and read the copy back; a link at `path` is replaced, not followed.

    Raises:
        OSError: it can't be read or written, or the disk does not hold what was written.
    """
    if os.path.lexists(path):
        os.unlink(path)
    written = 0, 0
    with open(source, "rb") as ours, open(path, "xb") as copy:
        while chunk := ours.read(CHUNK):
            copy.write(chunk)
            written = written[0] + len(chunk), zlib.crc32(chunk, written[1])
    found = 0, 0
    with open(path, "rb") as copy:
        while chunk := copy.read(CHUNK):
            found = found[0] + len(chunk), zlib.crc32(chunk, found[1])
    if found != written:
        raise OSError(errno.ENOSPC, "only a part was written", str(path))
