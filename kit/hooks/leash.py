"""Run the code of a plugin so that it stops only itself, whatever it raises, prints, or never ends."""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

from kit.console import print_error
from kit.errors import BAD_INPUT, Ended

T = TypeVar("T")
_threads: set[threading.Thread] = set()  # that plugins have started, but for daemons
LIMIT = 10.0  # seconds for an import or a hook, which should take milliseconds
AGAIN = 1.0  # seconds until a plugin that swallowed the end of its time is told once more
CALLERS = ("kit", "importlib", "pluggy", "functools", "torch", "")  # whose frames lead to a plugin's first one
STUBBORN = 3  # times told, after which kit itself ends


class Failed(Exception):
    """What went wrong in a plugin, in one line."""


def has_foreign_frame(error: BaseException) -> bool:
    """Return whether an error has passed through code that is neither kit's own nor that of its callers."""
    return any(top_of(frame.f_globals) not in CALLERS for frame, _ in traceback.walk_tb(error.__traceback__))


class _TimeIsUp(BaseException):
    """No `except Exception` of the plugin catches it."""


def leashed(who: str, work: Callable[[], T]) -> T:
    """Run a plugin's code and return its result.

    Its standard output becomes stderr, so that it damages no document. The person's Ctrl-C passes.

    Raises:
        Failed: it raised, even a `BaseException`, or took too long.
    """
    depth, before = sys.getrecursionlimit(), set(threading.enumerate())
    try:
        with _output_aside(), _limited(who):
            try:
                return work()
            except (Ended, Failed, _TimeIsUp):
                raise
            except BaseException as error:
                # Still within the time limit: to describe an error is the plugin's code too.
                raise Failed(f"{reason(error)} at {place_of(error)}") from None
    except (Ended, Failed):
        raise
    except _TimeIsUp:
        raise Failed(f"it does not end: stopped after {LIMIT:g} s") from None
    except BaseException as error:
        raise Failed(reason(error)) from None
    finally:
        sys.setrecursionlimit(depth)
        _threads.update(each for each in threading.enumerate() if each not in before and not each.daemon)


def left_running() -> bool:
    """Return whether a plugin has left a thread that would keep the process from ending."""
    return any(thread.is_alive() for thread in _threads)


def reason(error: BaseException) -> str:
    """Describe an error in one line, also one that can't describe itself."""
    try:
        text = str(error)
    except (Ended, _TimeIsUp):
        raise
    except BaseException:
        text = "it can't be shown"
    return " ".join(f"{type(error).__name__}: {text}".split())


def place_of(error: BaseException, package: str = "", otherwise: str = "") -> str:
    """Return `file:line` of the innermost frame of an error in a plugin's code.

    Where it has none, a call did not fit: return `otherwise`, the place of what was called, or where it was raised.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = list(traceback.walk_tb(error.__traceback__))
    tops = [top_of(frame.f_globals) for frame, _ in frames]
    entry = next((top for top in tops if top not in CALLERS), "")
    own = [number for number, top in enumerate(tops) if top and top in (package, entry)]
    if not own and otherwise:
        return otherwise
    if not frames:
        return "an unknown place"
    frame, line = frames[own[-1] if own else -1]
    return f"{frame.f_code.co_filename}:{line}"


def top_of(names: dict[str, Any]) -> str:
    """Return the top-level name of the module with these globals; empty for none."""
    return str(names.get("__name__") or "").partition(".")[0]


@contextlib.contextmanager
def _output_aside() -> Iterator[None]:
    """Within the block, what is written to standard output goes to stderr: by `print`, by C code, by other programs."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    try:
        saved = os.dup(1)
        os.dup2(2, 1)
    except OSError:
        saved = None  # a process without standard streams
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


@contextlib.contextmanager
def _limited(who: str) -> Iterator[None]:
    """Raise `_TimeIsUp` in the block when its time is up; end the process if the block takes no notice of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = 0

    def give_up() -> None:
        limit = f"the plugin {who} does not end within {LIMIT:g} s and can't be stopped"
        print_error(f"{limit}: uninstall it, or leave it out with KIT_PLUGINS=name,name")
        os._exit(BAD_INPUT)

    def tell(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told += 1
        if told > STUBBORN:
            give_up()
        raise _TimeIsUp

    # A call that waits outside Python (for a name server) hears no signal until it returns.
    watch = threading.Timer(LIMIT + AGAIN * (STUBBORN + 1), give_up)
    watch.daemon = True
    before, timer = signal.signal(signal.SIGALRM, tell), signal.setitimer(signal.ITIMER_REAL, LIMIT, AGAIN)
    watch.start()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)
        watch.cancel()
