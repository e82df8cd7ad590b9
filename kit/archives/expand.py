"""Expand lzma and bzip2 in bounded memory: zipfile expands all that it has read at once, a gigabyte from 1 MB."""

import bz2
import lzma
import zipfile
from collections.abc import Iterator
from typing import IO

CHUNK = 1 << 20
LARGEST_DICTIONARY = 1 << 29  # bytes; 7-Zip's strongest setting has 256 MiB
LZMA_PROPERTIES = 5  # bytes


class TooLarge(Exception):
    """A dictionary that harmless archives don't have: expanding would take that much memory."""

    def __init__(self, dictionary: int) -> None:
        super().__init__(f"its dictionary of {dictionary:,} bytes takes as much memory")


def expanded(file: IO[bytes], method: int, count: int) -> Iterator[bytes]:
    """Yield the content of a compressed member, never more than `count` bytes and one chunk.

    Args:
        file: its compressed bytes.
        method: zip's number of the compression.
        count: bytes of the content.

    Raises:
        TooLarge: it needs too much memory.
        ValueError, EOFError, OSError, lzma.LZMAError: it is damaged.
    """
    expander = bz2.BZ2Decompressor() if method == zipfile.ZIP_BZIP2 else _lzma(file, count)
    done, data = 0, b""
    while done < count and not expander.eof:
        if expander.needs_input:
            data = file.read(CHUNK)
            if not data:
                raise EOFError("it is cut short")
        chunk = expander.decompress(data, CHUNK)
        data = b""
        done += len(chunk)
        if chunk:
            yield chunk


def _lzma(file: IO[bytes], count: int) -> lzma.LZMADecompressor:
    head = file.read(4)
    if len(head) < 4 or int.from_bytes(head[2:], "little") != LZMA_PROPERTIES:
        raise ValueError("its lzma header is damaged")
    properties = file.read(LZMA_PROPERTIES)
    if len(properties) < LZMA_PROPERTIES or properties[0] >= 9 * 5 * 5:
        raise ValueError("its lzma header is damaged")
    dictionary = int.from_bytes(properties[1:], "little")
    refuse_large(dictionary)
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    # A dictionary larger than the content is never used.
    size = max(4096, min(dictionary, count))
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": lc, "lp": lp, "pb": pb}]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


def refuse_large(dictionary: int) -> None:
    """Raise `TooLarge` for a dictionary that no harmless archive has."""
    if dictionary > LARGEST_DICTIONARY:
        raise TooLarge(dictionary)
