"""Handle Ctrl-C, SIGTERM and SIGHUP between two steps instead of inside one."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from kit.errors import INTERRUPTED, Ended, KitError
from kit.model.distributed import any_of


class InUnison(KitError):
    """Raised by all processes of a run at the same step, so that only one of them needs to report it."""


class Interrupted(InUnison):
    """The user asked to stop."""


class Interrupt:
    """Inside its block a first such signal is only noted, and `check` raises; a second one acts at once."""

    def __init__(self, advice: str) -> None:
        self.advice = advice
        self.requested = False
        self.code = INTERRUPTED  # the exit status: 143 for SIGTERM
        self.on_stop: Callable[[], None] | None = None  # saves the progress before `check` raises
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise Ended(number)
        self.requested, self.code = True, Ended(number).code

    def check(self) -> None:
        """Raise if the user has asked to stop; processes ask each other, so all of them must call it."""
        if any_of(self.requested):
            if self.on_stop is not None:
                self.on_stop()
            raise Interrupted(f"interrupted; everything so far is saved: {self.advice} resumes the run", self.code)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
