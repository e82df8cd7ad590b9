"""A file arrives byte for byte under every fault of the server, or with one clear line; nothing is fetched twice."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from helpers.kaggle_server import KaggleServer
from kit.console import Console
from kit.errors import DISK, NETWORK, KitError
from kit.kaggle import connections, retry
from kit.kaggle.client import Kaggle
from kit.kaggle.transfer import Transfer
from kit.plugin import Competition

FACTS = Competition("leaves", "Leaves", "leaves", "binary", "roc_auc", "leaves", "leaves")
LENGTH = 3_000_000


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "served.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train.bin", os.urandom(LENGTH))
    return path


@pytest.fixture
def server(tmp_path, monkeypatch, archive):
    with KaggleServer(tmp_path) as server:
        server.add_competition("leaves", archive=archive)
        server.connect(monkeypatch)
        yield server


@pytest.fixture
def pauses(monkeypatch):
    seconds: list[float] = []
    monkeypatch.setattr(retry, "sleep", seconds.append)
    return seconds


def fetch(path: Path) -> bytes:
    with Kaggle(FACTS, Console()) as kaggle:
        transfer = Transfer(kaggle.sign, path, "the archive", Console())
        transfer.begin()
        transfer.run()
    assert not list(path.parent.glob(f"{path.name}.*")), "nothing is left beside the file"
    return path.read_bytes()


def ranges(server: KaggleServer) -> list[str | None]:
    return [call.headers.get("range") for call in server.calls("storage")]


FAULTS = {
    "none": [],
    "cut": [("cut", {"after": 100_000})],
    "cut within the first kilobyte, again and again": [("cut", {"after": 1000})] * 30,
    "reset": [("cut", {"after": 100_000, "rst": True})],
    "cut, then an expired signature": [("cut", {"after": 100_000}), ("expired", {})],
    "cut, then expired signatures": [("cut", {"after": 1000})] + [("expired", {})] * 2,
    "no answer": [("drop", {})] * 3,
    "fewer requests": [("status", {"status": 429, "headers": {"Retry-After": "7"}})],
    "server faults": [("status", {"status": code}) for code in (500, 502, 503, 504)],
    "a web page": [("html", {})] * 2,
    "range ignored from the start": [("ignore_range", {})],
    "cut, then range ignored for ever": [("cut", {"after": 100_000})] + [("ignore_range", {})] * 3,
    "looks complete but is not": [("wrong_length", {"by": -10})],
    "promises too much": [("wrong_length", {"by": 10})],
    "cut, then another total": [("cut", {"after": 100_000}), ("wrong_total", {"by": 10})],
    "one wrong byte": [("corrupt", {"at": 50})],
    "without a length": [("no_length", {})],
    "redirected": [("redirect", {})],
    "a new ETag": [("cut", {"after": 100_000}), ("changed", {"etag_only": True})],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("etag", ["md5", "opaque", "none"])
def test_it_arrives_byte_for_byte(server, archive, tmp_path, pauses, faults, etag):
    if etag != "md5" and faults and faults[0][0] in ("corrupt", "wrong_length"):
        pytest.skip("without an MD5 the checksums of the members find it: test_kaggle_download.py")
    server.competitions["leaves"].etag = etag
    for kind, options in faults:
        server.fault("storage", kind, **options)
    assert fetch(tmp_path / "out.zip") == archive.read_bytes()


def test_a_cut_is_gone_on_with_at_its_byte(server, tmp_path, pauses):
    server.fault("storage", "cut", after=123_456)
    server.fault("storage", "cut", after=1)
    fetch(tmp_path / "out.zip")
    assert ranges(server) == ["bytes=0-", f"bytes=123456-{end(server)}", f"bytes=123457-{end(server)}"]
    assert [call.sent for call in server.calls("storage")][:2] == [123_456, 1]
    assert pauses == [0.5, 0.5], "what arrives starts the pauses anew"


def end(server: KaggleServer) -> int:
    return int(server.calls("storage")[0].sent and os.path.getsize(server.competitions["leaves"].archive)) - 1


def test_storage_never_sees_who_asks(server, tmp_path, pauses):
    server.fault("storage", "cut", after=10)
    fetch(tmp_path / "out.zip")
    assert len(server.calls("storage")) == 2
    assert not any("authorization" in call.headers for call in server.calls("storage"))


def test_another_file_in_its_place_is_fetched_from_its_start(server, tmp_path, pauses):
    server.fault("storage", "cut", after=100_000)
    server.fault("storage", "changed", content=b"another file" * 1000)
    assert fetch(tmp_path / "out.zip") == b"another file" * 1000


def test_a_stalled_body_ends_by_the_time_out(server, archive, tmp_path, pauses, monkeypatch):
    monkeypatch.setattr(retry, "TIMEOUT", (2.0, 0.3))
    server.fault("storage", "stall", after=100_000)
    assert fetch(tmp_path / "out.zip") == archive.read_bytes()
    assert ranges(server)[1].startswith("bytes=100000-")


def test_pauses_grow_and_end_with_one_line(server, tmp_path, pauses):
    server.fault("storage", status=503, times=None)
    with pytest.raises(KitError, match=r"status 503.*run the same command again later") as error:
        fetch(tmp_path / "out.zip")
    assert error.value.code == NETWORK
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_what_the_server_asks_for_is_waited(server, tmp_path, pauses):
    server.fault("storage", status=429, headers={"Retry-After": "42"})
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    server.fault("storage", status=503, headers={"Retry-After": date})
    fetch(tmp_path / "out.zip")
    assert pauses[0] == 42
    assert 90 < pauses[1] <= 100
    server.fault("storage", status=429, headers={"Retry-After": "86400"})
    with pytest.raises(KitError, match="asks to wait 24 h"):
        fetch(tmp_path / "again.zip")


@pytest.mark.parametrize("value", ["inf", "nan", "-5", "1e999", "9" * 400, "soon", "Fri, 99 Zzz 9999 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_passed_over(value):
    assert retry.asked_wait({"Retry-After": value}) == 0


def test_bytes_that_stay_wrong_are_refused(server, tmp_path, pauses):
    server.fault("storage", "corrupt", at=50, times=None)
    with pytest.raises(KitError, match="wrong bytes 3 times") as error:
        fetch(tmp_path / "out.zip")
    assert error.value.code == NETWORK
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_a_full_disk_is_one_line_and_loses_nothing(server, archive, tmp_path, pauses, monkeypatch):
    write, written = os.pwrite, []

    def full(file: int, content: bytes, at: int) -> int:
        if at > 1_000_000:
            raise OSError(28, "No space left on device")
        written.append(len(content))
        return write(file, content, at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(KitError, match="No space left on device") as error:
        fetch(tmp_path / "out.zip")
    assert error.value.code == DISK
    monkeypatch.setattr(os, "pwrite", write)
    assert fetch(tmp_path / "out.zip") == archive.read_bytes()
    assert ranges(server)[-1].startswith(f"bytes={sum(written)}-")


def test_ranges_side_by_side_where_each_connection_is_slow(server, archive, tmp_path, pauses, monkeypatch):
    monkeypatch.setattr(connections, "WINDOW", 0.2)
    monkeypatch.setattr(connections, "LEAST_SPLIT", 100_000)
    monkeypatch.setattr("kit.kaggle.transfer.LEAST_SPLIT", 100_000)
    server.fault("storage", "slow", rate=500_000, times=None)
    assert fetch(tmp_path / "out.zip") == archive.read_bytes()
    assert len(ranges(server)) >= 3
    assert sum(call.sent for call in server.calls("storage")) < 2 * LENGTH


def test_faults_at_random_while_ranges_run_side_by_side(server, archive, tmp_path, pauses, monkeypatch):
    monkeypatch.setattr(connections, "WINDOW", 0.02)
    monkeypatch.setattr(connections, "LEAST_SPLIT", 10_000)
    monkeypatch.setattr("kit.kaggle.transfer.LEAST_SPLIT", 10_000)
    for seed in range(10):
        server.clear_faults()
        server.random_faults(seed, 0.5)
        assert fetch(tmp_path / f"{seed}.zip") == archive.read_bytes()


KILLED = """
import sys
from pathlib import Path
from kit.console import Console
from kit.kaggle.client import Kaggle
from kit.kaggle.transfer import Transfer
from kit.plugin import Competition
facts = Competition("leaves", "Leaves", "leaves", "binary", "roc_auc", "leaves", "leaves")
with Kaggle(facts, Console()) as kaggle:
    transfer = Transfer(kaggle.sign, Path(sys.argv[1]), "the archive", Console())
    transfer.begin()
    transfer.run()
"""


def test_after_a_kill_it_goes_on_at_its_byte(server, archive, tmp_path):
    path = tmp_path / "out.zip"
    server.fault("storage", "stall", after=1_500_000, times=2)
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", KILLED, path], env={**os.environ, **server.environment()})
        count, part = len(server.calls("storage")), path.with_name("out.zip.part")
        before = part.stat().st_size if part.exists() else 0
        expected = min(before + 1_500_000, archive.stat().st_size)
        while len(server.calls("storage")) <= count or not part.exists() or part.stat().st_size < expected:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert fetch(path) == archive.read_bytes()
    assert sum(call.sent for call in server.calls("storage")) == archive.stat().st_size
    assert hashlib.md5(path.read_bytes()).digest() == server.competitions["leaves"].object().md5()
