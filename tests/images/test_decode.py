"""What becomes of every kind of image: pixels worked by hand, or those of an independent reader."""

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from helpers.tiffs import CMYK, GREY, ICC_LAB, LAB, MIN_IS_WHITE, PALETTE, PLAIN_ALPHA, PREMULTIPLIED, YCBCR, tiff
from kit.data.images import read_grey, read_rgb
from kit.errors import KitError

NOISE = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
NOISE[0, :3] = (200, 100, 50), (10, 20, 30), (0, 0, 255)
FIRST = NOISE[..., 0].copy()
ALPHA = np.full((20, 24, 1), 128, np.uint8)
HALF = np.dstack([NOISE, ALPHA])
HALVED = np.dstack([NOISE, np.full((20, 24, 1), 255, np.uint8)])
DEEP = NOISE.astype(np.uint16) * 257  # of which 16 bits make NOISE again
GREY_RGB = np.dstack([FIRST] * 3)
TWICE = np.minimum(np.rint(NOISE / 128 * 255), 255).astype(np.uint8)  # premultiplied colours, undone


def saved(image: Image.Image | np.ndarray, kind: str = "TIFF", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def several(kind: str, *images: np.ndarray, **options: Any) -> bytes:
    first, *others = [Image.fromarray(image) for image in images]
    return saved(first, kind, save_all=True, append_images=others, **options)


def palette_of(image: np.ndarray, colours: int = 8) -> tuple[Image.Image, np.ndarray]:
    reduced = Image.fromarray(image).quantize(colours)
    return reduced, np.asarray(reduced.convert("RGB"))


def without_black(inks: np.ndarray) -> np.ndarray:
    return np.rint((255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255).astype(np.uint8)


def strips(image: np.ndarray, *order: int) -> bytes:
    """Write an image as two strips, and let the directory name them in this order."""
    content = saved(image, tiffinfo={278: len(image) // 2})
    (first,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, first)
    entries = struct.iter_unpack("<HHII", content[first + 2 : first + 2 + 12 * count])
    (place,) = [value for tag, _, _, value in entries if tag == 273]
    starts = struct.unpack_from("<2I", content, place)
    return content[:place] + struct.pack("<2I", *[starts[one] for one in order]) + content[place + 8 :]


BACKWARDS = np.array([int(f"{number:08b}"[::-1], 2) for number in range(256)], np.uint8)
REDUCED, REDUCED_RGB = palette_of(NOISE)
RAMP = (*range(0, 65536, 256), *(512,) * 256, *(65535,) * 256)  # of red; green 2, blue 255
INK = np.dstack([NOISE, np.full((20, 24), 40, np.uint8)])
SMALL = NOISE[:4, :6]
LEFT_OVER = (0, 0)

EXACT: dict[str, tuple[bytes, np.ndarray]] = {
    "half-transparent png": (saved(HALF, "PNG"), NOISE),
    "half-transparent tif": (saved(HALF), NOISE),
    "half-transparent tif, lzw": (saved(HALF, compression="tiff_lzw"), NOISE),
    "half-transparent tif, lzw with predictor": (saved(HALF, compression="tiff_lzw", tiffinfo={317: 2}), NOISE),
    "half-transparent tif, zstd": (saved(HALF, compression="zstd"), NOISE),
    "half-transparent tif, unspecified": (tiff(HALF, extra=(0,)), NOISE),
    "half-transparent tif, unsaid": (tiff(HALF), NOISE),
    "half-transparent tif in tiles": (tiff(HALF, extra=(PLAIN_ALPHA,), tile=16), NOISE),
    "half-transparent tif in planes": (tiff(HALF, extra=(PLAIN_ALPHA,), planar=True), NOISE),
    "half-transparent tif of 16 bits": (tiff(HALF.astype(np.uint16) * 257, extra=(PLAIN_ALPHA,)), NOISE),
    "half-transparent webp": (saved(HALF, "WEBP", lossless=True, exact=True), NOISE),
    "premultiplied tif": (tiff(HALF, extra=(PREMULTIPLIED,)), TWICE),
    "premultiplied tif in planes": (tiff(HALF, extra=(PREMULTIPLIED,), planar=True), TWICE),
    "premultiplied floats": (tiff((HALVED / 510).astype(np.float32), extra=(PREMULTIPLIED,)), NOISE),
    "transparent and premultiplied": (tiff(np.zeros((20, 24, 4), np.uint8), extra=(PREMULTIPLIED,)), NOISE * 0),
    "grey with alpha, png": (saved(Image.fromarray(HALF[..., [0, 3]], "LA"), "PNG"), GREY_RGB),
    "grey with alpha, tif": (tiff(HALF[..., [0, 3]], photometric=GREY, extra=(PLAIN_ALPHA,)), GREY_RGB),
    "grey with alpha, 16 bits": (
        tiff(HALF[..., [0, 3]].astype(np.uint16) * 257, photometric=GREY, extra=(PLAIN_ALPHA,)),
        GREY_RGB,
    ),
    "bands beyond three": (tiff(np.dstack([HALF, FIRST]), extra=LEFT_OVER), NOISE),
    "bands beyond three, 16 bits": (tiff(np.dstack([DEEP, DEEP]), extra=(0, 0, 0)), NOISE),
    "three bands called grey": (tiff(NOISE, photometric=GREY, extra=LEFT_OVER), NOISE),
    "palette png": (saved(REDUCED, "PNG"), REDUCED_RGB),
    "palette png, transparent": (saved(REDUCED, "PNG", transparency=0), REDUCED_RGB),
    "palette gif": (saved(REDUCED, "GIF"), REDUCED_RGB),
    "palette gif, transparent": (saved(REDUCED, "GIF", transparency=0), REDUCED_RGB),
    "palette bmp": (saved(REDUCED, "BMP"), REDUCED_RGB),
    "palette tif": (saved(REDUCED), REDUCED_RGB),
    "palette tif by hand": (
        tiff(FIRST, photometric=PALETTE, tags={320: RAMP}),
        np.dstack([FIRST, FIRST * 0 + 2, FIRST * 0 + 255]),
    ),
    "1-bit png": (saved(Image.fromarray(FIRST > 99), "PNG"), np.where(GREY_RGB > 99, 255, 0)),
    "1-bit bmp": (saved(Image.fromarray(FIRST > 99), "BMP"), np.where(GREY_RGB > 99, 255, 0)),
    "1-bit tif": (tiff((FIRST > 99).astype(np.uint8), bits=1), np.where(GREY_RGB > 99, 255, 0)),
    "1-bit tif, white is 0": (
        tiff((FIRST > 99).astype(np.uint8), bits=1, photometric=MIN_IS_WHITE),
        np.where(GREY_RGB > 99, 0, 255),
    ),
    "1-bit fax": (saved(Image.fromarray(FIRST > 99), compression="group4"), np.where(GREY_RGB > 99, 255, 0)),
    "4-bit tif": (tiff(FIRST >> 4, bits=4), GREY_RGB // 16 * 17),
    "2-bit tif": (tiff(FIRST >> 6, bits=2), GREY_RGB // 64 * 85),
    "grey tif, white is 0": (tiff(FIRST, photometric=MIN_IS_WHITE), 255 - GREY_RGB),
    "16-bit grey, white is 0": (tiff(DEEP[..., 0], photometric=MIN_IS_WHITE), 255 - GREY_RGB),
    "16-bit png": (saved(Image.fromarray(DEEP[..., 0]), "PNG"), GREY_RGB),
    "16-bit tif": (tiff(DEEP), NOISE),
    "16-bit tif, big-endian, tiles": (tiff(DEEP, order=">", tile=16), NOISE),
    "16-bit tif in planes": (tiff(DEEP, planar=True), NOISE),
    "16-bit colour png": (cv2.imencode(".png", DEEP[..., ::-1])[1].tobytes(), NOISE),
    "16-bit tif, zstd": (saved(Image.fromarray(DEEP[..., 0]), compression="zstd"), GREY_RGB),
    "32-bit whole numbers": (tiff(FIRST.astype(np.uint32) * 16843009), GREY_RGB),
    "floats of 0 to 1": (tiff(FIRST.astype(np.float32) / 255), GREY_RGB),
    "floats of 64 bits": (tiff(FIRST / 255), GREY_RGB),
    "half floats": (tiff((FIRST > 99).astype(np.float16)), np.where(GREY_RGB > 99, 255, 0)),
    "floats in planes": (tiff((NOISE / 255).astype(np.float32), planar=True), NOISE),
    "floats, lzma": (saved(Image.fromarray(FIRST.astype(np.float32) / 255), compression="lzma"), GREY_RGB),
    "cmyk tif": (tiff(INK, photometric=CMYK), without_black(INK)),
    "cmyk tif in planes": (tiff(INK, photometric=CMYK, planar=True), without_black(INK)),
    "cmyk tif of 16 bits": (tiff(INK.astype(np.uint16) * 257, photometric=CMYK), without_black(INK)),
    "cmyk tif with alpha": (tiff(np.dstack([INK, FIRST]), photometric=CMYK, extra=(2,)), without_black(INK)),
    "big-endian bigtiff": (tiff(NOISE, order=">", big=True), NOISE),
    "bigtiff in planes": (tiff(NOISE, big=True, planar=True), NOISE),
    "tiles": (tiff(NOISE, tile=16), NOISE),
    "tiles in planes": (tiff(NOISE, tile=16, planar=True), NOISE),
    "strips": (saved(NOISE, tiffinfo={278: 7}), NOISE),
    "strips upside down": (strips(NOISE, 1, 0), NOISE[[*range(10, 20), *range(10)]]),
    "strips, grey": (saved(Image.fromarray(FIRST), tiffinfo={278: 7}), GREY_RGB),
    "bits in reverse": (tiff(BACKWARDS[NOISE], tags={266: (2,)}), NOISE),
    "zstd": (saved(NOISE, compression="zstd"), NOISE),
    "lzma": (saved(NOISE, compression="lzma"), NOISE),
    "lzw": (saved(NOISE, compression="tiff_lzw"), NOISE),
    "a thumbnail before": (several("TIFF", SMALL, NOISE), NOISE),
    "a thumbnail behind": (several("TIFF", NOISE, SMALL), NOISE),
    "a thumbnail between, big-endian": (tiff(SMALL, NOISE, SMALL, order=">"), NOISE),
    "a thumbnail before, bigtiff": (tiff(SMALL, NOISE, big=True), NOISE),
    "a thumbnail before 16 bits": (tiff(SMALL.astype(np.uint16), DEEP), NOISE),
    "a stack": (several("TIFF", NOISE, NOISE[::-1]), NOISE),
    "animated gif": (several("GIF", REDUCED_RGB, NOISE[::-1]), REDUCED_RGB),
    "animated webp": (several("WEBP", NOISE, NOISE[::-1], lossless=True), NOISE),
    "animated png": (several("PNG", NOISE, NOISE[::-1]), NOISE),
    "bmp": (saved(NOISE, "BMP"), NOISE),
}


def test_all_pages_that_are_written_by_hand_are_what_pillow_reads() -> None:
    """The writer of these tests is itself held to another reader."""
    for content in (tiff(NOISE), tiff(NOISE, order=">"), tiff(FIRST), tiff(NOISE, tile=16), tiff(FIRST >> 4, bits=4)):
        with Image.open(io.BytesIO(content)) as image:
            wanted = FIRST // 16 * 17 if image.mode == "L" and (np.asarray(image) % 17 == 0).all() else FIRST
            assert (np.asarray(image) == (NOISE if image.mode == "RGB" else wanted)).all()


@pytest.mark.parametrize("what", EXACT)
def test_a_kind_of_image_is_read_as_it_looks(tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    content, wanted = EXACT[what]
    (tmp_path / "image.tif").write_bytes(content)
    found = read_rgb(tmp_path / "image.tif")
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).max() <= ("16 bits" in what or "float" in what)
    assert np.abs(read_grey(tmp_path / "image.tif").astype(int) - found.max(2)).max() == 0
    assert capfd.readouterr() == ("", "")


def test_lab_is_that_of_littlecms(tmp_path: Path) -> None:
    """Within the colours that a screen has; another profile's rounding is allowed for."""
    lab = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    lab[..., 0] = lab[..., 0] // 4 + 130
    lab[..., 1:] = (lab[..., 1:].astype(int) - 128) // 12 + 128  # pale colours; a and b shifted up by 128
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    way = ImageCms.buildTransform(*profiles, "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    signed = lab ^ np.array([0, 128, 128], np.uint8)
    wanted = np.asarray(ImageCms.applyTransform(Image.frombytes("LAB", (40, 40), signed.tobytes()), way)).astype(int)
    for content in (tiff(signed, photometric=LAB), tiff(lab, photometric=ICC_LAB)):
        (tmp_path / "image.tif").write_bytes(content)
        assert np.abs(read_rgb(tmp_path / "image.tif") - wanted).max() <= 2


@pytest.mark.parametrize(
    ("lab", "wanted"), [((255, 0, 0), (255, 255, 255)), ((0, 0, 0), (0, 0, 0)), ((136, 0, 0), (127, 127, 127))]
)
def test_lab_of_16_bits_worked_by_hand(tmp_path: Path, lab: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    pixels = np.broadcast_to(np.array(lab, np.uint16) * 257, (4, 4, 3)).copy()
    (tmp_path / "image.tif").write_bytes(tiff(pixels, photometric=LAB))
    assert np.abs(read_rgb(tmp_path / "image.tif").astype(int) - wanted).max() <= 1


def test_ycbcr_is_that_of_its_formula(tmp_path: Path) -> None:
    """ITU-R BT.601, full range."""
    smooth = cv2.GaussianBlur(NOISE, (5, 5), 0)
    ycc = np.asarray(Image.fromarray(smooth).convert("YCbCr"))
    y, cb, cr = (ycc[..., place].astype(float) - (0, 128, 128)[place] for place in range(3))
    wanted = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 2).clip(0, 255)
    for content in (saved(Image.fromarray(smooth).convert("YCbCr")), tiff(ycc, photometric=YCBCR, tags={530: (1, 1)})):
        (tmp_path / "image.tif").write_bytes(content)
        found = read_rgb(tmp_path / "image.tif").astype(float)
        # libtiff takes studio range where a tif doesn't say: held where it does.
        assert np.abs(found - wanted).mean() < (2 if b"\x02\x14" in content else 40)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "zstd"}),
    ],
)
def test_images_are_turned_as_browsers_do(tmp_path: Path, orientation: int, kind: str, options: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    turned = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": exif}
    content = saved(NOISE, kind, **turned, **options)
    (tmp_path / "image").write_bytes(content)
    with Image.open(io.BytesIO(content)) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert wanted.shape == ((20, 24, 3) if orientation < 5 else (24, 20, 3))
    assert (read_rgb(tmp_path / "image") == wanted).all()


@pytest.mark.parametrize(
    "page", [DEEP, NOISE.astype(np.float32) / 255, HALF, INK], ids=["16", "float", "alpha", "cmyk"]
)
def test_tifs_of_all_makes_are_turned(tmp_path: Path, page: np.ndarray) -> None:
    extra, colours = ((PLAIN_ALPHA,), None) if page is HALF else ((), CMYK if page is INK else None)
    for orientation, turn in ((3, lambda image: image[::-1, ::-1]), (6, lambda image: np.rot90(image, -1))):
        upright, turned = (
            tiff(page, photometric=colours, extra=extra, tags=tags) for tags in ({}, {274: (orientation,)})
        )
        (tmp_path / "upright.tif").write_bytes(upright)
        (tmp_path / "turned.tif").write_bytes(turned)
        assert (read_rgb(tmp_path / "turned.tif") == turn(read_rgb(tmp_path / "upright.tif"))).all()


def damaged(content: bytes) -> bytes:
    """Twenty bytes of the pixels replaced: OpenCV says so past every log level and returns the rest as black."""
    return content[:600] + bytes(range(200, 220)) + content[620:]


REFUSED = {
    "five grey bands": (tiff(np.dstack([HALF, FIRST]), photometric=GREY, extra=(0,) * 4), "5 bands are no colours"),
    "two grey bands": (tiff(HALF[..., :2], photometric=GREY, extra=(0,)), "2 bands are no colours"),
    "not a number": (tiff(np.full((4, 4), np.nan, np.float32)), "NaN or infinite"),
    "floats of no data set": (tiff(FIRST.astype(np.float32)), "levels 0 to 254 are not within 0 to 1"),
    "unknown compression": (tiff(NOISE, tags={259: (34892,)}), "neither OpenCV nor Pillow reads"),
    **{
        f"damaged {compression}": (damaged(saved(NOISE, compression=compression)), "can't be read")
        for compression in ("tiff_lzw", "tiff_deflate")
    },
    "unknown colours": (tiff(NOISE, photometric=32845), "a kind of tif that no reader knows"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_says_why(tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    content, why = REFUSED[what]
    (tmp_path / "image.tif").write_bytes(content)
    with pytest.raises(KitError, match=why) as caught:
        read_rgb(tmp_path / "image.tif")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_loop_of_pages_ends(tmp_path: Path) -> None:
    content = bytearray(tiff(NOISE, SMALL))
    (first,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * count, first)
    (tmp_path / "image.tif").write_bytes(bytes(content))
    assert (read_rgb(tmp_path / "image.tif") == NOISE).all()
