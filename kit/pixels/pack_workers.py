"""Decode images into one file of raw rows on all cores, chunk by chunk: the work behind `kit.pixels.pack`.

Worker processes are forked, so a dataset's `read` may be any callable and nothing heavy is imported again. They get the
names of one chunk at a time and hold one image at a time, so memory does not grow with the number of images.
"""

import mmap
import multiprocessing
import os
import signal
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kit.data.images import read_sample, resize
from kit.data.verify import cores, end_with, room_for_workers
from kit.errors import DISK, KitError
from kit.hooks.specs import DatasetSpec
from kit.images.decode import second_reader

# The work that a kill may lose, and the size of one task: 10 ms to a second of decoding.
CHUNK_ROWS, CHUNK_BYTES = 512, 1 << 23
# Bytes per write: processes that write to one file wait for each other, so image by image takes twice as long.
WRITE_BYTES = 1 << 20
Files = tuple[str, ...]


class MixedSizesError(Exception):
    """An image does not have the native size that all were assumed to share."""


@dataclass(frozen=True)
class Layout:
    """How `count` images of `size` x `size` x `channels` bytes lie in one file: row after row, in whole chunks."""

    count: int
    size: int
    channels: int

    @property
    def row_bytes(self) -> int:
        """Bytes per image."""
        return self.size * self.size * self.channels

    @property
    def bytes(self) -> int:
        """Bytes of the file."""
        return self.count * self.row_bytes

    @property
    def chunk_rows(self) -> int:
        """Images per chunk; the last chunk may hold fewer."""
        return max(1, min(CHUNK_ROWS, CHUNK_BYTES // self.row_bytes))

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.count // self.chunk_rows)

    def rows(self, chunk: int) -> range:
        """Return the rows of a chunk."""
        return range(chunk * self.chunk_rows, min(self.count, (chunk + 1) * self.chunk_rows))


@dataclass(frozen=True)
class Job:
    """What the worker processes need to know.

    Args:
        path: the file of rows.
        layout: how the rows lie in it.
        root: the folder that file names are relative to.
        dataset: reads the files of a sample.
        native: the side that every image must have on disk (`MixedSizesError` otherwise); None: any.
    """

    path: Path
    layout: Layout
    root: Path
    dataset: DatasetSpec
    native: int | None = None


class Workers:
    """Worker processes for one job; use it as a context manager.

    However the block ends, they end with it, within one image. If this process is killed, they end within a second.
    """

    def __init__(self, job: Job, workers: int | None) -> None:
        self.job, self.workers = job, workers or cores()
        self._stop = mmap.mmap(-1, 2)  # whether processes are to stop, and whether Pillow had to read an image

    def __enter__(self) -> "Workers":
        if not room_for_workers(self.workers):
            raise KitError(
                "packing needs some room in /dev/shm for its processes: free some, or give --workers 1", DISK
            )
        self._pool = ProcessPoolExecutor(
            self.workers,
            mp_context=multiprocessing.get_context("fork"),
            initializer=_start,
            initargs=(self.job, self._stop, os.getpid()),
        )
        # Python loses a Ctrl-C that arrives while it forks; workers inherit this mask and leave Ctrl-C to their parent.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._pool.submit(os.getpid).result()  # forks now, before a progress bar has started a thread
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop[0] = 1
        self._pool.shutdown(cancel_futures=True)

    @property
    def read_by_pillow(self) -> bool:
        """Whether a process has met an image that OpenCV can't read."""
        return bool(self._stop[1])

    def fill(self, chunks: Iterable[int], files: Callable[[range], list[Files]]) -> Iterator[tuple[int, int]]:
        """Decode and write chunks; yield (chunk, CRC-32 of its bytes) as they finish, in any order."""
        rows = self.job.layout.rows
        return self._spread(_fill, ((chunk, files(rows(chunk))) for chunk in chunks))

    def sums(self, chunks: Iterable[int]) -> Iterator[tuple[int, int]]:
        """Read chunks of the file back; yield (chunk, CRC-32 of its bytes) as they finish, in any order."""
        return self._spread(_sum, ((chunk,) for chunk in chunks))

    def _spread(
        self, function: Callable[..., tuple[int, int]], calls: Iterable[tuple[object, ...]]
    ) -> Iterator[tuple[int, int]]:
        """Run the calls in the pool, a few per process at a time; yield their results as they finish."""
        waiting: set[Future[tuple[int, int]]] = set()
        try:
            for call in calls:
                waiting.add(self._pool.submit(function, *call))
                if len(waiting) >= 3 * self.workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            for future in as_completed(waiting):
                yield future.result()
        except BrokenProcessPool:
            raise KitError(
                "a packing process was killed (out of memory?): free some, then the same command resumes", DISK
            ) from None


@dataclass(frozen=True)
class _Worker:
    """What one process holds: its job, the bytes shared with its parent, the open file, a buffer of rows to write."""

    job: Job
    stop: mmap.mmap
    file: int
    rows: np.ndarray


_workers: list[_Worker] = []


def _start(job: Job, stop: mmap.mmap, parent: int) -> None:
    """Turn a forked process into a worker."""
    cv2.setNumThreads(0)
    rows = np.empty((max(1, WRITE_BYTES // job.layout.row_bytes), job.layout.row_bytes), np.uint8)
    _workers[:] = [_Worker(job, stop, os.open(job.path, os.O_RDWR), rows)]
    end_with(parent)


def _fill(chunk: int, samples: list[Files]) -> tuple[int, int]:
    worker = _workers[0]
    job, layout, rows = worker.job, worker.job.layout, worker.rows
    offset, crc, buffered = layout.rows(chunk).start * layout.row_bytes, 0, 0
    for number, files in enumerate(samples, 1):
        if worker.stop[0]:
            raise CancelledError
        image = read_sample(job.dataset, job.root, files)
        if second_reader():
            worker.stop[1] = 1
        if job.native is not None and image.shape[:2] != (job.native, job.native):
            raise MixedSizesError
        rows[buffered] = resize(image, layout.size).reshape(-1)
        crc = zlib.crc32(rows[buffered], crc)
        buffered += 1
        if buffered == len(rows) or number == len(samples):
            _write(worker.file, rows[:buffered].data.cast("B"), offset)
            offset, buffered = offset + buffered * layout.row_bytes, 0
    return chunk, crc


def _write(file: int, content: memoryview, offset: int) -> None:
    while content:  # a disk that fills up first accepts only some of the bytes
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written


def _sum(chunk: int) -> tuple[int, int]:
    worker = _workers[0]
    layout = worker.job.layout
    row, crc = bytearray(layout.row_bytes), 0
    for number in layout.rows(chunk):
        if worker.stop[0]:
            raise CancelledError
        count = os.preadv(worker.file, [row], number * layout.row_bytes)
        crc = zlib.crc32(memoryview(row)[:count], crc)
    return chunk, crc
