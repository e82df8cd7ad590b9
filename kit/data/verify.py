"""Which files are images, and decoding them in full, in processes that import nothing heavy.

This module is separate from `kit.data.check` because worker processes import it: Pillow alone, no pandas, no torch.
Every reader of images takes a file's bytes from `image_bytes`, so no decoder sees anything but the formats below:
Pillow alone knows some forty, among them PostScript, for which it starts Ghostscript.
"""

import hashlib
import io
import multiprocessing
import os
import re
import signal
import stat
import struct
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

from kit.data.checksums import Checksums
from kit.errors import DISK, KitError

LOCK_BYTES = 1 << 16  # of shared memory per worker process, more than its locks take
CHUNK = 64  # samples per task: some 10 ms of work against 0.2 ms of overhead
FORMATS = ("TIFF", "PNG", "JPEG", "WEBP", "BMP", "GIF")
KNOWN = re.compile(rb"II[*+]\0|MM\0[*+]|\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP|BM|GIF8[79]a", re.DOTALL)
MOST_BYTES, MOST_PIXELS = 1 << 30, 1 << 26  # of one file; a png of 300 kB can hold 100,000 x 100,000 pixels


class Decoded(NamedTuple):
    """The outcome of decoding one sample's files.

    Args:
        digest: of the decoded pixels of all its files; empty if one failed.
        kinds: `width x height mode` of each file, e.g. `96x96 RGB`; empty where it failed.
        error: the first file that failed and why; empty if none did.
    """

    digest: bytes
    kinds: tuple[str, ...]
    error: str


def image_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file that is an image of `FORMATS` by its first bytes, of at most `MOST_PIXELS`.

    Raises:
        OSError: it can't be opened.
        ValueError: it is something else, which the message says.
    """
    # A pipe without a writer would block.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(number)
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("not a file but a folder, pipe or device")
        if state.st_size > MOST_BYTES:
            raise ValueError(f"{state.st_size:,} bytes are too many for an image")
        content = os.read(number, state.st_size)
        while len(content) < state.st_size and (more := os.read(number, state.st_size - len(content))):
            content += more
    finally:
        os.close(number)
    if KNOWN.match(content) is None:
        raise ValueError(f"not an image: neither {', '.join(FORMATS[:-1])} nor {FORMATS[-1]} by its first bytes")
    try:
        width, height = _sides(content)
    except (struct.error, IndexError, KeyError):
        raise ValueError("not an image, or its header is damaged") from None
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width:,} x {height:,} pixels are too many for an image")
    end = {b"\x89": b"IEND\xaeB`\x82", b"G": b";"}.get(content[:1])
    if end is not None and end not in content[-4096:]:
        raise ValueError("image file is truncated: its end is missing")
    return content


def without_profile(content: bytes) -> bytes:
    """Return a png without its colour profile (`iCCP`), which no reader applies; any other image as it is.

    What libpng has to say about a profile goes to the terminal as it is, with the name that a stranger gave it.
    """
    if content[:2] != b"\x89P" or b"iCCP" not in content:
        return content
    kept, place = [content[:8]], 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"IDAT":
            break
        if kind != b"iCCP":
            kept.append(content[place : place + 12 + length])
        place += 12 + length
    return b"".join([*kept, content[place:]])


def _sides(content: bytes) -> tuple[int, int]:
    """Read width and height from the header of an image: some microseconds, where decoders take memory first."""
    kind = content[:2]
    if kind == b"\x89P":
        return struct.unpack_from(">II", content, 16)
    if kind == b"GI":
        return struct.unpack_from("<HH", content, 6)
    if kind == b"BM":
        (header,) = struct.unpack_from("<I", content, 14)
        width, height = struct.unpack_from("<HH" if header == 12 else "<ii", content, 18)
        return abs(width), abs(height)
    if kind == b"RI":
        return _webp_sides(content)
    return _jpeg_sides(content) if kind == b"\xff\xd8" else _tiff_sides(content, "<" if kind == b"II" else ">")


def _webp_sides(content: bytes) -> tuple[int, int]:
    if content[12:16] == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if content[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_sides(content: bytes) -> tuple[int, int]:
    """Walk along the segments to the frame's header, which has one of the markers C0 to CF but C4, C8 and CC."""
    place = 2
    while True:
        while content[place] == 0xFF:
            place += 1
        marker = content[place]
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, place + 4)
            return width, height
        place += 1 if marker in range(0xD0, 0xD9) else 1 + struct.unpack_from(">H", content, place + 1)[0]


