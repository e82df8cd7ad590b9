"""Each fault of the double of Kaggle, seen by plain HTTP: how a client takes it is the client's own affair."""

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from helpers.kaggle_calls import FILES, SIZE, TRAIN, get, post
from helpers.kaggle_server import KaggleServer

pytest_plugins = ["helpers.kaggle_fixtures"]


def test_faults_that_answer_themselves(server: KaggleServer) -> None:
    server.fault("ListDataFiles", status=429, headers={"Retry-After": "3"}, message="Too many")
    server.fault("*", "html", skip=1)
    limited = post("ListDataFiles")
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "3")
    assert limited.json() == {"code": 429, "message": "Too many"}
    assert len(post("ListDataFiles").json()["files"]) == 3
    page = post("ListDataFiles")
    assert (page.status_code, page.headers["Content-Type"].split(";")[0]) == (200, "text/html")
    assert b"Login" in page.content
    server.fault("storage", "redirect")
    moved = get(server)
    assert moved.status_code == 302
    assert get(server, url=moved.headers["Location"]).content == TRAIN
    server.fault("storage", "drop")
    with pytest.raises(requests.ConnectionError):
        get(server)
    for kind in ("cut", "stall"):  # of a redirect, which has no body
        server.fault("DownloadDataFiles", kind)
        with pytest.raises(requests.RequestException):
            post("DownloadDataFiles", timeout=0.3)
    server.fault("storage", "expired", times=2)
    assert [get(server).status_code for _ in range(3)] == [403, 403, 200]
    server.fault("DownloadDataFiles", "redirect")
    moved = post("DownloadDataFiles")
    assert moved.status_code == 302
    assert b"Login" in get(server, url=moved.headers["Location"]).content
    assert not server.pending_faults


@pytest.mark.parametrize(("kind", "options"), [("status", {"status": 500}), ("drop", {}), ("html", {})])
def test_an_answer_that_is_lost(server: KaggleServer, kind: str, options: dict[str, Any]) -> None:
    started = post("StartSubmissionUpload", fileName="s.csv", contentLength=SIZE).json()
    assert requests.put(started["createUrl"], data=TRAIN, timeout=5).status_code == 200

    def submitted() -> tuple[bool, int]:
        """Whether an answer says that it was, and how many there are."""
        try:
            said = post("CreateSubmission", blobFileTokens=started["token"]).content
        except requests.RequestException:
            said = b""
        return b"Successfully" in said, len(server.competitions["leaves"].submissions)

    server.fault("CreateSubmission", kind, after=True, **options)
    assert submitted() == (False, 1)
    server.fault("CreateSubmission", kind, **options)
    assert submitted() == (False, 1)
    server.fault("CreateSubmission", "cut", after=5)
    assert submitted() == (False, 2)
    assert submitted() == (True, 3)


def partly(server: KaggleServer) -> tuple[requests.Response, bytes]:
    """What came before the connection broke."""
    answer = requests.get(server.signed_url("leaves", "train.csv"), stream=True, timeout=0.3)
    got, pieces = b"", answer.iter_content(1)
    try:
        for piece in pieces:
            got += piece
    except requests.RequestException:
        return answer, got
    raise AssertionError("the body came to its end")


def test_bodies_that_end_early(server: KaggleServer) -> None:
    for rst in (False, True):
        server.fault("storage", "cut", after=1000, rst=rst)
        answer, got = partly(server)
        assert int(answer.headers["Content-Length"]) == SIZE
        assert TRAIN.startswith(got)
        assert rst or len(got) == 1000
    server.fault("storage", "stall", after=700)
    begun = time.monotonic()
    assert partly(server)[1] == TRAIN[:700]
    assert time.monotonic() - begun > 0.25
    server.fault("storage", "wrong_length", by=50)
    answer, got = partly(server)
    assert (int(answer.headers["Content-Length"]), got) == (SIZE + 50, TRAIN)
    server.fault("storage", "wrong_length", by=-50)
    answer = get(server)
    assert (answer.headers["Content-Length"], answer.content) == (str(SIZE - 50), TRAIN[:-50])
    assert [call.fault for call in server.calls("storage")] == ["cut", "cut", "stall", "wrong_length", "wrong_length"]


