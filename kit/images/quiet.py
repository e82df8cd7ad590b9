"""What decoders say on their own, kept from the person: libjpeg and libpng write to the terminal, past every log level.

What is wrong with an image is said once, by the error that names it.
"""

import contextlib
import os
import re
import tempfile
import threading

SAID = re.compile(
    rb"(?:libpng (?:error|warning):|Corrupt JPEG data:|Premature end of JPEG file|Invalid SOS parameters|"
    rb"Inconsistent progression sequence|Warning: unknown JFIF revision|Unknown Adobe color transform|"
    rb"Application transferred|\[[ A-Z]{5}:\d+@|tempfile\.tif: |"
    rb"(?:TIFF|_TIFF|OJPEG|JPEG|LZW|ZIP|ZSTD|LZMA|PackBits|Fax|Predict|PixarLog|LogL|LERC|Thunder|NeXT)\w*: )[^\n]*\n"
)
# What decoders say of an image that they return all the same, with black where it is damaged.
DAMAGED = re.compile(rb"TIFF_Error|[Pp]remature end")
_lock = threading.Lock()
_inside = 0  # threads
_stderr = -1  # a copy of it meanwhile
_kept = -1  # a file for what is said
_owner = 0  # the process that opened it: a forked one must not share its place in the file


class Unheard:
    """Keep what decoders write to the terminal; what others write there meanwhile follows. Threads may share it.

    Once left, `damaged` says whether a decoder has reported an error; another thread's may be taken for this one's.
    """

    damaged = False

    def __enter__(self) -> "Unheard":
        global _inside, _kept, _owner, _stderr
        with _lock:
            _inside += 1
            self._from = 0
            if _inside > 1:
                self._from = os.fstat(_kept).st_size if _stderr >= 0 else 0
                return self
            try:
                if _owner != os.getpid():
                    _kept, _owner = _scratch(), os.getpid()
                _stderr = os.dup(2)
                os.dup2(_kept, 2)
            except OSError:  # there is no stderr, or no room
                _stderr = -1
        return self

    def __exit__(self, *_: object) -> None:
        global _inside, _stderr
        with _lock:
            _inside -= 1
            if _stderr < 0:
                return
            length = os.fstat(_kept).st_size
            if length > self._from:
                self.damaged = DAMAGED.search(os.pread(_kept, length - self._from, self._from)) is not None
            if _inside:
                return
            os.dup2(_stderr, 2)
            os.close(_stderr)
            _stderr = -1
            if length:
                rest = SAID.sub(b"", os.pread(_kept, length, 0))
                os.ftruncate(_kept, 0)
                os.lseek(_kept, 0, os.SEEK_SET)
                if rest.strip():
                    with contextlib.suppress(OSError):
                        os.write(2, rest)


def _scratch() -> int:
    """Open a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("said")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
