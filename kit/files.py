"""Files written whole or not at all, sealed against damage, read without following links; and locks.

A JSON file of kit's own ends with the SHA-256 of the rest of its bytes, so that one changed byte is noticed when it is
read. Everything is written under another name beside its place, compared with what was to be written, and renamed.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar, overload

from kit import __version__
from kit.errors import DISK, KitError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SEAL = '"sha256": "'
# The system tells the umask only to those who set it; a thread that does so later could widen another's files.
os.umask(UMASK := os.umask(0o022))


def cant_write(
    path: Path | str,
    error: OSError,
    elsewhere: str = "set KIT_DATA, KIT_CACHE and KIT_RUNS to folders that can be written",
) -> KitError:
    """Return the error (code 5) for a file that can't be written: what it is, and what mends it.

    `elsewhere` says how to choose another place where the disk is read-only.
    """
    if error.errno in FULL:
        mend = "free some space there"
    elif error.errno == errno.EROFS:
        mend = f"it lies on a read-only disk: {elsewhere}"
    else:
        mend = "make it writable"
    return KitError(f"{path} can't be written ({error.strerror or error}): {mend}", DISK)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on a clean exit fsync it and rename it to `path`, otherwise remove it.

    The file gets the permissions of the person's umask. No link is followed: one at `path` is replaced.

    Raises:
        KitError: (code 5) the disk is full, or can't be written.
    """
    if not path.name:
        raise KitError(f"{str(path)!r} is no name for a file: give a file to write")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            clear_temporaries(path.parent, path.name)
            # A link that lies in wait under the temporary name is not written through.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666))
            yield temporary
            os.chmod(temporary, 0o666 & ~UMASK)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if error.filename not in (None, str(temporary), temporary, str(path.parent), str(path)):
                raise
            raise cant_write(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(
    path: Path, busy: str | None = None, seconds: float = 0, on_wait: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold a lock file; the system frees it when this process ends, however it ends.

    Args:
        path: the lock file; created if absent. A link is not followed.
        busy: the message of the `KitError` if another process holds it; None: wait for that process.
        seconds: how long to wait before that error.
        on_wait: called once if another process holds it.
    """
    with open_plain(path, "a") as file:
        if not _taken(file):
            if on_wait is not None:
                on_wait()
            if busy is None:
                fcntl.flock(file, fcntl.LOCK_EX)
            else:
                _wait(file, busy, seconds)
        yield


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock file; needs no right to write."""
    try:
        with open_plain(path, "r") as file:
            return not _taken(file)
    except FileNotFoundError:
        return False


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


def open_plain(path: Path, mode: str) -> IO[str]:
    """Open a text file to read (`r`) or to append to (`a`), if it is a plain file: no link, no device, no pipe.

    Raises:
        FileNotFoundError: there is no such file to read.
        KitError: it is something else, or can't be opened.
    """
    flags = os.O_RDONLY if mode == "r" else os.O_WRONLY | os.O_APPEND | os.O_CREAT
    try:
        # A pipe without a reader would block.
        number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ENOTDIR and mode == "r":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise not_plain(path) from None
        if mode == "r":
            raise KitError(f"{path} can't be read ({error.strerror}): fix its permissions", DISK) from None
        raise cant_write(path, error) from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise not_plain(path)
    return os.fdopen(number, mode, encoding="utf-8", errors="replace", buffering=1)


def not_plain(path: Path) -> KitError:
    """Return the error for what is no plain file where only plain files belong."""
    return KitError(f"{path} is a link or a device, and kit opens plain files only there: remove it")


def refuse_links(folder: Path) -> None:
    """Raise `KitError` for the first link, device or pipe at any depth in a folder that others may have made.

    The folder itself may be a link: the person named it.
    """
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                refuse_links(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                raise not_plain(Path(entry.path))


def clear_temporaries(folder: Path, name: str = "") -> None:
    """Remove what killed processes left in a folder: `.NAME.PID.tmp` of processes that are gone.

    With `name`, of this file alone (and what was to become it), and not in folders below.
    """
    own = re.compile(rf"{re.escape(name)}|\.{re.escape(name)}\.\d+\.tmp" if name else ".*")
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            found, path = re.fullmatch(r"\.(.+)\.(\d{1,9})\.tmp", entry), folder / entry
            if found is not None and own.fullmatch(found[1]) and not _alive(int(found[2])):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink()
            elif not name and path.is_dir() and not path.is_symlink():
                clear_temporaries(path)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def need_writable(folder: Path, mend: str) -> Path:
    """Return a folder; raise `KitError` (code 5) if nothing can be written into it, or it can't be made.

    Call it before computing, so that nothing is computed in vain; `mend` is the end of the error: where else to write.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    probe = existing / f".writable.{os.getpid()}.tmp"
    clear_temporaries(existing, "writable")
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        probe.unlink()
    except OSError as error:
        raise KitError(f"{folder} can't be written ({error.strerror}): make it writable, or {mend}", DISK) from None
    return folder


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)
        if temporary.stat().st_size != len(content):
            raise OSError(errno.ENOSPC, "only a part was written")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write `document` as indented, sealed JSON, atomically; refuse NaN, because other JSON readers refuse it."""
    text = json.dumps({**document, "sha256": ""}, indent=2, allow_nan=False, default=str) + "\n"
    before, _, after = text.rpartition(SEAL)
    write_bytes(path, f"{before}{SEAL}{_seal(before, after)}{after}".encode())


def _seal(before: str, after: str) -> str:
    return hashlib.sha256(f"{before}{SEAL}{after}".encode()).hexdigest()


@overload
def read_json(path: Path) -> dict[str, Any]: ...
@overload
def read_json(path: Path, schema: type[T], mend: str = ..., version: int | None = ..., sealed: bool = ...) -> T: ...
def read_json(
    path: Path,
    schema: Any = dict[str, Any],
    mend: str = "restore or remove it",
    version: int | None = None,
    sealed: bool = True,
) -> Any:
    """Read a JSON file that `write_json` wrote.

    Args:
        path: the file; it must be a plain one.
        schema: a type, usually a `TypedDict`, that the content must have.
        mend: the end of the error: what to do.
        version: the number that its key `format` must have; None: it has no such key.
        sealed: whether a file without a seal is refused. One whose seal is wrong always is.

    Raises:
        KitError: it is gone, damaged, changed by hand, or of another form.
    """
    from pydantic import ValidationError

    def refuse(why: object) -> NoReturn:
        raise KitError(f"{path} can't be read ({why}): {mend}") from None

    text, document = _parsed(path, refuse)
    given = document.pop("sha256", None)
    if document.get("format") != version and schema != dict[str, Any]:
        raise KitError(f"{path} {_another_format(document, version)}")
    try:
        content = _adapter(schema).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        refuse(f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg'].lower()}{_by_another(document)}")
    if given is None and sealed:
        refuse("it was changed by hand or damaged: its own checksum is missing")
    if given is not None:
        before, _, after = text.rpartition(SEAL)
        if not re.fullmatch(r'[0-9a-f]{64}"\n}\n', after) or _seal(before, after[64:]) != after[:64]:
            refuse("it was changed by hand or damaged: its own checksum differs")
    return content


def _another_format(document: dict[str, Any], version: int | None) -> str:
    """Say which format a document has, which this kit does not read, and what mends it."""
    found = document.get("format")
    reads = "no format" if version is None else f"format {version}"
    older = isinstance(found, int) and version is not None and found < version
    newer = isinstance(found, int) and not older
    mend = f"{'make it again, or ' if older else ''}use the kit that wrote it"
    return (
        f"has format {found!r}, this kit reads {reads}: {mend}{', a newer one' if newer else ''}{_by_another(document)}"
    )


def _by_another(document: dict[str, Any]) -> str:
    """Say which kit wrote a document, if it says so and it was another one."""
    by = document.get("kit")
    return "" if by in (None, __version__) else f" (it was written by kit {by}, this is kit {__version__})"


@cache
def _adapter(schema: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(schema)


def _parsed(path: Path, refuse: Callable[[object], NoReturn]) -> tuple[str, dict[str, Any]]:
    """Return the text of a JSON file and the object that it holds."""
    try:
        with open_plain(path, "r") as file:
            text = file.buffer.read().decode()  # type: ignore[attr-defined]
        document = json.loads(text, parse_constant=lambda name: refuse(f"it holds {name}"))
    except FileNotFoundError:
        refuse("it is not there")
    except UnicodeDecodeError:
        refuse("it is not text")
    except RecursionError:
        refuse("it is nested too deeply")
    except ValueError as error:
        refuse(f"it is no JSON: {error}")
    except OSError as error:
        refuse(error.strerror)
    if not isinstance(document, dict):
        refuse(f"it holds a {type(document).__name__}, not an object")
    return text, document


def replace_cache(path: Path, outdated: str, content: bytes) -> None:
    """Keep what can be made again, followed by its SHA-256, in place of files of the name `outdated`, a pattern.

    Where nothing can be written, nothing is kept.
    """
    with contextlib.suppress(KitError, OSError):
        for old in path.parent.glob(outdated):
            old.unlink()
        write_bytes(path, content + hashlib.sha256(content).digest())


def read_cache(path: Path) -> bytes | None:
    """Return what `replace_cache` kept; None if there is none, or if it is not whole, so that it is made again."""
    try:
        with open_plain(path, "r") as file:
            whole: bytes = file.buffer.read()  # type: ignore[attr-defined]
    except (KitError, OSError):
        return None
    content, digest = whole[:-32], whole[-32:]
    return content if hashlib.sha256(content).digest() == digest else None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
