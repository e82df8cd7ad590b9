"""Decoders never speak to the person, whoever calls them; what others say arrives."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kit.data.images import read_rgb
from kit.data.store import Store
from kit.errors import KitError
from kit.images.quiet import Unheard

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def noisy_jpeg() -> bytes:
    """A jpeg of which libjpeg has something to say: bytes that belong to nothing before its end."""
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "JPEG")
    return buffer.getvalue()[:-2] + bytes(40) + b"\xff\xd9"


def broken_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[200:220] = bytes(20)
    return bytes(content)


def test_what_others_write_arrives_after_it(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Unheard() as said:
        os.write(2, b"libpng error: bad adaptive filter value\nof another thread\n")
        with Unheard():
            os.write(2, b"[ERROR:0@0.07] global grfmt_tiff.cpp:117 TIFF_Error ZIPDecode: Decoding error\n")
    assert capfd.readouterr().err == "of another thread\n"
    assert said.damaged


def test_threads_share_it(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(noisy_jpeg())
    (tmp_path / "bad.png").write_bytes(broken_png())
    start = threading.Barrier(4)

    def read(number: int) -> int:
        start.wait()
        failed = 0
        for _ in range(50):
            read_rgb(tmp_path / "good.jpg")
            try:
                read_rgb(tmp_path / "bad.png")
            except KitError:
                failed += 1
        return failed

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [50] * 4
    assert capfd.readouterr() == ("", "")
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"


def test_worker_processes_are_silent_too(store: Store, kit: Callable[..., Any]) -> None:
    """In the check, in packing, and in what reads without packs; the command lines are processes of their own."""
    paths = sorted((store.root / "train").iterdir())
    for path in paths[::2]:
        path.write_bytes(noisy_jpeg())
    Image.fromarray(NOISE).save(paths[1], compression="zstd")
    (store.own / "files.txt").unlink()
    for line in (["check", "histo"], ["pack", "histo", "--size", "32", "--workers", "2"], ["explore", "histo"]):
        done = subprocess.run([sys.executable, "-m", "kit", *line], capture_output=True, text=True, timeout=120)
        assert done.returncode in (0, 2), done.stderr
        for word in ("JPEG", "libpng", "TIFF_", "WARN:", "ERROR:"):
            assert word not in done.stderr
        if line[0] == "pack":
            assert done.stdout.count("Pillow") == 1
        if line[0] == "check":
            assert "read by Pillow" in done.stdout


def test_without_a_stderr_images_are_read(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(noisy_jpeg())
    code = (
        "import os; os.close(2); from pathlib import Path; from kit.data.images import read_rgb; "
        "print(read_rgb(Path('good.jpg')).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=False)
    assert done.stdout == "(64, 64, 3)\n"
