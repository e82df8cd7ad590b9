"""From the bytes of an image to its pixels: OpenCV decodes; Pillow, several times slower, what OpenCV can't.

Samples that lie in a tif as they are read need no decoder.

docs/images.md says what becomes of alpha, palettes, colour spaces, pages and orientations; this is where it happens.
"""

import io
import struct
import warnings
from collections.abc import Callable

import cv2
import numpy as np

from kit.images.header import FORMATS, Header, without_profile
from kit.images.quiet import Unheard
from kit.images.tiff import (
    BITS,
    COMPRESSION,
    EXTRA,
    FILL_ORDER,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    STRIP_BYTES,
    STRIPS,
    TILE_WIDTH,
    Page,
    as_grey,
    largest_page,
    upright,
)

# Raised whenever the pixels of any file change: packs made by another version are not used.
VERSION = 2
NOT_TURNED = cv2.IMREAD_IGNORE_ORIENTATION
AS_IT_IS, AS_RGB = cv2.IMREAD_UNCHANGED | NOT_TURNED, cv2.IMREAD_COLOR_RGB | NOT_TURNED
JPEG = (6, 7)  # compressions of a tif that hold whole pictures: their samples can't be read as anything else
BY_OPENCV = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)  # compressions of a tif; it returns black for unknown ones
NAMES = {34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 32809: "ThunderScan", 34661: "JBIG"}
WHITE_IS_ZERO, GREY, RGB, PALETTE, CMYK, YCBCR, LAB, ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
PLAIN = {(1, WHITE_IS_ZERO), (1, GREY), (1, PALETTE), (3, RGB), (3, YCBCR)}  # bands and colours that all read alike
PREMULTIPLIED = 1
MOST_BANDS = 32
# CIE XYZ with the white of D50, in which tifs keep Lab, to linear sRGB, by Bradford's adaptation (Lindbloom 2017).
D50 = np.array([0.96422, 1, 0.82521])
TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)

# What is wrong with an image is said once, by the error that names it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
_second: set[str] = set()


def second_reader() -> str:
    """Return which kinds of image Pillow has read in this process since the last call; empty for none."""
    kinds = ", ".join(sorted(_second))
    _second.clear()
    return kinds


def decoded(content: bytes, header: Header) -> np.ndarray:
    """Decode an image to HxW (grey) or HxWx3 (RGB), upright, of the type that its samples have.

    Alpha is left out; colours are those before it was multiplied in.

    Raises:
        ValueError: no reader can decode it, or its bands are no colours; the message says why.
    """
    page = header.page
    if page is None:
        image = _picture(content, header)
    elif _is_plain(page):
        image = _plain(content, page)
    else:
        image = _colours(_samples(content, page), page)
    return TURNS[header.orientation](image) if header.orientation > 1 else image


# By the orientation: where the stored rows and columns belong (Exif 2.3, tag 274).
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: np.ascontiguousarray(image[:, ::-1]),
    3: lambda image: np.ascontiguousarray(image[::-1, ::-1]),
    4: lambda image: np.ascontiguousarray(image[::-1]),
    5: lambda image: np.ascontiguousarray(image.swapaxes(0, 1)),
    6: lambda image: np.ascontiguousarray(image[::-1].swapaxes(0, 1)),
    7: lambda image: np.ascontiguousarray(image[::-1, ::-1].swapaxes(0, 1)),
    8: lambda image: np.ascontiguousarray(image[:, ::-1].swapaxes(0, 1)),
}


