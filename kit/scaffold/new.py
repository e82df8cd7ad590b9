"""New plugin packages from templates: one folder of `templates/` per kind, each a plugin that works.

In a template `your-name` stands for the name, `your_name` for the same as a part of Python's names, `kit-your-name` for
the distribution; its files end with `.txt`, and the first line of its module describes the package.
"""

import ast
from pathlib import Path

from kit.scaffold.package import PackageNames

TEMPLATES = Path(__file__).parent / "templates"
# The kinds of things that a package can have, each with the property of `Registry` that knows those there are.
KINDS = {
    "competition": "competitions",
    "dataset": "datasets",
    "model": "models",
    "loss": "losses",
    "metric": "metrics",
    "submission": "submissions",
    "tracker": "trackers",
    "head": "heads",
    "optimiser": "optimizers",
    "augmentation": "augmentations",
    "command": "",
}


def new_files(kind: str, names: PackageNames) -> dict[str, str]:
    """Return the files of a new package, text by name."""
    files = {}
    for path in sorted((TEMPLATES / kind).iterdir()):
        files[_filled(path.name.removesuffix(".txt"), names)] = _filled(path.read_text(encoding="utf-8"), names)
    description = (ast.get_docstring(ast.parse(files[f"{names.module}.py"])) or "").partition("\n")[0]
    return {"pyproject.toml": names.pyproject(description), **files}


def _filled(text: str, names: PackageNames) -> str:
    for placeholder, value in (
        ("kit-your-name", names.distribution),
        ("your-name", names.name),
        ("your_name", names.word),
    ):
        text = text.replace(placeholder, value)
    return text
