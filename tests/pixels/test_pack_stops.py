"""Packing that is stopped, or done by two processes at once."""

import fcntl
import multiprocessing
import os
import signal
import time
from collections import Counter

import pytest

from helpers.packs_made import Made, probed
from kit.errors import KitError
from kit.files import read_json
from kit.pixels import pack_workers


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(pack_workers, "CHUNK_ROWS", 4)
    monkeypatch.setattr(pack_workers, "WRITE_BYTES", 500)


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path / "made", [(8, 8)] * 30)


def start(made: Made):
    """A process that packs and ends with the error's code."""

    def run() -> None:
        # What a shell starts in the background, tests too, ignores Ctrl-C from its birth.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            made.pack(workers=2)
        except KitError as error:
            (made.folder / "error.txt").write_text(str(error))
            os._exit(error.code)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


@pytest.mark.parametrize("chunks", [0, 1, 4])
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_call_goes_on_without_reading_again(made, chunks, stop):
    content = made.take(made.pack())
    made.slow = 0.01
    process = start(made)
    while not list((made.folder / ".kit").glob("packed/*.part")) or len(made.noted()) < chunks:
        time.sleep(0.001)
    os.kill(process.pid, stop)
    process.join()
    assert process.exitcode == (130 if stop == signal.SIGINT else -signal.SIGKILL)
    if stop == signal.SIGINT:
        assert "packing train was interrupted: the same" in (made.folder / "error.txt").read_text()
    made.slow = 0
    with (made.folder / ".kit" / "packed" / "grey-train.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of the killed process have ended
    noted = made.noted()
    assert len(noted) >= chunks
    made.reads()
    again = made.pack()
    assert made.reads() == Counter(row for row in range(30) if row // 4 not in noted) + probed(30)
    assert again.path.read_bytes() == content
    assert made.files() == {".pixels", ".json"}


def test_a_chunk_that_a_power_cut_took_is_made_again(made):
    whole = made.pack(workers=1)
    content = whole.path.read_bytes()
    journal = "".join(f"{chunk} {crc}\n" for chunk, crc in enumerate(read_json(made.path("json"))["checksums"]))
    made.path("json").unlink()
    part = made.path("pixels").rename(whole.path.with_suffix(".part"))
    whole.path.with_suffix(".journal").write_text(journal + "3 12")  # a torn line
    with part.open("r+b") as file:
        file.seek(9 * 192)
        file.write(bytes(192))
    made.reads()
    assert made.pack().path.read_bytes() == content
    assert made.reads() == Counter(range(8, 12)) + probed(30)


def test_two_processes_make_one_pack(made):
    made.slow = 0.005
    other = start(made)
    made.pack()
    other.join()
    assert other.exitcode == 0
    # Each call probes; the second looks once more when it has waited, without reading.
    assert made.reads() == Counter(range(30)) + probed(30) + probed(30)
