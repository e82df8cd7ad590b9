"""Fixtures for tests of the Kaggle double: `pytest_plugins = ["helpers.kaggle_fixtures"]` takes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.kaggle_calls import FILES, client
from helpers.kaggle_server import KaggleServer


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
