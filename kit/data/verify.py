"""Decoding every image in full, in processes that import nothing heavy before they have one."""

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kit.data.checksums import Checksums
from kit.errors import DISK, KitError
from kit.images.header import UnknownFormatError, opened

if TYPE_CHECKING:
    import numpy as np

LOCK_BYTES = 1 << 16  # of shared memory per worker process, more than its locks take
CHUNK = 64  # samples per task: some 10 ms of work against 0.2 ms of overhead
Read = Callable[[tuple[Path, ...]], "np.ndarray"]


class Decoded(NamedTuple):
    """The outcome of reading one sample.

    Args:
        digest: of its pixels; empty if a file failed.
        kinds: `width x height mode` of each file, e.g. `96x96 RGB`; empty if one failed.
        error: the first file that failed and why; empty if none did.
        second: what Pillow had to read, since OpenCV can't; empty for nothing.
    """

    digest: bytes
    kinds: tuple[str, ...]
    error: str
    second: str = ""


def decode(root: str, files: tuple[str, ...], read: Read | None = None) -> Decoded:
    """Read every pixel of a sample as training does.

    Args:
        root: the data folder.
        files: of the sample, relative to it.
        read: the dataset's reader; None: kit's own, file by file.
    """
    folder = Path(root)
    kinds, changed = [], ""
    for name in files:
        try:
            content, header = opened(folder / name)
        except UnknownFormatError as error:
            if read is None:
                return _failed(name, str(error))
            kinds.append("")  # a dataset may have formats of its own
            continue
        except OSError as error:
            return _failed(name, error.strerror or str(error))
        except ValueError as error:
            return _failed(name, str(error))
        kinds.append(header.text)
        if not changed and not Checksums.of(folder).fits(name, content):
            changed = name
    digest, wrong, second = _pixels(folder, files, read)
    if wrong:
        return Decoded(b"", (), wrong)
    # What is wrong with the content of a file helps more than that it has changed.
    if changed:
        return _failed(changed, "its checksum differs, it is not what was downloaded")
    return Decoded(digest, tuple(kinds), "", second)


def _failed(name: str, why: str) -> Decoded:
    return Decoded(b"", (), f"{name}: {why}")


def _pixels(folder: Path, files: tuple[str, ...], read: Read | None) -> tuple[bytes, str, str]:
    """Return the digest of a sample's pixels, what is wrong with a file, and what Pillow had to read."""
    # Not before there is something to decode: this takes a fifth of a second.
    from kit.data.images import UnreadableError, read_pixels
    from kit.images.decode import second_reader
    from kit.images.levels import reading

    digest = hashlib.blake2b(digest_size=16)
    second_reader()  # what was read before is no matter of this sample
    try:
        with reading(folder):
            paths = tuple([folder / name for name in files])
            for image in [read(paths)] if read is not None else map(read_pixels, paths):
                digest.update(f"{image.dtype} {image.shape}".encode() + image.tobytes())
    except UnreadableError as error:
        return b"", f"{os.path.relpath(error.path, folder)}: {error.why}", ""
    except Exception as error:  # a dataset's reader is foreign code
        return b"", f"{files[0]}: {' '.join(str(error).split()) or type(error).__name__}", ""
    return digest.digest(), "", second_reader()


def decode_all(
    root: str, samples: Iterable[tuple[str, ...]], processes: int | None = None, read: Read | None = None
) -> Iterator[Decoded]:
    """Decode many samples, in their order, on all cores (or `processes` of them).

    Worker processes are forked in this call, so `read` may be any callable. Memory is bounded: only a few chunks per
    process are in flight at a time. A process that dies raises a `KitError`.
    """
    count = processes or cores()
    samples = iter(samples)
    chunks = iter(lambda: list(islice(samples, CHUNK)), [])
    first = list(islice(chunks, 2))
    if len(first) < 2 or count == 1 or not room_for_workers(count):
        # For few images, starting processes would take longer.
        return (decoded for chunk in chain(first, chunks) for decoded in _decode_chunk(root, chunk, read))
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(os.getpid(), stop, read))

    def submit(chunk: list[tuple[str, ...]]) -> Future[list[Decoded]]:
        # The first one starts the processes, which inherit this mask: Ctrl-C is the parent's, which stops its workers.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(_decode_in_worker, root, chunk)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    source = chain(first, chunks)
    waiting = deque(submit(chunk) for chunk in islice(source, 4 * count))
    return _collected(pool, stop, waiting, (submit(chunk) for chunk in source))


def _collected(
    pool: ProcessPoolExecutor,
    stop: Event,
    waiting: deque[Future[list[Decoded]]],
    further: Iterator[Future[list[Decoded]]],
) -> Iterator[Decoded]:
    """Yield what has been decoded, and submit the rest."""
    try:
        while waiting:
            yield from waiting.popleft().result()
            waiting.extend(islice(further, 1))
    except BrokenProcessPool:
        raise KitError("a decoding process was killed (out of memory?): free some and run again", DISK) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def room_for_workers(count: int) -> bool:
    """Return whether /dev/shm has room for the locks of a pool's queues: a page each, which containers may lack."""
    try:
        disk = os.statvfs("/dev/shm")
    except OSError:
        return True  # a system that keeps locks elsewhere
    return disk.f_bavail * disk.f_frsize >= LOCK_BYTES * (count + 2)


def end_with(parent: int) -> None:
    """End this worker process when its parent is gone, however it ended; a pool's queue would keep it for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_workers: list[tuple[Event, Read | None]] = []


def _start(parent: int, stop: Event, read: Read | None) -> None:
    """Turn a process into a worker."""
    import cv2

    cv2.setNumThreads(0)
    _workers[:] = [(stop, read)]
    end_with(parent)


def _decode_in_worker(root: str, chunk: list[tuple[str, ...]]) -> list[Decoded]:
    return list(_decode_chunk(root, chunk, _workers[0][1]))


def _decode_chunk(root: str, chunk: list[tuple[str, ...]], read: Read | None) -> Iterator[Decoded]:
    for files in chunk:
        if any(stop.is_set() for stop, _ in _workers):
            raise CancelledError
        yield decode(root, files, read)
