"""Where things lie on this disk: `$KIT_DATA/<slug>/` for data, `$KIT_RUNS/<run>/` for runs."""

import os
from pathlib import Path

OWN = ".kit"  # kit's own folder inside the folder of a competition's data


def data_root() -> Path:
    """`$KIT_DATA`, by default `./data`."""
    return Path(os.environ.get("KIT_DATA") or "data")


def data_dir(slug: str) -> Path:
    """The folder of one competition's data; a slug with a slash goes by its last part."""
    return data_root() / slug.rsplit("/", 1)[-1]


def runs_dir() -> Path:
    """`$KIT_RUNS`, by default `./runs`."""
    return Path(os.environ.get("KIT_RUNS") or "runs")
