"""Fixtures of the tests of the double of Kaggle; a module takes them by `pytest_plugins = ["kaggle_fixtures"]`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kaggle_calls import FILES, client
from kaggle_server import KaggleServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleServer]:
    with KaggleServer(tmp_path) as server:
        server.add_competition("leaves", FILES, title="Leaves of a tree")
        server.add_dataset("ada/weights", {"w.bin": b"w" * 1000, "readme.md": b"hello"})
        server.connect(monkeypatch)
        yield server


@pytest.fixture
def api(server: KaggleServer) -> Any:
    with client(server) as client_:
        yield client_.competitions.competition_api_client
