"""Tif directories: the page that is read, and the same samples under a directory that every decoder understands.

Decoders differ in what they make of a tif's further samples, planes, colour spaces and pages. Its samples themselves,
as rows of one channel, are read alike by all: what is unusual is read as that and put together in `kit.images.decode`.
Numbers of tags: TIFF 6.0 (1992).
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIPS, ORIENTATION, BANDS, ROWS, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
FILL_ORDER, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 266, 317, 322, 323, 324, 325
EXTRA, FORMAT = 338, 339
# Tags that are passed on to a directory of one channel as they are.
KEPT = (HEIGHT, COMPRESSION, FILL_ORDER, ROWS, PREDICTOR, TILE_HEIGHT)
FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}
SIZES = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 16: 8}
# Of what fits into a directory's entry, whose rest is padding.
ONE = {(order, kind): struct.Struct(order + FORMS[kind]).unpack_from for order in "<>" for kind in (1, 3, 4)}
MODES = {0: "L", 1: "L", 2: "RGB", 3: "P", 5: "CMYK", 6: "YCbCr", 8: "LAB", 9: "LAB"}
COLOURS = {"RGB": 3, "CMYK": 4, "YCbCr": 3, "LAB": 3}
# By what a sample is and its bits; other bits are packed, and read into the next larger unsigned type.
KINDS = {1: "uint", 2: "int", 3: "float", 4: "uint"}
TYPES = {(form, bits): f"{kind}{bits}" for form, kind in KINDS.items() for bits in (8, 16, 32, 64)}
MASK = 4  # bit of SUBFILE
MOST_PAGES = 1000


class Page(NamedTuple):
    """One directory of a tif.

    Args:
        place: of the directory in the file.
        order: of bytes: `<` or `>`.
        big: whether it is a BigTIFF.
        tags: the whole numbers of each tag.
        turned_at: where the orientation's value lies; 0 where there is none.
        is_first: whether it is the file's first one.
    """

    place: int
    order: str
    big: bool
    tags: dict[int, tuple[int, ...]]
    turned_at: int
    is_first: bool = True

    def get(self, tag: int, default: int = 0) -> int:
        """Return the first number of a tag."""
        values = self.tags.get(tag)
        return values[0] if values else default

    @property
    def width(self) -> int:
        """Columns as stored."""
        return self.tags[WIDTH][0]

    @property
    def height(self) -> int:
        """Rows as stored."""
        return self.tags[HEIGHT][0]

    @property
    def bands(self) -> int:
        """Samples per pixel, alpha among them."""
        return self.get(BANDS, 1) or 1

    @property
    def bits(self) -> int:
        """Bits per sample."""
        return self.get(BITS, 1)

    @property
    def dtype(self) -> str:
        """Numpy's name of the samples' type; packed bits are read into the next larger one."""
        return TYPES.get((self.get(FORMAT, 1), self.bits)) or f"uint{16 if 8 < self.bits < 16 else 8}"

    @property
    def colours(self) -> int:
        """Samples per pixel without alpha and further bands."""
        return COLOURS.get(MODES.get(self.get(PHOTOMETRIC), "L"), 1)

    @property
    def mode(self) -> str:
        """Bands by Pillow's names, with what they are made of where that is more than eight bits."""
        base = MODES.get(self.get(PHOTOMETRIC), f"photometric {self.get(PHOTOMETRIC)}")
        if base == "L" and self.bits == 1:
            base = "1"
        alpha = self.tags.get(EXTRA, ())[:1] in ((1,), (2,)) or (base == "RGB" and self.bands == 4)
        base += "A" if alpha else ""
        more = self.bands - self.colours - alpha
        base += f"+{more}" if more > 0 else ""
        short = {"uint8": "", "uint16": ";16"}.get(self.dtype, f";{self.dtype}")
        return {"L;16": "I;16", "L;int32": "I", "L;float32": "F"}.get(base + short, base + short)

    @property
    def orientation(self) -> int:
        """1 to 8: how it is to be turned."""
        value = self.get(ORIENTATION, 1)
        return value if 1 <= value <= 8 else 1


