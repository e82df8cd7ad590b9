"""What a process does beside its work: files written, names looked up, programs started. No network is reached."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir": 0, "os.remove": 0, "os.rename": 1, "os.rmdir": 0, "os.symlink": 1, "os.link": 1, "os.utime": 0}
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
HARMLESS = ("__pycache__", "/dev/", "/proc/")

written: list[str] = []
asked: list[str] = []
started: list[str] = []
_openers: list[list[str]] = []


def watch() -> None:
    """Begin to note all that; what would reach the network raises `OSError`. There is no way back: this is for a
    process that ends."""
    sys.addaudithook(_hear)


@contextmanager
def opening(paths: list[str]) -> Iterator[None]:
    """Within the block, note every file that is opened."""
    _openers.append(paths)
    try:
        yield
    finally:
        _openers.remove(paths)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, mode, flags = arguments
        for opened in _openers:
            _note(opened, path)
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & WRITES)
        _note(written, path) if writes else None
    elif event in CHANGES:
        _note(written, arguments[CHANGES[event]])
    elif event in PROGRAMS:
        started.append(str(arguments[0]))
    elif event in NETWORK:
        _refuse(event, arguments)


def _note(where: list[str], path: Any) -> None:
    if isinstance(path, (str, bytes, os.PathLike)):
        text = os.path.abspath(os.fsdecode(path))
        if not any(part in text for part in HARMLESS):
            where.append(text)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    address = arguments[1] if event == "socket.connect" else arguments[0]
    if isinstance(address, (str, bytes)) and event == "socket.connect":
        return  # a socket of this machine's files
    host = address[0] if isinstance(address, tuple) else address
    host = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    if not (host.startswith("127.") or host in ("localhost", "::1")):
        asked.append(host)
        raise OSError(f"no network while a plugin is tested (asked for {host})")
