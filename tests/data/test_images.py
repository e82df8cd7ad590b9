"""What is given to a decoder, and what is not: by every reader of images."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from kit.data.images import read_grey, read_rgb
from kit.data.verify import decode
from kit.errors import KitError
from kit.images.header import FORMATS

PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8), (5, 5), 0)


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A png of zeros, whose rows are compressed as one long run."""

    def part(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(bytes(9999))) + part(b"IEND", b"")


def tiff_of(width: int, height: int) -> bytes:
    content = bytearray(encoded("TIFF"))
    (start,) = struct.unpack_from("<I", content, 4)
    for place in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
        tag = struct.unpack_from("<H", content, place)[0]
        if tag in (256, 257):
            struct.pack_into("<HII", content, place + 2, 4, 1, width if tag == 256 else height)
    return bytes(content)


def tiff_with_two_widths(first: int, second: int) -> bytes:
    """Decoders disagree on which of the two counts."""
    content, entries = bytearray(tiff_of(first, 40)), bytearray()
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    entries += content[start + 2 : start + 14] + struct.pack("<HHII", 256, 4, 1, second)
    entries += content[start + 14 : start + 2 + 12 * count]
    struct.pack_into("<I", content, 4, len(content))
    return bytes(content + struct.pack("<H", count + 1) + entries + bytes(4))


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(encoded("JPEG"))
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, height, width)
    return bytes(content)


def bmp_of(width: int, height: int) -> bytes:
    content = bytearray(encoded("BMP"))
    struct.pack_into("<ii", content, 18, width, height)
    return bytes(content)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 96\n%%EndComments\nshowpage\n%%EOF\n"
BAD = {
    "postscript": POSTSCRIPT,
    "dos postscript": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, len(POSTSCRIPT)) + bytes(18) + POSTSCRIPT,
    "pdf": b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF",
    "photoshop": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(300),
    "netpbm": b"P6 4 4 255\n" + bytes(48),
    "jpeg 2000": encoded("JPEG2000"),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "xpm": b'/* XPM */\nstatic char * x[] = {"1 1 1 1", "a c #000000", "a"};',
    "page": b"<!DOCTYPE html><html>moved</html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "text": b"II, an essay",
    "empty": b"",
    "zeros": bytes(500),
    "large png": png_of(100_000, 100_000),
    "png of a gigabyte": png_of(30_000, 30_000),
    "large tiff": tiff_of(100_000, 100_000),
    "tiff of two widths": tiff_with_two_widths(30, 10_000_000),
    "tiff of two widths, the larger first": tiff_with_two_widths(10_000_000, 30),
    "large bigtiff": b"II+\0"
    + struct.pack("<HHQQ", 8, 0, 16, 2)
    + b"".join(struct.pack("<HHQQ", tag, 16, 1, 100_000) for tag in (256, 257))
    + bytes(8),
    "large jpeg": jpeg_of(60_000, 60_000),
    "large bmp": bmp_of(50_000, -50_000),
    **{f"header of {kind}": encoded(kind)[:12] for kind in FORMATS},
    **{f"cut {kind}": encoded(kind)[:-10] for kind in FORMATS},
    **{f"half {kind}": encoded(kind)[: len(encoded(kind)) // 2] for kind in FORMATS},
}


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gs` on the path that leaves a mark when it is started."""
    mark, program = tmp_path / "started", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return mark


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_image_is_refused_by_every_reader(tmp_path, what, ghostscript):
    path = tmp_path / "image.tif"
    path.write_bytes(BAD[what])
    began = time.monotonic()
    found = decode(str(tmp_path), (path.name,))
    assert found.error.startswith("image.tif: ")
    assert "\n" not in found.error
    assert found.digest == b""
    for read in (read_rgb, read_grey):
        with pytest.raises(KitError, match=r"image.tif can't be read as an image \(.*kit check names all such files"):
            read(path)
    assert not ghostscript.exists()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "absent"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, kind):
    path = tmp_path / "image.tif"
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda path: os.symlink("/dev/zero", path)}
    make.get(kind, lambda path: None)(path)
    assert decode(str(tmp_path), (path.name,)).error.startswith("image.tif: ")
    with pytest.raises(KitError, match=r"image.tif can't be read as an image"):
        read_rgb(path)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in FORMATS),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF", {"big_tiff": True}),
        ("PNG", {"icc_profile": bytes(4000)}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"comment": b"a comment", "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
    ],
)
def test_the_formats_of_competitions_are_read(tmp_path, kind, options):
    """Also with another format's ending, and with bytes behind their end."""
    (tmp_path / "image.png").write_bytes(encoded(kind, **options) + bytes(20))
    assert decode(str(tmp_path), ("image.png",)).error == ""
    image = read_rgb(tmp_path / "image.png")
    assert image.shape == PICTURE.shape
    assert np.abs(image.astype(int) - PICTURE).mean() < 25


@pytest.mark.parametrize("name", [b"plain", b"\x1b]0;title\x07\x1b[2J"])
def test_a_decoder_says_nothing_itself(tmp_path, name, capfd):
    """Neither OpenCV of what it can't read nor libpng of a profile, whose name would reach the terminal as it is."""
    profile = name + b"\0\0" + zlib.compress(bytes(4000), 0)
    chunk = struct.pack(">I", len(profile)) + b"iCCP" + profile + struct.pack(">I", zlib.crc32(b"iCCP" + profile))
    whole = encoded("PNG")
    (tmp_path / "image.png").write_bytes(whole[:33] + chunk + whole[33:])
    assert np.abs(read_rgb(tmp_path / "image.png").astype(int) - PICTURE).max() == 0
    for kind in ("TIFF", "GIF", "BMP"):
        (tmp_path / "image.tif").write_bytes(encoded(kind)[:200] + bytes(50))
        with contextlib.suppress(KitError):
            read_rgb(tmp_path / "image.tif")
    assert capfd.readouterr() == ("", "")


def test_refusing_takes_no_memory(tmp_path):
    """Some decoders take memory for all pixels before they see that there are none."""
    (tmp_path / "image.png").write_bytes(png_of(30_000, 30_000))
    code = (
        "import resource; from kit.data.verify import decode; "
        "resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20)); print(decode('.', ('image.png',)).error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "30,000 x 30,000 pixels are too many" in done.stdout


def test_the_check_names_a_picture_that_is_postscript_and_training_refuses_it(kit, store, ghostscript):
    [path, pipe] = sorted((store.root / "train").iterdir())[:2]
    path.write_bytes(POSTSCRIPT)
    pipe.unlink()
    os.mkfifo(pipe)
    checks = {each["name"]: each["offenders"] for each in kit("check", "histo", "--json", code=2).json["checks"]}
    first, second = checks["images decode"]
    assert first.startswith(f"train/{path.name}: not an image")
    assert second.startswith(f"train/{pipe.name}: not a file")
    done = kit("pack", "histo", code=2)
    assert path.name in done.err or pipe.name in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not ghostscript.exists()
