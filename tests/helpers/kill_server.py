"""Runs whole command lines in forked processes that die at a moment, so that torch is imported once for hundreds.

As a script it reads one JSON order a line and answers each with one line; `KillServer` speaks to it.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import ROOT
from helpers.kills import end_of

ONE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Ended:
    """How a command ended, what it printed, and how often it changed the disk."""

    code: int
    moments: int
    out: str
    err: str


class KillServer:
    """A process that has imported everything and runs commands in forks of itself."""

    def __init__(self, folder: Path) -> None:
        paths = [str(ROOT / name) for name in ("tests", "", "plugins", "competitions")]
        given = os.environ | dict.fromkeys(ONE, "1") | {"KIT_PLUGINS": "", "NO_ALBUMENTATIONS_UPDATE": "1"}
        given |= {"PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=given, cwd=folder
        )

    def run(self, *words: object, moment: int = 0, half: bool = True) -> Ended:
        """Run one command with `data` and `runs` of the folder; let it die at a moment."""
        order = {"words": [str(word) for word in words], "folder": str(self.folder), "moment": moment, "half": half}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)


@contextlib.contextmanager
def kill_server(folder: Path) -> Iterator[KillServer]:
    server = KillServer(folder)
    try:
        yield server
    finally:
        server.close()


def prepare() -> None:
    """Import what commands import, and make it small."""
    import importlib

    for name in (
        "matplotlib.pyplot",
        "sklearn.model_selection",
        "safetensors.torch",
        "safetensors.numpy",
        "timm",
        "kit.training.train",
        "kit.training.start",
        "kit.inference.predict",
        "kit.inference.evaluate",
        "kit.explain.write",
        "kit.reports.explore",
        "kit.decision.tune",
        "kit.ensemble.blend",
        "kit_split_files",
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    make_small(setattr)


def make_small(put: Callable[[Any, str, Any], None]) -> None:
    """Make the miniature of histopathology small and add the tiny competition, by `setattr` or a patch of it."""
    import kit.cli.app as app
    import kit_histopathology.miniature as miniature
    from helpers import tiny_leaves

    load = app.load_plugins

    def with_tiny() -> Any:
        plugins = load()
        plugins.add(tiny_leaves, "tiny", "strangers", "1")
        return plugins

    put(app, "load_plugins", with_tiny)
    put(miniature, "TRAIN", 24)
    put(miniature, "TEST", 8)


def obey(order: dict[str, Any]) -> Ended:
    from kit.cli.app import main

    folder = Path(order["folder"])
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:

        def work() -> None:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.chdir(folder)
            os.environ.update(KIT_DATA=str(folder / "data"), KIT_RUNS=str(folder / "runs"))
            sys.argv = ["kit", *order["words"]]
            main(order["words"])

        code, moments = end_of(work, folder, order["moment"], order["half"])
        for file in (out, err):
            file.seek(0)
        return Ended(code, moments, out.read(), err.read())


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    prepare()
    for line in sys.stdin:
        print(json.dumps(vars(obey(json.loads(line)))), file=answers)
