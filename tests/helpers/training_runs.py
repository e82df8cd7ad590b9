"""What the tests of training share: quick runs on the miniature, and what they have learned."""

import hashlib
from pathlib import Path

from helpers.own_folders import own_folders
from kit.archives.unpack import from_miniature
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.data.store import Store
from kit.hooks.registry import Registry
from kit.model.checkpoint import Checkpoints
from kit.resolve import resolve
from kit.run import Run
from kit.training.start import start_run
from kit.training.train import train

QUICK = ["size=32", "epochs=2", "folds=2", "batch_size=16", "rotate=20", "brightness=0.2"]


def begin(store: Store, *settings: str, only_fold: int | None = None) -> Run:
    config, sources = resolve(store.competition, True, settings=[*QUICK, *settings])
    return start_run(Registry(), store, config, sources, only_fold, Console(json=True))


def go(store: Store, run: Run, only_fold: int | None = None) -> dict:
    return train(OpenRun(Registry(), Run.open(run.path)), only_fold, Console(json=True))


def made_once(folder: Path, *settings: str) -> Path:
    """Make data and a trained run in a folder, for the tests of a module; return the folder."""
    with own_folders(folder):
        store = Store.of(Registry(), "histo")
        from_miniature(store, None, False)
        go(store, begin(store, *settings))
    return folder


def learned(run: Run) -> dict[str, str]:
    """Digests of all that a run has learned: weights, optimiser and predictions."""
    files = [*run.path.glob("fold-*/*.safetensors"), *run.path.glob("**/*.npz")]
    assert files
    return {str(f.relative_to(run.path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def read_history(run: Run, fold: int) -> list[dict]:
    return Checkpoints(run.fold_dir(fold)).content["state"]["history"]


def loop_columns(run: Run) -> list[str]:
    return list(read_history(run, 0)[0])
