"""What surrounds a command: streams that may be closed, full or ASCII, and the signals that end it."""

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
import warnings
from types import FrameType
from typing import Any, TextIO

from kit.console import clean
from kit.errors import Ended

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOGETHER = 2.0  # seconds: a terminal that closes, or a batch system, sends several signals for one end


def ready_streams() -> None:
    """Give the process the streams that it was started without, and let no character fail on the others."""
    # Otherwise the next file that is opened becomes standard output.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    warnings.formatwarning = _clean_warning
    # It says where it keeps its fonts when the home folder is read-only, as in a notebook's container.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


_format_warning = warnings.formatwarning


def _clean_warning(*arguments: Any, **options: Any) -> str:
    """Format a library's warning, which may quote a name from a file."""
    return clean(_format_warning(*arguments, **options))


def drop(stream: TextIO) -> None:
    """Drop what a stream can't take: Python would try once more when it ends, and end with another status."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()


def reader_gone() -> bool:
    """Return whether the process that reads our output (head, less) has closed it."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


class Signals:
    """Inside its block each signal that ends a program raises `Ended`, so that the block can tidy up.

    A signal that the process was told to ignore (`nohup`) stays ignored. Forked processes end at once, as usual.
    """

    def __init__(self) -> None:
        self.last: Ended | None = None
        self._at = -TOGETHER
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = signal.signal(number, self._end)
        return self

    @property
    def unanswered(self) -> Ended | None:
        """The signal that ends the program, even if a library has swallowed it in the middle of an import."""
        return None if self.last is None or self.last.answered else self.last

    def _end(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() - self._at >= TOGETHER:
            self._at = time.monotonic()
            self.last = Ended(number)
            raise self.last

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            # One that ends by a signal gives its own status, whatever else arrives for the same end.
            signal.signal(number, handler if self.unanswered is None else signal.SIG_IGN)


def _ends_at_once() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)


# A worker that its parent ends, or that outlives it, has nothing to tidy up.
os.register_at_fork(after_in_child=_ends_at_once)
