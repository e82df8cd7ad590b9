"""Paths on this disk: `$KIT_DATA/<slug>/` for data, `$KIT_RUNS/<run>/` for runs."""

import os
from pathlib import Path

OWN = ".kit"  # kit's own folder inside a competition's data folder


def data_root() -> Path:
    """Return `$KIT_DATA`, by default `./data`."""
    return Path(os.environ.get("KIT_DATA") or "data")


def data_dir(slug: str) -> Path:
    """Return the data folder of one competition: the slug, without what comes before a slash in it."""
    return data_root() / slug.rsplit("/", 1)[-1]


def runs_dir() -> Path:
    """Return `$KIT_RUNS`, by default `./runs`."""
    return Path(os.environ.get("KIT_RUNS") or "runs")