def test_bodies_that_are_wrong(server: KaggleServer) -> None:
    server.fault("storage", "corrupt", at=3)
    answer = get(server)
    assert answer.content == TRAIN[:3] + bytes([TRAIN[3] ^ 255]) + TRAIN[4:]
    assert answer.headers["ETag"] == f'"{hashlib.md5(TRAIN).hexdigest()}"'
    server.fault("storage", "ignore_range")
    answer = get(server, Range="bytes=5-")
    assert (answer.status_code, answer.content) == (200, TRAIN)
    server.fault("storage", "wrong_total", by=7)
    assert get(server, Range="bytes=5-9").headers["Content-Range"] == f"bytes 5-9/{SIZE + 7}"
    server.fault("storage", "no_length")
    answer = get(server, Range="bytes=5-")
    assert "Content-Length" not in answer.headers
    assert answer.content == TRAIN[5:]
    server.fault("storage", "slow", rate=100_000)
    begun = time.monotonic()
    assert get(server).content == TRAIN
    assert time.monotonic() - begun > SIZE / 100_000 * 0.8


def test_a_file_that_changes(server: KaggleServer) -> None:
    etag = get(server).headers["ETag"]
    server.fault("storage", "changed", etag_only=True)
    same = get(server, Range="bytes=5-", If_Range=etag)
    assert (same.status_code, same.content) == (200, TRAIN)
    server.competitions["leaves"].objects.clear()
    server.fault("storage", "changed")
    other = get(server, Range="bytes=5-", If_Range=etag)
    assert (other.status_code, other.content) == (200, bytes(255 - byte for byte in TRAIN))
    assert other.headers["ETag"] == f'"{hashlib.md5(other.content).hexdigest()}"'
    server.fault("storage", "changed", content=b"short")
    assert get(server).content == get(server).content == b"short"


def test_uploads_that_fail(server: KaggleServer) -> None:
    url = post("StartSubmissionUpload", fileName="s.csv", contentLength=SIZE).json()["createUrl"]
    server.fault("upload", status=503)
    assert requests.put(url, data=TRAIN, timeout=5).status_code == 503
    assert server.uploads[0].content == b""
    server.fault("upload", status=500, after=True)
    assert requests.put(url, data=TRAIN, timeout=5).status_code == 500
    assert server.uploads[0].content == TRAIN
    for kind in ("cut", "stall"):
        server.fault("upload", kind, after=100)
        with pytest.raises(requests.RequestException):
            requests.put(url, data=TRAIN, timeout=0.3)
    assert server.uploads[0].content == TRAIN[:100]
    asked = requests.put(url, headers={"Content-Range": f"bytes */{SIZE}"}, timeout=5)
    assert (asked.status_code, asked.headers["Range"]) == (308, "bytes=0-99")
    rest = {"Content-Range": f"bytes 100-{SIZE - 1}/{SIZE}"}
    assert requests.put(url, data=TRAIN[100:], headers=rest, timeout=5).status_code == 200
    assert server.uploads[0].content == TRAIN
    assert requests.put(url, data=iter([TRAIN[:9], TRAIN[9:]]), timeout=5).status_code == 200
    assert server.uploads[0].complete


def test_faults_at_random_are_the_same_again(server: KaggleServer) -> None:
    def faults() -> list[str]:
        server.random_faults(seed=3, probability=0.6)
        server.requests.clear()
        for _ in range(40):
            try:
                get(server, Range="bytes=1-")
            except requests.RequestException:
                continue
        return [call.fault for call in server.calls("storage")]

    first = faults()
    assert first == faults()
    assert {"cut", "drop", "expired", "ignore_range", "status", "wrong_length"} == set(first) - {""}
    assert all("" in first[at : at + 4] for at in range(36))
    server.clear_faults()
    assert get(server).status_code == 200


def test_a_misspelt_fault_is_refused(server: KaggleServer) -> None:
    for wrong in ({"kind": "cutt"}, {"kind": "cut", "atfer": 3}):
        with pytest.raises(TypeError):
            server.fault("storage", **wrong)  # type: ignore[arg-type]


def test_closing_waits_for_nobody(tmp_path: Path) -> None:
    begun = time.monotonic()
    with KaggleServer(tmp_path) as server:
        server.add_competition("leaves", FILES)
        server.fault("storage", "stall", after=10)
        hanging = requests.get(
            server.signed_url("leaves", "train.csv"), stream=True, proxies={"http": server.url}, timeout=30
        )
    with pytest.raises(requests.RequestException):
        hanging.content  # noqa: B018
    assert time.monotonic() - begun < 2
