"""Checks run in a process of their own: a plugin that hangs or crashes ends only the check that met it."""

import contextlib
import faulthandler
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

LIMIT = 20.0  # seconds for one check, unless it says otherwise
TELL = 0.5  # seconds between two words about a check that takes long


def run_apart(
    works: Sequence[Callable[[], dict[str, Any]]],
    limits: Sequence[float],
    ready: Callable[[], None],
    wanted: Callable[[int], bool],
    tell: Callable[[int], None],
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Do works in turn in a forked process, and yield the number and the answer of each as it comes.

    An answer is what the work returned, or `{"died": why}`: the process is ended where a work exceeds its limit, and
    another one goes on with the next.

    Args:
        works: each returns what JSON can hold.
        limits: seconds for each.
        ready: called once in each process.
        wanted: (number) -> whether the work is to be done, asked in this process; those that are not are left out.
        tell: (number of the work at hand) called now and then.
    """
    number = 0
    while number < len(works):
        if not wanted(number):
            number += 1
            continue
        process = _Process(works, number, ready)
        try:
            while number < len(works) and wanted(number):
                answer = process.answer(number, limits[number], tell)
                yield number, answer
                number += 1
                if "died" in answer:
                    break
        finally:
            process.end()


class _Process:
    """A forked process that does the works from one on."""

    def __init__(self, works: Sequence[Callable[[], dict[str, Any]]], first: int, ready: Callable[[], None]) -> None:
        self._read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Threads of torch or of the tests do nothing here; the process uses none of them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._id = os.fork()
        if self._id == 0:
            os.close(self._read)
            _serve(works, first, ready, write)
        os.close(write)
        self._rest = b""

    def answer(self, number: int, limit: float, tell: Callable[[int], None]) -> dict[str, Any]:
        """Wait for the next line."""
        began = time.monotonic()
        while b"\n" not in self._rest:
            left = began + limit - time.monotonic()
            if left <= 0:
                return {"died": f"it does not end: stopped after {limit:g} s"}
            tell(number)
            if not select.select([self._read], [], [], min(left, TELL))[0]:
                continue
            got = os.read(self._read, 1 << 16)
            if not got:
                return {"died": self._end_of()}
            self._rest += got
        line, self._rest = self._rest.split(b"\n", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def _end_of(self) -> str:
        _, status = os.waitpid(self._id, 0)
        self._id = 0
        code = os.waitstatus_to_exitcode(status)
        return f"it ended the process: {signal.Signals(-code).name if code < 0 else f'exit status {code}'}"

    def end(self) -> None:
        """End the process and those that it started."""
        if self._id:
            with contextlib.suppress(OSError):
                os.killpg(self._id, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.kill(self._id, signal.SIGKILL)
            os.waitpid(self._id, 0)
        os.close(self._read)


def _serve(works: Sequence[Callable[[], dict[str, Any]]], first: int, ready: Callable[[], None], write: int) -> None:
    """Do the works and write their answers; never return."""
    try:
        os.setsid()
        faulthandler.disable()  # a crash is told in a line
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        ready()
        for work in works[first:]:
            os.write(write, json.dumps(work()).encode() + b"\n")
    finally:
        os._exit(0)
