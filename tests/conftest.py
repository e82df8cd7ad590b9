"""What all tests share.

Every test runs in folders of its own: `KIT_DATA`, `KIT_CACHE` and `KIT_RUNS` lie in `tmp_path`, third-party plugins are
off and only this machine can be reached. Tests compute on the CPU; only those marked `gpu` see a GPU. The fixture `kit`
runs the command line in this process:

    def test_it(kit):
        done = kit("download", "histo", "--miniature", "--json")
        assert done.json["train"] == 240          # also: done.out, done.err, done.code
        done = kit("download", "histo", code=2)   # the exit status that is expected, 0 by default
        assert "in the browser" in done.err

`store` holds the miniature of histopathology. `archives` is the folder of the real archives; a test that asks for it is
skipped where they are absent.
"""

import json
import os
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before torch and albumentations are imported anywhere; subprocesses inherit them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

from helpers import ROOT, no_gpu
from helpers.no_network import block, is_here, offline_path, refused_in_test


@dataclass(frozen=True)
class Done:
    """What one command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    # Around the fixtures of modules too, which train.
    if item.get_closest_marker("gpu") and os.environ.get("KIT_GPU_REHEARSAL") != "1":
        return (yield)
    with no_gpu.hidden():
        return (yield)


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("KIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kit.paths.KAGGLE", tmp_path / "kaggle")
    monkeypatch.setenv("KIT_PLUGINS", "")
    monkeypatch.setenv("PYTHONPATH", offline_path(os.environ.get("PYTHONPATH", "")))
    block(monkeypatch.setattr, is_here, refused_in_test)


@pytest.fixture
def kit(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    from kit.cli.app import main

    def run(*arguments: object, code: int = 0) -> Done:
        capsys.readouterr()
        try:
            main([str(word) for word in arguments])
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        printed = capsys.readouterr()
        assert status == code, f"kit {' '.join(map(str, arguments))} ended with {status}:\n{printed.out}{printed.err}"
        return Done(status, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def archives() -> Path:
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "histopathologic-cancer-detection.zip").is_file():
        pytest.skip("the real archives are not beside the repository (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that is empty until the first test that asks for `store`: drawing a miniature takes seconds."""
    return tmp_path_factory.mktemp("made-once")


@pytest.fixture
def store(kit: Callable[..., Done], made_once: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The store of histopathology's miniature, a copy of the test's own."""
    from kit.data.store import Store
    from kit.hooks.registry import Registry
    from kit.paths import data_root

    if not any(made_once.iterdir()):
        with monkeypatch.context() as patch:
            patch.setenv("KIT_DATA", str(made_once))
            kit("download", "histo", "--miniature")
    # With its times: packs are known by those of their files.
    shutil.copytree(made_once, data_root(), dirs_exist_ok=True)
    return Store.of(Registry(), "histo")
