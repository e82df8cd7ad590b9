"""Files written whole or not at all, their digests, and locks."""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from kit.errors import KitError


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on a clean exit fsync it and rename it to `path`, otherwise remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(
    path: Path, busy: str | None = None, seconds: float = 0, on_wait: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold a lock file; the system frees it when this process ends, however it ends.

    Args:
        path: the lock file; created if absent.
        busy: the message of the `KitError` if another process holds it; None: wait for that process.
        seconds: how long to wait before that error.
        on_wait: called once if another process holds it.
    """
    with path.open("a") as file:
        if not _taken(file):
            if on_wait is not None:
                on_wait()
            if busy is None:
                fcntl.flock(file, fcntl.LOCK_EX)
            else:
                _wait(file, busy, seconds)
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(file: IO[str], busy: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not _taken(file):
        if time.monotonic() >= until:
            raise KitError(busy)
        time.sleep(0.2)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, document: Any) -> None:
    """Write `document` as indented JSON, atomically; refuse NaN, because other JSON readers refuse it."""
    write_bytes(path, (json.dumps(document, indent=2, allow_nan=False, default=str) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; raise a `KitError` that names it if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise KitError(f"{path} can't be read as JSON ({error}): restore or remove it") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
