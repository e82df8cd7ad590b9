"""The double of Kaggle, held against the real client and against plain HTTP; nothing of kit is used here.

What the double sends is held, and that the real client gets along with it; never what a client does wrong, which its
next version may do right.
"""

import base64
import contextlib
import hashlib
import io
import os
import re
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from kagglesdk import KaggleClient
from kagglesdk.competitions.types import competition_api_service as types
from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest, ApiListDatasetFilesRequest
from kagglesdk.security.types.oauth_service import IntrospectTokenRequest

from helpers.kaggle_calls import FILES, SIZE, TRAIN, ask, client, get, post, refused, submit
from helpers.kaggle_server import Competition, KaggleServer

pytest_plugins = ["helpers.kaggle_fixtures"]


def test_listing_in_pages(server: KaggleServer, api: Any) -> None:
    first = api.list_data_files(ask("ListDataFiles", page_size=2))
    assert [(file.name, file.total_bytes) for file in first.files] == [("train.csv", SIZE), ("images/a 1.png", 10240)]
    rest = api.list_data_files(ask("ListDataFiles", page_size=2, page_token=first.next_page_token))
    assert [file.name for file in rest.files] == ["sample.csv"]
    assert not rest.next_page_token
    sent = server.calls("ListDataFiles")[0]
    assert (sent.host, sent.method, sent.status) == ("localhost", "POST", 200)
    assert sent.json == {"competitionName": "leaves", "pageSize": 2}


def test_what_the_client_is_told_of_a_competition(server: KaggleServer, api: Any) -> None:
    described = api.get_competition(ask("GetCompetition"))
    assert (described.title, described.user_has_entered, described.max_daily_submissions) == (
        "Leaves of a tree",
        True,
        5,
    )
    assert described.deadline.year == 2099
    request = types.ApiListCompetitionsRequest()
    request.search = "TREE"
    assert [one.ref for one in api.list_competitions(request).competitions] == [described.ref]
    ranks = api.get_leaderboard(ask("GetLeaderboard", page_size=1))
    assert [(one.team_name, one.score) for one in ranks.submissions] == [("first", "0.99")]
    assert ranks.next_page_token
    summary = api.get_competition_data_files_summary(ask("GetCompetitionDataFilesSummary")).file_summary_info
    assert summary.total_file_count == 3
    assert [(kind.extension, kind.file_count, kind.total_size) for kind in summary.file_types] == [
        (".csv", 2, SIZE + 13),
        (".png", 1, 10240),
    ]
    server.competitions["leaves"].summary = False
    assert refused(lambda: api.get_competition_data_files_summary(ask("GetCompetitionDataFilesSummary")))[0] == 404


def test_downloads_go_on_at_the_storage_without_credentials(server: KaggleServer, api: Any) -> None:
    whole = api.download_data_files(ask("DownloadDataFiles"))
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
    assert whole.headers["ETag"] == f'"{hashlib.md5(whole.content).hexdigest()}"'
    one = api.download_data_file(ask("DownloadDataFile", file_name="images/a 1.png"))
    assert one.content == FILES["images/a 1.png"]
    assert [call.host for call in server.calls("storage")] == ["storage.test"] * 2
    assert all("authorization" not in call.headers for call in server.calls("storage"))
    assert all(call.headers["authorization"].startswith("Basic ") for call in server.calls("DownloadDataFile"))
    assert refused(lambda: api.download_data_file(ask("DownloadDataFile", file_name="no.csv")))[0] == 404


def test_a_file_that_comes_as_a_zip(server: KaggleServer, api: Any) -> None:
    server.add_competition("leaves", FILES, zipped={"train.csv"}, goog_hash=True)
    answer = api.download_data_file(ask("DownloadDataFile", file_name="train.csv"))
    assert answer.url.split("?")[0].endswith("/train.csv.zip")
    assert zipfile.ZipFile(io.BytesIO(answer.content)).read("train.csv") == TRAIN
    digest = base64.b64encode(hashlib.md5(answer.content).digest()).decode()
    assert answer.headers["x-goog-hash"] == f"md5={digest}"