def to_bytes(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return levels as uint8: `low` becomes 0 and `high` 255; what lies outside is cut."""
    if image.dtype == np.uint16 and low == 0:
        return cv2.convertScaleAbs(image, alpha=255 / high)
    scaled = (image.astype(np.float64) - low) * (255 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _picture(content: bytes, header: Header) -> np.ndarray:
    if header.mode == "CMYK":  # of which OpenCV's conversion is a rough one
        return _pillow(content, "CMYK")
    is_rgb = header.mode == "RGB"
    image = _opencv(without_profile(content), AS_RGB if is_rgb else AS_IT_IS)
    if image is None:
        return _pillow(content, header.kind)
    if is_rgb:
        return image
    if image.ndim == 3 and header.mode.startswith("LA"):
        return np.ascontiguousarray(image[..., 0])
    return _rgb(image)


def _plain(content: bytes, page: Page) -> np.ndarray:
    stored = _stored(content, page)
    if stored is not None:
        return stored
    content, compression = upright(content, page), page.get(COMPRESSION, 1)
    # OpenCV darkens what is transparent.
    for_pillow = compression not in BY_OPENCV or (compression in JPEG and page.bands > 3)
    is_rgb = page.bands == 3 and page.bits == 8 and page.dtype == "uint8"
    image = None if for_pillow else _opencv(content, AS_RGB if is_rgb else AS_IT_IS)
    if image is None:
        return _pillow(content, _kind_of(page))
    if is_rgb:
        return image
    # OpenCV shifts packed bits up.
    return _rgb(image >> 16 - page.bits if page.bits in (10, 12, 14) else image)


def _stored(content: bytes, page: Page) -> np.ndarray | None:
    """Return samples of eight bits that lie in the file as they are read, several times faster; None for any others."""
    tags, bands = page.tags, page.bands
    usual = (bands, page.get(PHOTOMETRIC)) in ((1, GREY), (3, RGB)) and tags.get(BITS) == (8,) * bands
    if not usual or page.get(COMPRESSION, 1) != 1 or page.dtype != "uint8" or page.get(FILL_ORDER, 1) != 1:
        return None
    starts, lengths, size = tags.get(STRIPS, ()), tags.get(STRIP_BYTES, ()), page.width * page.height * bands
    if len(starts) != len(lengths) or sum(lengths) != size or starts[0] + size > len(content):
        return None
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    if starts[1:] != tuple(ends[:-1]):  # strips lie elsewhere
        return None
    shape = (page.height, page.width, 3) if bands == 3 else (page.height, page.width)
    return np.frombuffer(content, np.uint8, size, starts[0]).reshape(shape).copy()


def _rgb(image: np.ndarray) -> np.ndarray:
    """Return what OpenCV decoded, HxW or HxWx3 or HxWx4 with the blue first, as HxW or as RGB."""
    if image.ndim == 2:
        return image
    if image.dtype not in (np.uint8, np.uint16):
        return np.ascontiguousarray(image[..., 2::-1])
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB)


def _opencv(content: bytes, flags: int) -> np.ndarray | None:
    """Decode with OpenCV; None if it can't, or if a part of the image is damaged, which it would return as black."""
    with Unheard() as said:
        if content[:2] in (b"II", b"MM"):
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        image = _imdecode(content, flags)
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return None if said.damaged else image


def _imdecode(content: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None


def _pillow(content: bytes, kind: str) -> np.ndarray:
    """Decode with Pillow: HxW or HxWx3; `kind` is what the image is called.

    Raises:
        ValueError: it can't either.
    """
    from PIL import Image

    # Palettes become their colours, 1-bit images 0 and 255.
    wanted = {"1": "L", "P": "RGB", "PA": "RGB", "YCbCr": "RGB", "RGBA": "RGB", "RGBX": "RGB", "LA": "L"}
    try:
        # Warnings concern metadata; pixel errors raise.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Unheard(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
                pixels = np.array(image.convert(wanted[image.mode]) if image.mode in wanted else image)
    except Exception as error:  # a damaged file can raise anything in Pillow's parsers
        why = " ".join(str(error).split())
        known = f"damaged, or of a kind that neither OpenCV nor Pillow reads ({kind}): save it as png"
        raise ValueError(why if "truncated" in why else known) from None
    _second.add(kind)
    return _from_cmyk(pixels) if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels


def _kind_of(page: Page) -> str:
    compression = page.get(COMPRESSION, 1)
    return f"tif of {NAMES.get(compression, f'compression {compression}')}" if compression > 1 else f"{page.mode} tif"


def _is_plain(page: Page) -> bool:
    """Whether decoders read a page alike: without alpha, planes, further bands or unusual colours."""
    compression = page.get(COMPRESSION, 1)
    if compression in JPEG:
        return True
    # Pillow cuts colours of more than eight bits to eight; no decoder knows half floats.
    alike = page.bands == 1 or page.bits == 8 or compression in BY_OPENCV
    usual = (page.bands, page.get(PHOTOMETRIC)) in PLAIN and page.dtype != "float16"
    return alike and usual and (page.bands == 1 or page.get(PLANAR, 1) == 1)


def _samples(content: bytes, page: Page) -> np.ndarray:
    """Read the samples of a tif as they are stored, HxWxC, whatever they mean."""
    if page.bands > MOST_BANDS:
        raise ValueError(f"its {page.bands} bands are no colours: give the dataset a reader that says what they are")
    try:
        planes = [_plain(grey, largest_page(grey)) for grey in as_grey(content, page)]
    except (KeyError, struct.error):
        raise ValueError("not an image, or its header is damaged") from None
    bands = page.bands // len(planes)
    samples = np.stack(planes, 2) if bands == 1 else planes[0].reshape(page.height, page.width, bands)
    if samples.dtype != page.dtype:  # some decoders know no signed numbers
        if samples.dtype.itemsize != np.dtype(page.dtype).itemsize:
            raise ValueError(f"{page.mode} is a kind of tif that no reader knows: save it as png or as an RGB tif")
        samples = samples.view(page.dtype)
    if bands > 1 and page.get(PREDICTOR, 1) > 1:
        if page.get(PREDICTOR) != 2 or samples.dtype.kind == "f":
            raise ValueError(f"{page.mode} with a predictor of floats: save it without a predictor")
        side = page.get(TILE_WIDTH) or page.width
        for left in range(0, page.width, side):
            part = samples[:, left : left + side]
            np.cumsum(part, axis=1, dtype=samples.dtype, out=part)
    return samples


def _colours(samples: np.ndarray, page: Page) -> np.ndarray:
    """Return the colours of a tif's samples HxWxC: HxW or HxWx3."""
    photometric, bands, count = page.get(PHOTOMETRIC), page.bands, page.colours
    extra = page.tags.get(EXTRA, ())
    if photometric not in (WHITE_IS_ZERO, GREY, RGB, CMYK, LAB, ICC_LAB) or bands < count:
        raise ValueError(f"{page.mode} is a kind of tif that no reader knows: save it as png or as an RGB tif")
    if photometric in (WHITE_IS_ZERO, GREY) and bands > 1 and extra[:1] not in ((1,), (2,)):
        if bands != 3:
            raise ValueError(f"its {bands} bands are no colours: give the dataset a reader that says what they are")
        count = 3  # what many programs write where they know no colours
    colours = samples[..., :count]
    if extra[:1] == (PREMULTIPLIED,) and bands > count:
        most = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
        alpha = samples[..., [count]].astype(np.float64)
        whole = np.divide(colours * most, alpha, out=np.zeros(colours.shape), where=alpha > 0)
        colours = (whole if most == 1 else np.rint(whole.clip(0, most))).astype(samples.dtype)
    if photometric == CMYK:
        return _from_cmyk(colours)
    if photometric in (LAB, ICC_LAB):
        return _from_lab(colours, photometric == LAB)
    if photometric == WHITE_IS_ZERO and samples.dtype == np.uint8:
        colours = 255 - colours
    return np.ascontiguousarray(colours[..., 0] if count == 1 else colours)


def _from_cmyk(inks: np.ndarray) -> np.ndarray:
    """Return HxWx4 ink as RGB, HxWx3 uint8: what each ink and black leave of the light, without a profile."""
    most = np.iinfo(inks.dtype).max
    left = 1 - inks.astype(np.float64) / most
    return np.rint(left[..., :3] * left[..., 3:] * 255).astype(np.uint8)


def _from_lab(values: np.ndarray, signed: bool) -> np.ndarray:
    """Return CIE L*a*b* (white D50) as sRGB, HxWx3 uint8; a and b are `signed`, or shifted up by half their range."""
    most, half = np.iinfo(values.dtype).max, (int(np.iinfo(values.dtype).max) + 1) // 2
    lightness = values[..., 0].astype(np.float64) / most * 100
    shifted = values[..., 1:].astype(np.int64) - (0 if signed else half)
    a, b = np.moveaxis(np.where(signed & (shifted >= half), shifted - 2 * half, shifted) * 128 / half, 2, 0)
    y = (lightness + 16) / 116
    roots = np.stack([y + a / 500, y, y - b / 200], 2)
    light = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29)) * D50
    linear = np.clip(light @ TO_SRGB.T, 0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(coded * 255).astype(np.uint8)
