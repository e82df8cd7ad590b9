"""Rows of the table of bad input, and what damages a file.

A row is what is harmed, the command, the exit code and a pattern of the message. Paths and words begin with the names
of what is there: `H0/`, `H1/` finished runs of histopathology with predictions and a submission, `T0/` one of the tiny
competition with a rule, `D/` and `L/` the data of both; anything else lies in the working directory.
"""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.files import sha256, write_json

Harm = Callable[["Place"], None]
DEEP = "[" * 100_000
BYTES = bytes(range(256)) * 4


@dataclass(frozen=True)
class Row:
    """One bad input: what is harmed, the command, how it has to end, and what the message has to say."""

    harm: Harm
    words: str
    pattern: str
    code: int = 2
    # The command says what it found and ends with the code: a document of findings, not of an error.
    finds: bool = False


class Place:
    """The folder of one row, with the names of its runs."""

    def __init__(self, root: Path, runs: dict[str, str], variables: dict[str, str]) -> None:
        self.root, self.runs, self.variables = root, runs, variables

    def path(self, name: str) -> Path:
        first, _, rest = name.partition("/")
        folders = {"D": "data/histopathologic-cancer-detection", "L": "data/tiny"}
        folders |= {short: f"runs/{run}" for short, run in self.runs.items()}
        return self.root / folders[first] / rest if first in folders else self.root / name

    def all(self, pattern: str) -> list[Path]:
        """The files of a pattern; a harm that would harm nothing proves nothing."""
        first, _, rest = pattern.partition("/")
        base = self.path(first + "/") if first in ("D", "L", *self.runs) else self.root
        found = sorted(base.glob(rest if base != self.root else pattern))
        assert found, f"nothing is {pattern}"
        return found

    def words(self, text: str) -> list[str]:
        words = text.split()
        for short, run in self.runs.items():
            words = [re.sub(rf"(^|=){short}$", rf"\g<1>{run}", word) for word in words]
        return [str(self.path(word)) if word.startswith(("D/", "H0/", "T0/")) else word for word in words]


def nothing(place: Place) -> None:
    """The command itself is what is bad."""


def put(name: str, content: bytes | str) -> Harm:
    def harm(place: Place) -> None:
        path = place.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return harm


def each(pattern: str, change: Callable[[bytes], bytes], enter: bool = False) -> Harm:
    """Change the bytes of all files of a pattern; `enter` puts their new digests wherever the old ones stand."""

    def harm(place: Place) -> None:
        for path in place.all(pattern):
            before, content = sha256(path), path.read_bytes()
            changed = change(content)
            assert changed != content, f"{path} is not changed"
            path.write_bytes(changed)
            if enter:
                _replace_digests(place, before, sha256(path))

    return harm


def _replace_digests(place: Place, before: str, after: str) -> None:
    for path in place.root.glob("runs/*/**/*.json"):
        text = path.read_text()
        if before in text:
            write_json(path, {k: v for k, v in json.loads(text.replace(before, after)).items() if k != "sha256"})


def gone(pattern: str) -> Harm:
    def harm(place: Place) -> None:
        import shutil

        for path in place.all(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return harm


def flip(pattern: str, at: float = 0.5) -> Harm:
    """One bit of one byte, at a share of the file."""

    def change(content: bytes) -> bytes:
        where = min(int(len(content) * at), len(content) - 1)
        return content[:where] + bytes([content[where] ^ 4]) + content[where + 1 :]

    return each(pattern, change)


def cut(pattern: str, share: float = 0.5) -> Harm:
    return each(pattern, lambda content: content[: int(len(content) * share)])


def swap(pattern: str, old: str, new: str, enter: bool = False) -> Harm:
    return each(pattern, lambda content: content.replace(old.encode(), new.encode(), 1), enter)


def edit(name: str, change: Callable[[dict[str, Any]], Any]) -> Harm:
    """Change a sealed JSON document and seal it again, as somebody does who means it."""

    def harm(place: Place) -> None:
        for path in place.all(name):
            document = json.loads(path.read_text())
            document.pop("sha256", None)
            changed = change(document)
            write_json(path, document if changed is None or not isinstance(changed, dict) else changed)

    return harm


def without(name: str, key: str) -> Harm:
    def change(document: dict[str, Any]) -> None:
        *folders, last = key.split(".")
        for folder in folders:
            document = document[folder]
        del document[last]

    return edit(name, change)


def having(name: str, key: str, value: Any) -> Harm:
    def change(document: dict[str, Any]) -> None:
        *folders, last = key.split(".")
        for folder in folders:
            document = document[folder]
        document[last] = value

    return edit(name, change)


def folder(name: str) -> Harm:
    def harm(place: Place) -> None:
        path = place.path(name)
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)

    return harm


def link(name: str, target: str) -> Harm:
    def harm(place: Place) -> None:
        path = place.path(name)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return harm


def fifo(name: str) -> Harm:
    def harm(place: Place) -> None:
        place.path(name).unlink(missing_ok=True)
        os.mkfifo(place.path(name))

    return harm


def both(*harms: Harm) -> Harm:
    def harm(place: Place) -> None:
        for one in harms:
            one(place)

    return harm


def variable(name: str, value: str) -> Harm:
    def harm(place: Place) -> None:
        place.variables[name] = value

    return harm


def zipped(name: str, files: dict[str, bytes | str], **options: Any) -> Harm:
    return put(name, zip_of(files, **options))


def zip_of(files: dict[str, bytes | str], **options: Any) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", **options) as archive:
        for member, content in files.items():
            archive.writestr(member, content)
    return memory.getvalue()


# What every JSON file of kit's own can become.
def json_harms(name: str) -> dict[str, Harm]:
    return {
        "a list": put(name, "[]"),
        "an empty object": put(name, "{}"),
        "an empty object, sealed": edit(name, lambda document: document.clear()),
        "empty": put(name, ""),
        "text": put(name, "hello\n"),
        "no text": put(name, BYTES),
        "cut": cut(name, 0.6),
        "nested 100,000 levels": put(name, '{"a": ' + DEEP),
        "a digit of 5,000": put(name, '{"format": ' + "9" * 5000 + "}"),
        "not a number": put(name, '{"format": NaN}'),
        "a link": link(name, "/etc/hostname"),
    }
