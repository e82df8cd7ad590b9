"""Folders of kit's own for what a module's tests share, as `isolated` in conftest gives each test."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def own_folders(folder: Path) -> Iterator[None]:
    """Inside the block, data and runs lie in this folder, and third-party plugins are off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_DATA", str(folder / "data"))
        patch.setenv("KIT_RUNS", str(folder / "runs"))
        patch.setenv("KIT_PLUGINS", "")
        yield
