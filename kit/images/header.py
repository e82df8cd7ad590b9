"""Which files are images, and what their headers say; told without a decoder, in some microseconds.

Every reader of images takes a file's bytes from here, so no decoder sees anything but the formats below: Pillow alone
knows some forty, among them PostScript, for which it starts Ghostscript. Nothing heavy is imported.
"""

import os
import re
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from kit.images.tiff import PHOTOMETRIC, Page, largest_page, orientation_in

FORMATS = ("TIFF", "PNG", "JPEG", "WEBP", "BMP", "GIF")
KNOWN = re.compile(rb"II[*+]\0|MM\0[*+]|\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP|BM|GIF8[79]a", re.DOTALL)
MOST_BYTES, MOST_PIXELS = 1 << 30, 1 << 26  # of one file; a png of 300 kB can hold 100,000 x 100,000 pixels
PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
EXIF = b"Exif\0\0"
ENDS = {"PNG": b"IEND\xaeB`\x82", "GIF": b";"}


class Header(NamedTuple):
    """What an image is.

    Args:
        kind: a name of `FORMATS`.
        width, height: in pixels, as stored.
        mode: its bands by Pillow's names (`RGB`, `L`, `P`, `CMYK`), `;16` behind them for more than eight bits; empty
            of a tif, whose page has it.
        orientation: 1 to 8, of the Exif or tif tag: how it is to be turned.
        page: the directory that is read, of a tif.
    """

    kind: str
    width: int
    height: int
    mode: str
    orientation: int = 1
    page: Page | None = None

    @property
    def is_deep(self) -> bool:
        """Whether its samples have more than eight bits, or are no whole numbers from 0 on."""
        return self.page.dtype != "uint8" if self.page is not None else ";" in self.mode

    @property
    def is_inverted(self) -> bool:
        """Whether 0 is white, of more than eight bits: only with their range can they be turned round."""
        return self.page is not None and self.page.get(PHOTOMETRIC) == 0 and self.page.dtype != "uint8"

    @property
    def text(self) -> str:
        """`width x height mode`, turned as it is read, e.g. `96x96 RGB`."""
        width, height = (self.height, self.width) if self.orientation > 4 else (self.width, self.height)
        return f"{width}x{height} {self.mode if self.page is None else self.page.mode}"


class UnknownFormatError(ValueError):
    """A file is none of the `FORMATS`."""


def opened(path: str | os.PathLike[str]) -> tuple[bytes, Header]:
    """Return the content of a file that is an image of `FORMATS` by its first bytes, and its header.

    Raises:
        OSError: it can't be opened.
        ValueError: it is something else, or of more than `MOST_PIXELS`, which the message says.
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
        known = f"{', '.join(FORMATS[:-1])} nor {FORMATS[-1]}"
        raise UnknownFormatError(f"not an image: neither {known} by its first bytes")
    try:
        header = _header(content)
    except (struct.error, IndexError, KeyError):
        raise ValueError("not an image, or its header is damaged") from None
    if header.width * header.height > MOST_PIXELS:
        raise ValueError(f"{header.width:,} x {header.height:,} pixels are too many for an image")
    end = ENDS.get(header.kind)
    if end is not None and end not in content[-4096:]:
        raise ValueError("image file is truncated: its end is missing")
    return content, header


def without_profile(content: bytes) -> bytes:
    """Return a png without its colour profile (`iCCP`), which no reader applies; any other image as it is.

    What libpng has to say about a profile goes to the terminal as it is, with the name that a stranger gave it.
    """
    if content[:2] != b"\x89P" or b"iCCP" not in content:
        return content
    kept = [content[:8]]
    for kind, first, end in _png_chunks(content):
        if kind == b"IDAT":
            kept.append(content[first - 8 :])
            break
        if kind != b"iCCP":
            kept.append(content[first - 8 : end + 4])
    return b"".join(kept)


def _header(content: bytes) -> Header:
    kind = content[:2]
    if kind in (b"II", b"MM"):
        page = largest_page(content)
        return Header("TIFF", page.width, page.height, "", page.orientation, page)
    return PARSERS[kind](content)


def _png(content: bytes) -> Header:
    width, height, bits, colour = struct.unpack_from(">IIBB", content, 16)
    mode = PNG_MODES[colour] + (";16" if bits == 16 else "")
    mode = {"L;16": "I;16", "L": "1" if bits == 1 else "L"}.get(mode, mode)
    orientation = 1
    if b"eXIf" in content:
        chunks = [content[first:end] for kind, first, end in _png_chunks(content) if kind == b"eXIf"]
        orientation = orientation_in(chunks[0]) if chunks else 1
    return Header("PNG", width, height, mode, orientation)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, where its data begin and where they end."""
    place = 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        yield kind, place + 8, place + 8 + length
        place += 12 + length


def _jpeg(content: bytes) -> Header:
    """Walk along the segments to the frame's header, which has one of the markers C0 to CF but C4, C8 and CC."""
    place, orientation = 2, 1
    while True:
        while content[place] == 0xFF:
            place += 1
        marker = content[place]
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, bands = struct.unpack_from(">BHHB", content, place + 3)
            mode = {1: "L", 3: "RGB", 4: "CMYK"}.get(bands, f"{bands} bands") + ("" if bits == 8 else f";{bits}")
            return Header("JPEG", width, height, mode, orientation)
        if marker in range(0xD0, 0xD9):
            place += 1
            continue
        (length,) = struct.unpack_from(">H", content, place + 1)
        if marker == 0xE1 and content[place + 3 : place + 9] == EXIF:
            orientation = orientation_in(content[place + 9 : place + 1 + length])
        place += 1 + length


def _webp(content: bytes) -> Header:
    if content[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return Header("WEBP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), "RGBA" if bits >> 28 & 1 else "RGB")
    if content[12:16] != b"VP8X":
        width, height = struct.unpack_from("<HH", content, 26)
        return Header("WEBP", width & 0x3FFF, height & 0x3FFF, "RGB")
    width, height = (1 + int.from_bytes(content[place : place + 3], "little") for place in (24, 27))
    orientation, place = 1, 12
    while content[20] & 8 and place + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, place)
        if kind == b"EXIF":
            orientation = orientation_in(content[place + 8 : place + 8 + length].removeprefix(EXIF))
        place += 8 + length + length % 2
    return Header("WEBP", width, height, "RGBA" if content[20] & 16 else "RGB", orientation)


def _bmp(content: bytes) -> Header:
    (size,) = struct.unpack_from("<I", content, 14)
    width, height, _, bits = struct.unpack_from("<HHHH" if size == 12 else "<iiHH", content, 18)
    return Header("BMP", abs(width), abs(height), "1" if bits == 1 else "P" if bits <= 8 else "RGB")


def _gif(content: bytes) -> Header:
    width, height = struct.unpack_from("<HH", content, 6)
    return Header("GIF", width, height, "P")


PARSERS = {b"\x89P": _png, b"\xff\xd8": _jpeg, b"RI": _webp, b"BM": _bmp, b"GI": _gif}
