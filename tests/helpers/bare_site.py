"""A folder of packages with some distributions and what they require alone: the site of a machine with little on it."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def required(*names: str) -> set[str]:
    """These distributions and all that they require here."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            requirements = map(Requirement, distribution(name).requires or ())
            left += [each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
        except PackageNotFoundError:
            continue  # something that serves in its place is installed, or nothing needs it here
        found.add(name)
    return found


def bare_site(folder: Path, *names: str) -> Path:
    """Link these distributions and what they require into a folder, with their records; return it."""
    folder.mkdir()
    for name in required(*names):
        own = distribution(name)
        site = Path(str(own.locate_file("")))
        for top in {file.parts[0] for file in own.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(site / top)
    return folder
