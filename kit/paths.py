"""Paths on this disk: `$KIT_DATA/<slug>/` for data, `$KIT_RUNS/<run>/` for runs, `$KIT_CACHE` for caches.

On Kaggle's machine, data that was added to a notebook lies in `/kaggle/input`, read-only.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from kit.errors import DISK, KitError

OWN = ".kit"  # kit's own folder inside a competition's data folder
KAGGLE = Path("/kaggle")  # a notebook's input, working and temp

# Of image files; where a sample has several, the first of these is taken. What is read is told by content (kit.images).
IMAGE_ENDINGS = ("png", "tif", "tiff", "jpg", "jpeg", "webp", "bmp", "gif")
IMAGE = re.compile(rf"\.(?:{'|'.join(IMAGE_ENDINGS)})$", re.IGNORECASE)
LITTER = {
    *(".ds_store", "__macosx", "icon\r"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("lost+found", "@eadir", ".ipynb_checkpoints"),
}


def is_litter(path: str) -> bool:
    """Return whether a path, with `/`, is something that a system leaves beside other files and that is never data."""
    return any(part.startswith("._") or part.lower() in LITTER for part in path.split("/"))


def data_root() -> Path:
    """Return `$KIT_DATA`, by default `./data`."""
    return _folder("KIT_DATA", "data")


def own_data_dir(slug: str) -> Path:
    """Return the folder in `$KIT_DATA` to which kit brings a competition's data: its slug without the owner's name."""
    return data_root() / slug.rsplit("/", 1)[-1]


def data_dir(slug: str) -> Path:
    """Return the folder in which a competition's data lies: in `$KIT_DATA`, or else where Kaggle's machine has it."""
    own, added, (*_, name) = own_data_dir(slug), KAGGLE / "input", slug.split("/")
    kind = "datasets" if "/" in slug else "competitions"
    # A refused `kit download` leaves its lock.
    if holds_data(own, {OWN}) or holds_data(own / OWN, {"lock"}):
        return own
    return next((place for place in (added / name, added / kind / slug) if holds_data(place, set())), own)


def holds_data(folder: Path, but: set[str]) -> bool:
    """Return whether there is a folder with anything in it but what systems leave and these names."""
    try:
        return any(name not in but and not is_litter(name) for name in os.listdir(folder))
    except OSError as error:
        return isinstance(error, PermissionError)


def walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Like `os.walk`, in the order of names: links are followed, litter is left out, no folder comes twice."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not is_litter(name))
        yield folder, folders, sorted(name for name in names if not is_litter(name))


def runs_dir() -> Path:
    """Return `$KIT_RUNS`, by default `./runs`."""
    return _folder("KIT_RUNS", "runs")


def cache_dir() -> Path:
    """Return `$KIT_CACHE`, for what kit makes of data into whose folder it may not write.

    By default it is in `/kaggle/working` or `/kaggle/temp` on Kaggle's machine, elsewhere in the user's cache folder.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if on_kaggle():
        base = next((KAGGLE / name for name in ("working", "temp") if is_writable(KAGGLE / name)), base)
    return _folder("KIT_CACHE", str(base / ("kit-cache" if base.parent == KAGGLE else "kit")))


def on_kaggle() -> bool:
    """Return whether this is Kaggle's machine."""
    return (KAGGLE / "input").is_dir()


def is_writable(folder: Path) -> bool:
    """Return whether this process may write into a folder, or into that in which it would be made."""
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(each))
    return os.access(existing, os.W_OK | os.X_OK)


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
