"""Fixtures of the tests of submitting; a module takes them by `pytest_plugins = ["helpers.submit_fixtures"]`."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.kaggle_server import KaggleServer
from helpers.submit_runs import IDS, SLUG, make_run
from kit.kaggle import retry
from kit.run import Run


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No pause is waited for; they are noted instead."""
    pauses: list[float] = []
    monkeypatch.setattr(retry, "sleep", pauses.append)
    return pauses


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> Iterator[KaggleServer]:
    connect = socket.socket.connect

    def at_once(self: socket.socket, address: Any) -> None:
        connect(self, address)
        if self.family == socket.AF_INET:
            # Towards proxies urllib3 collects small packets, which costs 40 ms a request.
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    monkeypatch.setattr(socket.socket, "connect", at_once)
    with KaggleServer(tmp_path) as server:
        server.add_competition(SLUG, {"train_labels.csv": b"id,label\n"}, title="Histopathologic Cancer Detection")
        server.connect(monkeypatch)
        yield server


@pytest.fixture
def run(server: KaggleServer, tmp_path: Path) -> Run:
    """A run with predictions, as training and `kit predict` leave it, on data of Kaggle's layout."""
    data = tmp_path / "data" / SLUG
    for split, table in (("train", "train_labels.csv"), ("test", "sample_submission.csv")):
        (data / split).mkdir(parents=True)
        (data / table).write_text("id,label\n" + "".join(f"{id_},{i % 2}\n" for i, id_ in enumerate(IDS)))
        for id_ in IDS:
            (data / split / f"{id_}.tif").touch()
    (data / ".kit").mkdir()
    note = {"origin": "archive", "source": "a.zip", "digest": "d", "at": "2026-01-01"}
    (data / ".kit" / "origin.json").write_text(json.dumps(note))
    return make_run()
