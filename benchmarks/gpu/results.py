"""The document of results: written whole at each figure, and never a real card's figures for anything less."""

import json
import os
import re
from datetime import date
from pathlib import Path
from typing import Any

NAME = "gpu.json"
REHEARSAL = "on a CPU with tiny sizes, to find typing errors: no figure is to be quoted"


def read(path: Path) -> dict[str, Any]:
    """The document there; nothing if there is none. Raise `SystemExit` if that can't be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path} can't be read ({error}): move it away, or give another --out FOLDER") from None


def is_of_a_card(document: dict[str, Any]) -> bool:
    return document.get("gpu") is not None


def write(path: Path, document: dict[str, Any]) -> None:
    """Replace the file in one rename.

    Raises:
        SystemExit: it holds a card's figures, and these are none; or nothing can be written there.
    """
    if is_of_a_card(read(path)) and not is_of_a_card(document):
        raise SystemExit(f"{path} holds figures of a GPU, which are kept: give another --out FOLDER")
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        os.replace(new, path)
    except OSError as error:
        raise SystemExit(f"{path} can't be written ({error.strerror}): give another --out FOLDER") from None


def not_measured(path: Path, why: str) -> str:
    """Say in the file, unless it holds a card's figures, that nothing was measured; return what to tell."""
    known = read(path)
    if is_of_a_card(known):
        return f"not measured ({why}): {path} keeps the figures of {known['gpu']}"
    if "not measured" not in known:
        write(path, {"gpu": None, "not measured": why})
    return f"not measured ({why}): {path} says so"


def _beside(path: Path, card: str) -> Path:
    """The file of a card while `path` is another's."""
    return path.with_name(f"gpu_{re.sub(r'[^a-z0-9]+', '_', card.lower()).strip('_')}.json")


class Results:
    """The document while the stages run.

    Figures that an earlier call has measured on the same card stay until their stage has a new one; those of another
    card go to a file of their own beside it, and come back from there when that card does.
    """

    def __init__(self, path: Path, machine: dict[str, Any], rehearsal: bool) -> None:
        self.path, earlier = path, read(path)
        kept: dict[str, Any] = {}
        if not rehearsal:
            if is_of_a_card(earlier) and earlier["gpu"] != machine["gpu"]:
                write(_beside(path, earlier["gpu"]), earlier)
                earlier = {}
            if not is_of_a_card(earlier):
                earlier = read(_beside(path, machine["gpu"]))
            kept = earlier.get("stages", {})
        about = {"rehearsal": REHEARSAL} if rehearsal else {}
        self.document: dict[str, Any] = {"gpu": machine["gpu"], **about, "machine": machine, "stages": dict(kept)}
        self._new: dict[str, dict[str, Any]] = {}
        self.write()

    def write(self) -> None:
        write(self.path, self.document)

    def note(self, stage: str, figures: dict[str, Any]) -> None:
        """Enter new figures of a stage; the first ones replace those of an earlier call."""
        # A later call may be of another torch.
        about = {"date": date.today().isoformat(), "torch": self.document["machine"].get("torch")}
        fresh = self._new.setdefault(stage, {**about, "ended": "running", "figures": {}})
        fresh["figures"].update(figures)
        self.document["stages"][stage] = fresh
        self.write()

    def end(self, stage: str, how: str, seconds: float, last: list[str]) -> None:
        """Enter how a stage has ended, and its last lines if it died; without any new figure the earlier ones stay."""
        said = {"ended": how, "seconds": round(seconds, 1)} | ({"last lines": last} if last else {})
        stages = self.document["stages"]
        if stage in self._new or stage not in stages:
            stages[stage] = {**self._new.get(stage, {"date": date.today().isoformat(), "figures": {}}), **said}
        else:
            stages[stage] = {**stages[stage], "again": said}
        self.write()