def test_a_competition_from_an_archive(server: KaggleServer, api: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "real.zip", "w") as archive:
        archive.writestr("train/x.tif", b"x" * 50)
    server.add_competition("leaves", archive=tmp_path / "real.zip", etag="none")
    assert [file.name for file in api.list_data_files(ask("ListDataFiles")).files] == ["train/x.tif"]
    whole = api.download_data_files(ask("DownloadDataFiles"))
    assert whole.content == (tmp_path / "real.zip").read_bytes()
    assert "ETag" not in whole.headers
    assert api.download_data_file(ask("DownloadDataFile", file_name="train/x.tif")).content == b"x" * 50


def test_submitting_and_waiting(server: KaggleServer, api: Any) -> None:
    server.next_submission(["PENDING", "PENDING", "COMPLETE"], public="0.95123", private="0.94")
    server.next_submission([None, "ERROR"], error="rows are missing")
    assert "Successfully" in submit(api, TRAIN).message
    second = submit(api, b"id\n", "second")
    assert [upload.content for upload in server.uploads] == [TRAIN, b"id\n"]
    seen = []
    for _ in range(3):
        newest, oldest = api.list_submissions(ask("ListSubmissions")).submissions
        seen.append((newest.status.name, oldest.status.name, oldest.public_score))
    assert seen == [("PENDING", "PENDING", ""), ("ERROR", "PENDING", ""), ("ERROR", "COMPLETE", "0.95123")]
    assert (newest.ref, newest.description, newest.error_description) == (second.ref, "second", "rows are missing")
    assert (oldest.file_name, oldest.total_bytes, oldest.private_score) == ("s.csv", SIZE, "0.94")
    assert api.get_submission_limits(ask("GetSubmissionLimits")).num_allowed_now == 4
    assert all("authorization" not in call.headers for call in server.calls("upload"))


def test_submissions_in_pages_and_an_unknown_status(server: KaggleServer, api: Any) -> None:
    for number in range(5):
        server.add_submission("leaves", str(number), date=datetime(2024, 1, 1 + number, tzinfo=UTC))
    first = api.list_submissions(ask("ListSubmissions", page_size=3))
    assert [one.description for one in first.submissions] == ["4", "3", "2"]
    rest = api.list_submissions(ask("ListSubmissions", page_size=3, page_token=first.next_page_token))
    assert [one.description for one in rest.submissions] == ["1", "0"]
    assert api.list_submissions(ask("ListSubmissions", page_size=3, page=2)).submissions[0].description == "1"
    server.next_submission(["QUEUED_ELSEWHERE"])
    submit(api, b"id\n")
    assert post("ListSubmissions").json()["submissions"][0]["status"] == "QUEUED_ELSEWHERE"


def test_the_daily_limit(server: KaggleServer, api: Any) -> None:
    server.competitions["leaves"].max_daily = 1
    server.add_submission("leaves", date=server.clock() - timedelta(days=2))
    server.add_submission("leaves", date=server.clock())
    limits = api.get_submission_limits(ask("GetSubmissionLimits"))
    assert (limits.num_today, limits.num_total, limits.num_allowed_now) == (1, 2, 0)
    status, message = refused(lambda: submit(api, b"id\n"))
    assert status == 400
    assert "daily Submission allowance (1) today" in message


def test_rules_and_closed_competitions(server: KaggleServer, api: Any) -> None:
    leaves: Competition = server.competitions["leaves"]
    leaves.rules_accepted = False
    status, message = refused(lambda: api.download_data_files(ask("DownloadDataFiles")))
    assert status == 403
    assert "accept this competition's rules" in message
    assert refused(lambda: submit(api, b"id\n"))[0] == 403
    leaves.rules_accepted, leaves.submissions_disabled = True, True
    assert refused(lambda: submit(api, b"id\n")) == (403, "Submissions are disabled for this competition.")
    assert refused(lambda: api.get_competition(ask("GetCompetition", competition_name="other"))) == (404, "Not found")
    assert not leaves.submissions


