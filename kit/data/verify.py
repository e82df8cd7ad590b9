"""Decode image files in full, in processes that import nothing heavy.

This module is separate from `kit.data.check` because worker processes import it: Pillow alone, no pandas, no torch.
"""

import hashlib
import io
import multiprocessing
import os
import signal
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import NamedTuple

from kit.errors import DISK, KitError

CHUNK = 64  # samples per task: some 10 ms of work against 0.2 ms of overhead


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


def decode(root: str, files: tuple[str, ...]) -> Decoded:
    """Decode every pixel of a sample's files (names relative to `root`) with Pillow."""
    from PIL import Image, UnidentifiedImageError

    digest = hashlib.blake2b(digest_size=16)
    kinds: list[str] = []
    errors: list[str] = []
    for name in files:
        try:
            # From memory, because Pillow maps a plain file and would not notice a missing end.
            with open(os.path.join(root, name), "rb") as file, Image.open(io.BytesIO(file.read())) as image:
                image.load()
                kinds.append(f"{image.width}x{image.height} {image.mode}")
                digest.update(kinds[-1].encode() + image.tobytes())
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
    if len(first) < 2 or processes == 1:
        # Starting processes would take longer.
        for chunk in chain(first, chunks):
            yield from _decode_chunk(root, chunk)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_quiet)
    try:
        source = chain(first, chunks)
        waiting = deque(pool.submit(_decode_chunk, root, chunk) for chunk in islice(source, 4 * processes))
        while waiting:
            yield from waiting.popleft().result()
            waiting.extend(pool.submit(_decode_chunk, root, chunk) for chunk in islice(source, 1))
    except BrokenProcessPool:
        raise KitError("a decoding process was killed (out of memory?): free some and run again", DISK) from None
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode_chunk(root: str, chunk: list[tuple[str, ...]]) -> list[Decoded]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they concern metadata; pixel errors raise
        return [decode(root, files) for files in chunk]


def _quiet() -> None:
    """Leave Ctrl-C to the parent, which then stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