def largest_page(content: bytes) -> Page:
    """Return the page with most pixels, the first of several; masks are none.

    Raises:
        KeyError, struct.error: the first page has no sides, or lies outside the file.
    """
    order = "<" if content[:2] == b"II" else ">"
    big = content[2 if order == "<" else 3] == 43
    (place,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
    best, following = _page(content, place, order, big)
    seen = {place}
    while following and following not in seen and len(seen) < MOST_PAGES:
        seen.add(following)
        try:
            page, following = _page(content, following, order, big)
        except (KeyError, struct.error):
            break  # what is damaged behind the first page doesn't concern it
        if not page.get(SUBFILE) & MASK and page.width * page.height > best.width * best.height:
            best = page._replace(is_first=False)
    return best


def orientation_in(exif: bytes) -> int:
    """Return the orientation in Exif data, which are laid out as a tif; 1 where there is none."""
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        (place,) = struct.unpack_from(order + "I", exif, 4)
        return Page(0, order, False, *_tags(exif, place, order, False)[:2]).orientation
    except (KeyError, struct.error):
        return 1


def _page(content: bytes, place: int, order: str, big: bool) -> tuple[Page, int]:
    """Read a directory; return it, and where the next one is (0: nowhere)."""
    tags, turned_at, end = _tags(content, place, order, big)
    if not (tags.get(WIDTH, (0,))[0] and tags.get(HEIGHT, (0,))[0]):
        raise KeyError("it has no sides")
    following = content[end : end + (8 if big else 4)]
    return Page(place, order, big, tags, turned_at), int.from_bytes(following, "little" if order == "<" else "big")


def _tags(content: bytes, place: int, order: str, big: bool) -> tuple[dict[int, tuple[int, ...]], int, int]:
    """Read the whole numbers of a directory's tags, where the orientation's value lies, and where the directory ends.

    Where a side stands twice, decoders disagree on which one counts: the larger one must do no harm.
    """
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, place)
    first, length, room = (place + 8, 20, 8) if big else (place + 2, 12, 4)
    end = first + length * count
    tags: dict[int, tuple[int, ...]] = {}
    turned_at = 0
    entries = content[first : min(end, len(content) - (len(content) - first) % length)]
    layout = f"{order}HH{'Q8s' if big else 'I4s'}"
    for number, (tag, kind, many, value) in enumerate(struct.iter_unpack(layout, entries)):
        if many == 1 and (one := ONE.get((order, kind))) is not None and tag not in (WIDTH, HEIGHT, ORIENTATION):
            tags[tag] = one(value)  # most of them, quickly
            continue
        form = FORMS.get(kind)
        if form is None:
            continue
        if SIZES[kind] * many <= room:
            values = struct.unpack_from(f"{order}{many}{form}", value)
        elif many > 1 << 24:
            raise KeyError("a tag of it is too long")
        else:
            (at,) = struct.unpack(order + ("Q" if big else "I"), value)
            if at + SIZES[kind] * many > len(content):
                continue
            values = struct.unpack_from(f"{order}{many}{form}", content, at)
        if tag in (WIDTH, HEIGHT) and tag in tags:
            values = max(values, tags[tag])
        if tag == ORIENTATION:
            turned_at = first + length * number + length - room
        tags[tag] = values
    return tags, turned_at, end


def upright(content: bytes, page: Page) -> bytes:
    """Return the tif with this page as its first, marked as not turned: what turns it is `kit.images.decode` alone."""
    if page.is_first and page.orientation == 1:
        return content
    start = struct.pack(page.order + ("Q" if page.big else "I"), page.place)
    first = 8 if page.big else 4
    changed = bytearray(content)
    changed[first : first + len(start)] = start
    if page.turned_at:
        changed[page.turned_at : page.turned_at + 2] = struct.pack(page.order + "H", 1)
    return bytes(changed)


def as_grey(content: bytes, page: Page) -> list[bytes]:
    """Return the page's samples as tifs of one channel: one per plane, or one whose rows hold all bands side by side.

    A predictor that looks back by whole pixels is left out where bands lie side by side: the reader undoes it.
    """
    planes = page.bands if page.get(PLANAR, 1) == 2 else 1
    beside = page.bands // planes
    where, lengths = (TILES, TILE_BYTES) if TILES in page.tags else (STRIPS, STRIP_BYTES)
    starts, counts = page.tags[where], page.tags[lengths]
    each = len(starts) // planes
    kept = {tag: page.tags[tag] for tag in KEPT if tag in page.tags}
    if beside > 1:
        kept.pop(PREDICTOR, None)
    if TILE_WIDTH in page.tags:
        kept[TILE_WIDTH] = (page.get(TILE_WIDTH) * beside,)
    form = 1 if page.dtype == "float16" else page.get(FORMAT, 1)  # a type that decoders lack
    kept.update({WIDTH: (page.width * beside,), BITS: (page.bits,), PHOTOMETRIC: (1,), BANDS: (1,), FORMAT: (form,)})
    ranges = [slice(plane * each, (plane + 1) * each) for plane in range(planes)]
    return [_with_directory(content, page, {**kept, where: starts[one], lengths: counts[one]}) for one in ranges]


def _with_directory(content: bytes, page: Page, tags: dict[int, Sequence[int]]) -> bytes:
    """Return a tif with a directory of these tags behind everything else, as its first and only one."""
    number, room, entry = ("Q", 8, 20) if page.big else ("I", 4, 12)
    content += bytes(-len(content) % 8)
    start = len(content)
    behind = start + (8 if page.big else 2) + len(tags) * entry + room
    entries, further = b"", b""
    for tag in sorted(tags):
        values = tags[tag]
        wide = max(values, default=0) >= 1 << 16 or tag in (STRIPS, STRIP_BYTES, TILES, TILE_BYTES)
        kind, form = ((16, "Q") if page.big else (4, "I")) if wide else (3, "H")
        packed = struct.pack(f"{page.order}{len(values)}{form}", *values)
        if len(packed) > room:
            place, further = behind + len(further), further + packed
            packed = struct.pack(page.order + number, place)
        entries += struct.pack(f"{page.order}HH{number}", tag, kind, len(values)) + packed.ljust(room, b"\0")
    count = struct.pack(page.order + ("Q" if page.big else "H"), len(tags))
    whole = bytearray(content + count + entries + bytes(room) + further)
    struct.pack_into(page.order + number, whole, 8 if page.big else 4, start)
    return bytes(whole)
