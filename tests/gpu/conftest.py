"""Tests marked `gpu`: on a card they compare it with the CPU; elsewhere each file is skipped, unread, with one message.

With KIT_GPU_REHEARSAL=1 they run on the CPU, with the same code, so that no typing error is left for the card. They use
nothing but what training needs (torch, timm, pandas, OpenCV and the like), and kit need not be installed.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.no_gpu import has_driver

# Before the first call of cuBLAS, which else keeps a workspace with which sums are not repeated to the bit.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

NO_CARD = "no GPU here: make gpu runs these on a card"


def rehearsing() -> bool:
    return os.environ.get("KIT_GPU_REHEARSAL") == "1"


def has_card() -> bool:
    if not has_driver():
        return False
    import torch

    return torch.cuda.is_available()


class Absent(pytest.Module):
    """A file of tests that is not even read."""

    def collect(self) -> Any:
        pytest.skip(NO_CARD, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> Any:
    return None if rehearsing() or has_card() else Absent.from_parent(parent, path=module_path)


@pytest.fixture(scope="session")
def device() -> Any:
    """The device under test: the card, or the CPU in a rehearsal."""
    import torch

    return torch.device("cpu") if rehearsing() else torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def store(store: Any) -> Any:
    """The store of histopathology's miniature; an earlier test may have kept pixels away from the card."""
    from kit.pixels import resident

    resident._full.clear()
    return store


@pytest.fixture
def deterministic() -> Any:
    """Algorithms that give the same bits each time."""
    import torch

    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Note a measured number: in junit's report, and in the JSON file that KIT_GPU_FIGURES names."""

    def note(name: str, value: float) -> None:
        record_property(name, value)
        if path := os.environ.get("KIT_GPU_FIGURES"):
            file = Path(path)
            known = json.loads(file.read_text()) if file.is_file() else {}
            file.write_text(json.dumps(known | {name: value}, indent=2) + "\n")

    return note