def _tiff_sides(content: bytes, order: str) -> tuple[int, int]:
    """Look for the tags of width (256) and height (257) in the first directory.

    Where a tag stands twice, decoders disagree on which one counts: the larger one must do no harm.
    """
    if content[2 if order == "<" else 3] == 43:  # BigTIFF: everything is 64 bits wide
        place, number, length, value = 8, "Q", 20, 12
    else:
        place, number, length, value = 4, "I", 12, 8
    (start,) = struct.unpack_from(order + number, content, place)
    (count,) = struct.unpack_from(order + ("Q" if length == 20 else "H"), content, start)
    first = start + (8 if length == 20 else 2)
    sides = {256: 0, 257: 0}
    for place in range(first, min(first + length * count, len(content)), length):
        tag, kind = struct.unpack_from(order + "HH", content, place)
        if tag in sides:
            form = {3: "H", 16: "Q"}.get(kind, "I")
            sides[tag] = max(sides[tag], *struct.unpack_from(order + form, content, place + value))
    if not all(sides.values()):
        raise KeyError("it has no sides")
    return sides[256], sides[257]


def decode(root: str, files: tuple[str, ...]) -> Decoded:
    """Decode every pixel of a sample's files (names relative to `root`) with Pillow."""
    from PIL import Image, UnidentifiedImageError

    digest = hashlib.blake2b(digest_size=16)
    kinds: list[str] = []
    errors: list[str] = []
    known = Checksums.of(Path(root))
    for name in files:
        try:
            # From memory, because Pillow maps a plain file and would not notice a missing end.
            content = image_bytes(os.path.join(root, name))
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                image.load()
                kinds.append(f"{image.width}x{image.height} {image.mode}")
                digest.update(kinds[-1].encode() + image.tobytes())
            if not known.fits(name, content):
                errors.append(f"{name}: its checksum differs, it is not what was downloaded")
        except UnidentifiedImageError:
            kinds.append("")
            errors.append(f"{name}: not an image, or its header is damaged")
        except Exception as error:  # a damaged file can raise anything in Pillow's parsers
            kinds.append("")
            errors.append(f"{name}: {' '.join(str(error).split()) or type(error).__name__}")
    return Decoded(b"" if errors else digest.digest(), tuple(kinds), errors[0] if errors else "")


def decode_all(root: str, samples: Iterable[tuple[str, ...]], processes: int | None = None) -> Iterator[Decoded]:
    """Decode many samples, in their order, on all cores (or `processes` of them).

    Memory is bounded: only a few chunks per process are in flight at a time. A process that dies raises a `KitError`.
    """
    processes = processes or cores()
    samples = iter(samples)
    chunks = iter(lambda: list(islice(samples, CHUNK)), [])
    first = list(islice(chunks, 2))
    if len(first) < 2 or processes == 1 or not room_for_workers(processes):
        # For few images, starting processes would take longer.
        for chunk in chain(first, chunks):
            yield from _decode_chunk(root, chunk)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(os.getpid(), stop))

    def submit(chunk: list[tuple[str, ...]]) -> Future[list[Decoded]]:
        # A submission may start a process, which inherits this mask: Ctrl-C is the parent's, which stops its workers.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(_decode_chunk, root, chunk)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:
        source = chain(first, chunks)
        waiting = deque(submit(chunk) for chunk in islice(source, 4 * processes))
        while waiting:
            yield from waiting.popleft().result()
            waiting.extend(submit(chunk) for chunk in islice(source, 1))
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


_stops: list[Event] = []


def _start(parent: int, stop: Event) -> None:
    """Turn a process into a worker."""
    _stops[:] = [stop]
    end_with(parent)


def _decode_chunk(root: str, chunk: list[tuple[str, ...]]) -> list[Decoded]:
    decoded = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they concern metadata; pixel errors raise
        for files in chunk:
            if any(stop.is_set() for stop in _stops):
                raise CancelledError
            decoded.append(decode(root, files))
    return decoded
