"""Calls of the real client and of plain HTTP, for the tests of the double of Kaggle."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from kagglesdk import KaggleClient
from kagglesdk.competitions.types import competition_api_service as types

from helpers.kaggle_server import KaggleServer

TRAIN = b"id,label\n" + b"".join(b"%d,%d\n" % (n, n % 2) for n in range(3000))
FILES = {"train.csv": TRAIN, "images/a 1.png": bytes(range(256)) * 40, "sample.csv": b"id,label\n0,0\n"}
SIZE = len(TRAIN)
API = "http://localhost/api/v1/competitions.CompetitionApiService/"


def client(server: KaggleServer, **login: str) -> KaggleClient:
    return KaggleClient(**(login or {"username": server.account.username, "password": server.account.key}))


def ask(name: str, **fields: Any) -> Any:
    request = getattr(types, f"Api{name}Request")()
    request.competition_name = "leaves"
    for key, value in fields.items():
        setattr(request, key, value)
    return request


def get(server: KaggleServer, name: str = "train.csv", url: str = "", **headers: str) -> requests.Response:
    url = url or server.signed_url("leaves", name)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return requests.get(url, proxies={"http": server.url}, headers=named, timeout=5, allow_redirects=False)


def post(method: str, timeout: float = 5, **fields: Any) -> requests.Response:
    """One method by plain HTTP: what the double sends, before a client makes something of it."""
    asked = {"competitionName": "leaves", **fields}
    login = ("ada", "secret-key-123")
    return requests.post(API + method, auth=login, json=asked, timeout=timeout, allow_redirects=False)


def submit(api: Any, content: bytes, description: str = "mine", name: str = "s.csv") -> Any:
    request = ask("StartSubmissionUpload", file_name=name, content_length=len(content), last_modified_epoch_seconds=1)
    started = api.start_submission_upload(request)
    assert requests.put(started.create_url, data=content, timeout=5).status_code == 200
    return api.create_submission(
        ask("CreateSubmission", blob_file_tokens=started.token, submission_description=description)
    )


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    """Status and message as the double has sent them; what the client's error reads is its own affair."""
    with pytest.raises(requests.HTTPError) as caught:
        call()
    response = caught.value.response
    return response.status_code, response.json()["message"]
