"""Quickly trained runs of the examples of grades and of numbers."""

from pathlib import Path

from helpers import ROOT
from helpers.own_folders import own_folders
from helpers.strangers import loaded
from kit.archives.unpack import from_miniature
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.data.store import Store
from kit.hooks.registry import Registry
from kit.resolve import resolve
from kit.training.start import start_run
from kit.training.train import train


def trained(folder: Path, name: str, *settings: str) -> OpenRun:
    """Make the miniature of an example and train two folds on it; what is opened is used inside `own_folders`."""
    code = (ROOT / "examples" / f"kit-{name}" / f"kit_{name}.py").read_text(encoding="utf-8")
    with own_folders(folder):
        registry = Registry(loaded(folder / "plugins", code, name, f"kit_{name}"))
        store = Store.of(registry, name)
        from_miniature(store, None, False)
        quick = ["folds=2", "epochs=2", "size=32", "batch_size=16", *settings]
        config, sources = resolve(store.competition, True, settings=quick)
        run = start_run(registry, store, config, sources, None, Console(json=True))
        train(OpenRun(registry, run), None, Console(json=True))
        return OpenRun(registry, run)
