"""Paths on this disk: `$KIT_DATA/<slug>/` for data, `$KIT_RUNS/<run>/` for runs."""

import os
from pathlib import Path

from kit.errors import DISK, KitError

OWN = ".kit"  # kit's own folder inside a competition's data folder


LITTER = {".ds_store", "__macosx", "thumbs.db", "desktop.ini", ".ipynb_checkpoints"}


def is_litter(path: str) -> bool:
    """Return whether a path, with `/`, is something that a system leaves beside other files and that is never data."""
    return any(part.startswith("._") or part.lower() in LITTER for part in path.split("/"))


def data_root() -> Path:
    """Return `$KIT_DATA`, by default `./data`."""
    return _folder("KIT_DATA", "data")


def data_dir(slug: str) -> Path:
    """Return the data folder of one competition: the slug, without what comes before a slash in it."""
    return data_root() / slug.rsplit("/", 1)[-1]


def runs_dir() -> Path:
    """Return `$KIT_RUNS`, by default `./runs`."""
    return _folder("KIT_RUNS", "runs")


def _folder(variable: str, default: str) -> Path:
    """Return the folder that a variable names; it need not exist yet, but nothing else may stand in its place.

    Raises:
        KitError: it is, or lies in, something that is no folder, or can't be read.
    """
    path = Path(os.environ.get(variable) or default)
    given = f"{variable} names {path}" if os.environ.get(variable) else f"{path} is the default of {variable}"
    mend = f"set {variable} to a folder"
    try:
        for each in (path, *path.parents):
            if each.is_dir():
                break
            if os.path.lexists(each):
                what = "a link that leads nowhere" if each.is_symlink() and not each.exists() else "no folder"
                raise KitError(f"{given}, {'which' if each == path else f'but {each}'} is {what}: {mend}")
        if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
            raise KitError(f"{given}, which you may not read: fix its permissions, or {mend}", DISK)
    except OSError as error:
        raise KitError(f"{given}, which can't be used ({error.strerror}): {mend}", DISK) from None
    return path