def test_who_may(server: KaggleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(**login: str) -> Any:
        with client(server, **login) as made:
            return made.competitions.competition_api_client.list_data_files(ask("ListDataFiles")).files

    assert len(listing(username="ada", password="secret-key-123")) == 3
    assert len(listing(api_token=server.account.token)) == 3
    assert refused(lambda: listing(username="ada", password="wrong")) == (401, "Unauthenticated")
    assert refused(lambda: listing(api_token="KGAT_wrong"))[0] == 401
    server.connect(monkeypatch, auth="none")
    with KaggleClient() as nobody:
        assert (
            refused(lambda: nobody.competitions.competition_api_client.list_data_files(ask("ListDataFiles")))[0] == 401
        )
        request = ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug, request.file_name = "ada", "weights", "w.bin"
        assert nobody.datasets.dataset_api_client.download_dataset(request).content == b"w" * 1000
        listed = ApiListDatasetFilesRequest()
        listed.owner_slug, listed.dataset_slug = "ada", "weights"
        files = nobody.datasets.dataset_api_client.list_dataset_files(listed).dataset_files
        assert [file.name for file in files] == ["w.bin", "readme.md"]
    introspect = IntrospectTokenRequest()
    with client(server, api_token=server.account.token) as made:
        for introspect.token, name in ((server.account.token, "ada"), ("KGAT_wrong", "")):
            answer = made.security.oauth_client.introspect_token(introspect)
            assert (answer.active, answer.username) == (bool(name), name)


@pytest.mark.parametrize("auth", ["key", "token"])
def test_the_command_line_of_the_real_client(server: KaggleServer, tmp_path: Path, auth: str) -> None:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("KAGGLE_")}
    command = "from kaggle.cli import main; main()"
    words = ["competitions", "download", "leaves", "-p", str(tmp_path / "here"), "-q"]
    done = subprocess.run(
        [sys.executable, "-c", command, *words], env={**outside, **server.environment(auth)}, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert zipfile.ZipFile(tmp_path / "here" / "leaves.zip").read("train.csv") == TRAIN
    scheme = "Bearer " if auth == "token" else "Basic "
    assert [call.headers["authorization"].startswith(scheme) for call in server.calls("DownloadDataFiles")] == [True]
    assert all(call.status == 200 for call in server.calls("IntrospectToken"))


def test_ranges(server: KaggleServer) -> None:
    whole = get(server)
    assert (whole.status_code, whole.content, whole.headers["Accept-Ranges"]) == (200, TRAIN, "bytes")
    etag, modified = whole.headers["ETag"], whole.headers["Last-Modified"]
    for wanted, part, shown in (
        ("bytes=10-19", TRAIN[10:20], f"bytes 10-19/{SIZE}"),
        ("bytes=100-", TRAIN[100:], f"bytes 100-{SIZE - 1}/{SIZE}"),
        ("bytes=-5", TRAIN[-5:], f"bytes {SIZE - 5}-{SIZE - 1}/{SIZE}"),
        (f"bytes=5-{SIZE * 2}", TRAIN[5:], f"bytes 5-{SIZE - 1}/{SIZE}"),
    ):
        answer = get(server, Range=wanted, If_Range=etag)
        assert (answer.status_code, answer.content, answer.headers["Content-Range"]) == (206, part, shown)
    assert get(server, Range="bytes=1-", If_Range=modified).status_code == 206
    assert get(server, Range="bytes=1-").status_code == 206
    assert get(server, Range="bytes=1-", If_Range='"other"').content == TRAIN
    past = get(server, Range=f"bytes={SIZE}-")
    assert (past.status_code, past.headers["Content-Range"], past.content) == (416, f"bytes */{SIZE}", b"")
    assert [call.headers.get("range") for call in server.calls("storage")][:2] == [None, "bytes=10-19"]
    server.competitions["leaves"].object("train.csv").etag = "opaque"
    assert hashlib.md5(TRAIN).hexdigest() not in get(server).headers["ETag"]


def test_signatures_run_out(server: KaggleServer) -> None:
    url = server.signed_url("leaves", "images/a 1.png")
    assert get(server, url=url).status_code == 200
    server.expire_signatures()
    ended = get(server, url=url)
    assert (ended.status_code, ended.headers["Content-Type"].split(";")[0]) == (403, "application/xml")
    assert b"<Code>ExpiredToken</Code>" in ended.content
    assert get(server, url=url.replace("Signature=", "Signature=0")).status_code == 403
    server.fault("storage", "expire_after", gets=2)
    url = server.signed_url("leaves")
    assert [get(server, url=url).status_code for _ in range(3)] == [200, 200, 403]
    assert get(server).status_code == 200


@pytest.fixture
def stock(server: KaggleServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """KaggleApi, without its pauses."""
    from kaggle.api import kaggle_api_extended

    monkeypatch.setattr(kaggle_api_extended.time, "sleep", lambda seconds: None)
    api = kaggle_api_extended.KaggleApi()
    api.authenticate()
    return api


def test_the_stock_client_resumes_what_was_cut(server: KaggleServer, stock: Any, tmp_path: Path) -> None:
    server.fault("storage", "cut", after=1000)
    stock.competition_download_file("leaves", "train.csv", str(tmp_path), quiet=True)
    assert (tmp_path / "train.csv").read_bytes() == TRAIN
    begun, again = server.calls("storage")[:2]
    assert (begun.status, begun.sent) == (200, 1000)
    kept = re.match(r"bytes=(\d+)-", again.headers["range"])  # how much of the 1000 it keeps is its own affair
    assert kept
    assert (again.status, again.sent) == (206, SIZE - int(kept[1]))


def test_a_signature_that_runs_out_within_a_download(server: KaggleServer, stock: Any, tmp_path: Path) -> None:
    """kaggle before 2.2.5 makes the error page the head of the file: one reason why kit fetches files by itself."""
    server.fault("storage", "cut", after=1000)
    server.fault("storage", "expired", times=2)
    with contextlib.suppress(ValueError, OSError):  # to give up or to get over it: that is its own affair
        stock.competition_download_file("leaves", "train.csv", str(tmp_path), quiet=True)
    begun, again = server.calls("storage")[:2]
    assert (begun.status, begun.sent) == (200, 1000)
    assert (again.headers["range"][:6], again.fault, again.status) == ("bytes=", "expired", 403)
    server.clear_faults()
    server.fault("storage", "expired")
    page = get(server, Range="bytes=1000-")
    assert (page.status_code, page.content[:5]) == (403, b"<?xml")
    assert not {"ETag", "Content-Range", "Accept-Ranges"} & set(page.headers), "nothing takes it for the file"
    assert get(server, Range="bytes=1000-").content == TRAIN[1000:]


def test_the_stock_client_submits(server: KaggleServer, stock: Any, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(TRAIN)
    assert "Successfully" in stock.competition_submit(str(tmp_path / "s.csv"), "mine", "leaves", quiet=True).message
    assert server.uploads[0].content == TRAIN
    assert [one.description for one in stock.competition_submissions("leaves")] == ["mine"]
    server.fault("upload", status=500, times=None)
    with contextlib.suppress(ValueError, OSError):  # how it says that it could not is its own affair
        stock.competition_submit(str(tmp_path / "s.csv"), "mine", "leaves", quiet=True)
    lost = server.uploads[-1]
    assert (lost.content, lost.complete) == (b"", False)
    refusal = post("CreateSubmission", blobFileTokens=lost.token)
    assert (refusal.status_code, refusal.json()["message"]) == (400, "Submission file was not uploaded.")
    assert len(server.competitions["leaves"].submissions) == 1


@pytest.mark.slow
def test_a_gigabyte_goes_fast(server: KaggleServer, tmp_path: Path) -> None:
    with open(tmp_path / "big.zip", "wb") as file:
        file.truncate(1 << 30)
    server.add_competition("big", {}, tmp_path / "big.zip", etag="opaque")
    begun = time.monotonic()
    with requests.get(server.signed_url("big"), stream=True, timeout=5) as answer:
        assert sum(len(piece) for piece in iter(lambda: answer.raw.read(1 << 20), b"")) == 1 << 30
    assert (1 << 30) / (time.monotonic() - begun) > 200e6  # above 800 MB/s on an idle machine
