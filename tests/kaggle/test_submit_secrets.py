"""Nothing that submitting prints, writes or raises holds a key, a token or a signed address."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.kaggle_server import KaggleServer

pytest_plugins = ["helpers.submit_fixtures"]


def everything(done: Any, tmp_path: Path) -> str:
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file() and path.suffix != ".npz"]
    return done.out + done.err + "".join(path.read_text() for path in files)


def in_use() -> str:
    return os.environ.get("KAGGLE_API_TOKEN") or os.environ["KAGGLE_KEY"]


BREAK: list[tuple[int, Callable[[KaggleServer], None]]] = [
    (0, lambda server: None),
    (4, lambda server: server.fault("upload", "drop", times=None)),
    (4, lambda server: server.fault("upload", "expired", times=None)),
    (4, lambda server: server.fault("CreateSubmission", "drop", times=None)),
    (4, lambda server: server.fault("StartSubmissionUpload", "html", times=None)),
    (2, lambda server: server.fault("CreateSubmission", status=400, times=None, message=f"no {in_use()}")),
    (4, lambda server: server.fault("ListSubmissions", "cut", after=1, times=None)),
]


@pytest.mark.parametrize("auth", ["key", "token"])
@pytest.mark.parametrize(("code", "order"), BREAK)
def test_nothing_secret_is_ever_said(kit, server, run, tmp_path, monkeypatch, capsys, auth, code, order):
    server.connect(monkeypatch, auth)
    order(server)
    done = kit("submit", "--wait", code=code)
    texts = [everything(done, tmp_path)]
    if code:
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            debug()
        texts.append("".join(traceback.format_exception(caught.value)))
        texts.append("".join(capsys.readouterr()))
    secrets = [
        server.account.key,
        server.account.token,
        "upload_id",
        "storage.test",
        *(upload.token for upload in server.uploads),
    ]
    assert [secret for secret in secrets for text in texts if secret in text] == []


def debug() -> None:
    from kit.cli.app import main

    main(["submit", "--wait", "--debug", "--json"])
