"""Tifs of any kind, written byte by byte: what no library here writes, and what decoders are judged by."""

import struct
from typing import Any

import numpy as np

MIN_IS_WHITE, GREY, RGB, PALETTE, CMYK, YCBCR, LAB, ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
PREMULTIPLIED, PLAIN_ALPHA = 1, 2
SHORT, LONG, LONG8 = 3, 4, 16
FORMS = {"u": 1, "i": 2, "f": 3}


def tiff(
    *pages: np.ndarray,
    photometric: int | None = None,
    order: str = "<",
    big: bool = False,
    planar: bool = False,
    tile: int = 0,
    bits: int | None = None,
    extra: tuple[int, ...] = (),
    tags: dict[int, tuple[int, ...]] | None = None,
) -> bytes:
    """Write pages of HxW or HxWxC, uncompressed.

    Args:
        pages: of any numeric type.
        photometric: the tag; by default grey for one channel, RGB for three or more.
        order: of bytes: `<` or `>`.
        big: write a BigTIFF.
        planar: one plane per channel.
        tile: side of tiles; 0: one strip.
        bits: per sample where fewer than the type has: 1, 2, 4 (of uint8) or 12 (of uint16), packed.
        extra: what each channel beyond those of the photometric is.
        tags: further tags, of short numbers.
    """
    offset, count = (order + ("Q" if big else "I")), (order + ("Q" if big else "H"))
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8))
    content = bytearray(head)
    for number, page in enumerate(pages):
        entries, data = _entries(page, photometric, order, planar, tile, bits, extra, tags or {}, big)
        start, size = len(content), 20 if big else 12
        after = start + struct.calcsize(count) + size * len(entries) + struct.calcsize(offset)
        directory, further = struct.pack(count, len(entries)), b""
        for tag, kind, values in entries:
            form = {SHORT: "H", LONG: "I", LONG8: "Q"}[kind]
            given = [after + value for value in values] if tag in (273, 324) else values
            packed = struct.pack(f"{order}{len(given)}{form}", *given)
            room = 8 if big else 4
            if len(packed) > room:
                place = after + len(data) + len(further)
                further += packed
                packed = struct.pack(offset, place)
            head_of = struct.pack(order + "HH", tag, kind) + struct.pack(offset, len(given))
            directory += head_of + packed.ljust(room, b"\0")
        end = after + len(data) + len(further)
        following = (end + end % 2) if number + 1 < len(pages) else 0
        content += directory + struct.pack(offset, following) + data + further + bytes(end % 2 if following else 0)
    return bytes(content)


def _entries(
    page: np.ndarray,
    photometric: int | None,
    order: str,
    planar: bool,
    tile: int,
    bits: int | None,
    extra: tuple[int, ...],
    tags: dict[int, tuple[int, ...]],
    big: bool,
) -> tuple[list[Any], bytes]:
    cube = page if page.ndim == 3 else page[..., None]
    height, width, channels = cube.shape
    planes = [cube[..., [channel]] for channel in range(channels)] if planar else [cube]
    parts = [part for plane in planes for part in (_tiles(plane, tile) if tile else [plane])]
    packed = [_packed(part, order, bits) for part in parts]
    starts = np.cumsum([0, *map(len, packed)])[:-1].tolist()
    long = LONG8 if big else LONG
    found = {
        256: (long, (width,)),
        257: (long, (height,)),
        258: (SHORT, (bits or page.dtype.itemsize * 8,) * channels),
        259: (SHORT, (1,)),
        262: (SHORT, (photometric if photometric is not None else RGB if channels > 2 else GREY,)),
        277: (SHORT, (channels,)),
        284: (SHORT, (2 if planar else 1,)),
        339: (SHORT, (FORMS[page.dtype.kind],) * channels),
        **{tag: (SHORT, values) for tag, values in tags.items()},
    }
    if extra:
        found[338] = (SHORT, extra)
    if tile:
        found.update({322: (long, (tile,)), 323: (long, (tile,)), 324: (long, starts)})
        found[325] = (long, [len(part) for part in packed])
    else:
        found.update({273: (long, starts), 278: (long, (height,)), 279: (long, [len(part) for part in packed])})
    return [(tag, *found[tag]) for tag in sorted(found)], b"".join(packed)


def _tiles(plane: np.ndarray, side: int) -> list[np.ndarray]:
    height, width = plane.shape[:2]
    padded = np.pad(plane, ((0, -height % side), (0, -width % side), (0, 0)))
    places = [(top, left) for top in range(0, height, side) for left in range(0, width, side)]
    return [padded[top : top + side, left : left + side] for top, left in places]


def _packed(part: np.ndarray, order: str, bits: int | None) -> bytes:
    if bits is None:
        return part.astype(part.dtype.newbyteorder(order)).tobytes()
    values = part.reshape(len(part), -1)
    spread = (values[..., None] >> np.arange(bits)[::-1] & 1).reshape(len(part), -1).astype(np.uint8)
    return np.packbits(spread, axis=1).tobytes()
