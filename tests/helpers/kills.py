"""Processes that die at their n-th change of the disk: each call that changes a file below a folder is one moment.

Counted are opening to write, every write that reaches the system, sending, truncating, linking, renaming, removing,
making folders, permissions, fsync, and what libraries of compiled code write in one call. `half` dies in the middle: a
write has then written half of its bytes, anything else was not done. Worker processes count with their parent, and die
with it.
"""

import builtins
import io
import mmap
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATHS = ("link", "mkdir", "remove", "rename", "replace", "rmdir", "symlink", "truncate", "unlink", "chmod")
NUMBERS = ("ftruncate", "fsync", "posix_fallocate", "fchmod")
WRITES = ("write", "pwrite", "writev", "pwritev")
CHANGING = set("wax+")
REAL = {name: getattr(os, name) for name in (*PATHS, *NUMBERS, *WRITES, "open", "sendfile")}
REAL_OPEN = builtins.open


class Moments:
    """Counts the changes below a folder, in this process and those that it forks, and dies at one of them."""

    def __init__(self, root: Path | None, moment: int, half: bool) -> None:
        self.root, self.moment, self.half = root and os.path.realpath(root), moment, half
        self.count = mmap.mmap(-1, 8)

    @property
    def counted(self) -> int:
        return int.from_bytes(self.count[:8], "little")

    def within(self, where: Any) -> bool:
        if isinstance(where, int):
            try:
                where = os.readlink(f"/proc/self/fd/{where}")
            except OSError:
                return False
        path = os.path.abspath(os.fsdecode(where))
        if self.root is None:
            return not path.startswith(("/dev/", "/proc/")) and path.startswith("/")
        # The folder may be named by a link, and what is changed may be a link itself.
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        return path == self.root or path.startswith(self.root + os.sep)

    def come(self, where: Any, halved: Callable[[], object] | None = None) -> None:
        """Count a change; at the moment, do half of it if asked, and die with all that was forked."""
        if not self.within(where):
            return
        now = self.counted + 1
        self.count[:8] = now.to_bytes(8, "little")
        if now == self.moment:
            if self.half and halved is not None:
                halved()
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def watch(self) -> None:
        """Replace what changes the disk, in this process and for good."""
        for name in PATHS:
            setattr(os, name, self._path(getattr(os, name), at=name in ("link", "rename", "replace", "symlink")))
        for name in NUMBERS:
            setattr(os, name, self._number(getattr(os, name)))
        for name in WRITES:
            setattr(os, name, self._write(REAL[name]))
        os.open, os.sendfile = self._low_open, self._sendfile
        builtins.open = io.open = self._open  # type: ignore[assignment]
        for module in ("safetensors.torch", "safetensors.numpy", "cv2"):
            self._compiled(sys.modules.get(module))

    def _path(self, real: Callable, at: int) -> Callable:
        """`at`: which argument is the path that changes: of links and renames the new one."""

        def call(*paths: Any, **named: Any) -> Any:
            self.come(paths[min(at, len(paths) - 1)])
            return real(*paths, **named)

        return call

    def _number(self, real: Callable) -> Callable:
        def call(number: Any, *others: Any) -> Any:
            self.come(number if isinstance(number, int) else number.fileno())
            return real(number, *others)

        return call

    def _write(self, real: Callable) -> Callable:
        def call(number: int, data: Any, *others: Any) -> Any:
            self.come(number, lambda: real(number, _half(data), *others))
            return real(number, data, *others)

        return call

    def _low_open(self, path: Any, flags: int, *others: Any, **named: Any) -> int:
        if flags & (os.O_CREAT | os.O_TRUNC):
            self.come(path)
        return REAL["open"](path, flags, *others, **named)

    def _sendfile(self, target: int, source: int, offset: Any, count: int) -> int:
        self.come(target, lambda: REAL["sendfile"](target, source, offset, max(1, os.fstat(source).st_size // 2)))
        return REAL["sendfile"](target, source, offset, count)

    def _open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: Any = None,
        errors: Any = None,
        newline: Any = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        given = (encoding, errors, newline, closefd, opener)
        if not CHANGING & set(mode) or not self.within(file):
            return REAL_OPEN(file, mode, buffering, *given)
        if not isinstance(file, int):
            self.come(file)
        raw = _Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        raw.moments = self
        if buffering == 0:
            return raw
        buffered: Any = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)
        text.mode = mode  # type: ignore[misc]
        return text

    def _compiled(self, module: Any) -> None:
        """What writes a whole file in one call of compiled code."""
        for name, at in (("serialize_file", 1), ("imwrite", 0)):
            real = getattr(module, name, None)
            if real is not None:
                setattr(module, name, self._whole(real, at))

    def _whole(self, real: Callable, at: int) -> Callable:
        def call(*given: Any, **named: Any) -> Any:
            def halved() -> None:
                real(*given, **named)
                REAL["truncate"](given[at], os.stat(given[at]).st_size // 2)

            self.come(given[at], halved)
            return real(*given, **named)

        return call


class _Raw(io.FileIO):
    """A file whose writes are counted when they reach the system."""

    moments: Moments

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.moments.come(self.fileno(), lambda: io.FileIO.write(self, view[: len(view) // 2]))
        return super().write(view)

    def truncate(self, size: int | None = None) -> int:
        self.moments.come(self.fileno())
        return super().truncate(size)


def _half(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return data[: len(data) // 2]
    view = memoryview(data).cast("B")
    return view[: len(view) // 2]


def end_of(work: Callable[[], object], root: Path | None = None, moment: int = 0, half: bool = True) -> tuple[int, int]:
    """Run `work` in a forked process that dies at a moment (0: never).

    Returns:
        How it ended (the exit status; the negative signal if it was killed), and how many moments there were.
    """
    moments = Moments(root, moment, half)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            moments.watch()
            work()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status), moments.counted


def killed(work: Callable[[], object], moment: int, root: Path | None = None) -> bool:
    """Run `work` in a process that dies in the middle of its n-th change; return False if it ended before that."""
    status, _ = end_of(work, root, moment)
    assert status in (0, -signal.SIGKILL), "the child failed"
    return status != 0
