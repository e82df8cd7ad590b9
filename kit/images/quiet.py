"""What decoders say on their own, kept from the person: libjpeg and libpng write to the terminal, past every log level.

What is wrong with an image is said once, by the error that names it.
"""

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator

SAID = re.compile(
    rb"(?:libpng (?:error|warning)|Corrupt JPEG data|Premature end of JPEG file|Invalid SOS parameters|"
    rb"Inconsistent progression sequence|Warning: unknown JFIF revision|Unknown Adobe color transform|"
    rb"Application transferred)[^\n]*\n"
)
_lock = threading.Lock()
_inside = 0  # threads
_stderr = -1  # a copy of it meanwhile
_kept = -1  # a file for what is said
_owner = 0  # the process that opened it: a forked one must not share its place in the file


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Keep what decoders write to the terminal; what others write there meanwhile follows. Threads may share it."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _kept, _owner, _stderr
    with _lock:
        _inside += 1
        if _inside > 1:
            return
        try:
            if _owner != os.getpid():
                _kept, _owner = _scratch(), os.getpid()
            _stderr = os.dup(2)
            os.dup2(_kept, 2)
        except OSError:  # there is no stderr, or no room
            _stderr = -1


def _leave() -> None:
    global _inside, _stderr
    with _lock:
        _inside -= 1
        if _inside or _stderr < 0:
            return
        os.dup2(_stderr, 2)
        os.close(_stderr)
        _stderr = -1
        if length := os.fstat(_kept).st_size:
            rest = SAID.sub(b"", os.pread(_kept, length, 0))
            os.ftruncate(_kept, 0)
            os.lseek(_kept, 0, os.SEEK_SET)
            with contextlib.suppress(OSError):
                os.write(2, rest)


def _scratch() -> int:
    """Open a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("said")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
