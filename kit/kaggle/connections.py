"""Several connections for one file: what each fetches, how many pay off, and a map on disk of what has arrived."""

import contextlib
import errno
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from kit.kaggle.retry import Fault, reason

CHUNK = 1 << 20
UNKNOWN = 1 << 62  # the end of a file of unknown length
MOST_LANES, MOST_PARTS = 8, 64
WINDOW = 3.0  # seconds over which a rate is measured
WORTH = 1.15  # twice as many lanes must be this much faster, or their number stays
LEAST_SPLIT = 64 << 20  # bytes left, below which another lane is not worth starting
_RECORD = struct.Struct("<3Q")


@dataclass
class Part:
    """A stretch of the file, from `begin` to before `end`; everything before `at` has arrived."""

    begin: int
    at: int
    end: int


def new_map(path: Path, part: Part) -> None:
    """Write the map of a file of which nothing has arrived yet."""
    path.write_bytes(_RECORD.pack(part.begin, part.at, part.end) + bytes(_RECORD.size * (MOST_PARTS - 1)))


def read_map(path: Path) -> list[Part]:
    """Return the parts in a map; raise `struct.error` if the file is not a map."""
    return [part for part in (Part(*numbers) for numbers in _RECORD.iter_unpack(path.read_bytes())) if part.end]


class Lanes:
    """The threads that fetch the parts of a file, and their map on disk, which survives a kill.

    Args:
        parts: what has arrived and what is missing; more are added.
        open_part: returns a response with the remaining bytes of a part.
        path: the file that they write to.
        map_path: where the parts are noted.
    """

    def __init__(
        self, parts: list[Part], open_part: Callable[[Part], requests.Response], path: Path, map_path: Path
    ) -> None:
        self.parts, self.open_part = parts, open_part
        self.wanted, self.rate_before, self.grows = 1, 0.0, True
        self.running: dict[int, threading.Thread] = {}  # by the number of the part
        self.ended: list[tuple[int, BaseException | None]] = []
        self.lane_ended = threading.Event()
        self.stopped = False
        self.file = path.open("r+b", buffering=0)
        with map_path.open("r+b") as table:
            self.map = mmap.mmap(table.fileno(), _RECORD.size * MOST_PARTS)

    def fill(self) -> None:
        """Start lanes until as many run as are wanted, splitting the largest part if there are too few."""
        parts = self.parts
        idle = [n for n, part in enumerate(parts) if part.at < part.end and n not in self.running]
        while len(self.running) < self.wanted:
            if not idle and not self._split():
                return
            number = idle.pop(0) if idle else len(parts) - 1
            thread = threading.Thread(target=self._fetch, args=(number, parts[number]), daemon=True)
            self.running[number] = thread
            thread.start()

    def _split(self) -> bool:
        parts = self.parts
        largest = max(parts, key=lambda part: part.end - part.at)
        if len(parts) == MOST_PARTS or largest.end == UNKNOWN or largest.end - largest.at < LEAST_SPLIT:
            return False
        middle = (largest.at + largest.end) // 2
        parts.append(Part(middle, middle, largest.end))
        # The new part is noted first: a kill in between leaves two overlapping parts, not a gap.
        self._write(len(parts) - 1)
        largest.end = middle
        self._write(parts.index(largest))
        return True

    def finished(self, seconds: float) -> Fault | None:
        """Wait a little; return the fault of a lane that ended with one."""
        self.lane_ended.wait(seconds)
        self.lane_ended.clear()
        found = None
        while self.ended:
            number, error = self.ended.pop(0)
            del self.running[number]
            if isinstance(error, Fault):
                found = error
            elif error is not None:
                raise error
        return found

    def narrow(self) -> None:
        """After a fault, use one lane less and stop growing."""
        self.wanted, self.grows = max(1, self.wanted - 1), False

    def widen(self, rate: float) -> None:
        """Double the lanes, as long as the last doubling paid off."""
        self.grows = self.grows and rate > self.rate_before * WORTH and self.wanted < MOST_LANES
        if self.grows:
            self.rate_before, self.wanted = rate, self.wanted * 2

    def stop(self) -> None:
        """Let no lane write any more; one that waits for bytes ends by itself."""
        self.stopped = True

    def _fetch(self, number: int, part: Part) -> None:
        error: BaseException | None = None
        try:
            with contextlib.closing(self.open_part(part)) as response:
                self._write_body(number, part, response)
        except BaseException as caught:
            error = caught
        self.ended.append((number, error))
        self.lane_ended.set()

    def _write_body(self, number: int, part: Part, response: requests.Response) -> None:
        before = part.at
        try:
            # read1 returns what has arrived, so a break loses nothing; other reads collect a whole chunk and lose it.
            while part.at < part.end and (chunk := response.raw.read1(CHUNK)):
                if self.stopped:
                    return
                chunk = chunk[: part.end - part.at]
                if os.pwrite(self.file.fileno(), chunk, part.at) < len(chunk):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                part.at += len(chunk)
                self._write(number)
        except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
            raise Fault(reason(error)) from None
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise Fault(reason(error)) from None
            raise
        if part.end == UNKNOWN:
            part.end = part.at
            self._write(number)
        elif part.at < part.end and part.at == before:
            raise Fault("no bytes arrived")

    def _write(self, number: int) -> None:
        part = self.parts[number]
        _RECORD.pack_into(self.map, number * _RECORD.size, part.begin, part.at, part.end)


class Window:
    """The transfer rate over the last few seconds."""

    def __init__(self) -> None:
        self.since, self.done, self.rate = time.monotonic(), -1, 0.0

    def over(self, done: int) -> bool:
        """Return whether a window has just ended; `rate` is then its bytes per second."""
        now = time.monotonic()
        if self.done < 0:
            self.since, self.done = now, done
        if now - self.since < WINDOW:
            return False
        self.rate = (done - self.done) / (now - self.since)
        self.since, self.done = now, done
        return True


class Hash:
    """The MD5 of a growing file."""

    def __init__(self, path: Path) -> None:
        self.file, self.md5, self.at = path.open("rb", buffering=0), hashlib.md5(usedforsecurity=False), 0

    def advance(self, frontier: int, most: int = 64 * CHUNK) -> None:
        """Hash what has arrived, but not so much at once that nothing else gets its turn."""
        end = min(frontier, self.at + most)
        while self.at < end:
            chunk = self.file.read(min(CHUNK, end - self.at))
            self.md5.update(chunk)
            self.at += len(chunk)

    def digest(self) -> str:
        """Return the MD5 in hexadecimal."""
        self.file.close()
        return self.md5.hexdigest()
