"""What plugins do, call by call: the record behind `kit plugins --trace`.

Nothing is kept unless a trace is on. Calls of specs' functions are lines of an unlinked file, which processes that are
forked meanwhile (those that pack images) and threads append to as well.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class HookCall:
    """One call of a hook of one plugin.

    Args:
        hook: its name; `import` where the plugin was loaded.
        plugin: the plugin's name.
        distribution: the package that provides it.
        specs: how many it returned; None where a hook returns none.
        milliseconds: how long it took.
    """

    hook: str
    plugin: str
    distribution: str
    specs: int | None
    milliseconds: float


@dataclass(frozen=True)
class FunctionCalls:
    """All calls of one function of a spec.

    Args:
        function: the spec's field: `index`, `read`, `build`.
        spec: kind and name of the spec: `dataset leaves`.
        plugin: `plugin leaves of kit-leaves`.
        calls: how many.
        milliseconds: how long they took together, in all threads and processes.
    """

    function: str
    spec: str
    plugin: str
    calls: int
    milliseconds: float


@dataclass(frozen=True)
class Trace:
    """Where calls of specs' functions are recorded: the number of an open file."""

    file: int

    def functions(self) -> list[FunctionCalls]:
        """Return the calls of specs' functions, grouped, in the order of their first end."""
        grouped: dict[tuple[str, ...], list[int]] = {}
        size = os.fstat(self.file).st_size
        for line in os.pread(self.file, size, 0).decode("utf-8", "replace").splitlines():
            *who, taken = line.split("\t")
            grouped.setdefault(tuple(who), []).append(int(taken))
        return [
            FunctionCalls(function, spec, plugin, len(taken), sum(taken) / 1e6)
            for (function, spec, plugin), taken in grouped.items()
        ]


_on: Trace | None = None


@contextlib.contextmanager
def tracing() -> Iterator[Trace]:
    """Within the block record what plugins do."""
    global _on
    made, path = tempfile.mkstemp()
    number = os.open(path, os.O_RDWR | os.O_APPEND)
    os.close(made)
    os.unlink(path)
    _on = Trace(number)
    try:
        yield _on
    finally:
        _on = None
        os.close(number)


@contextlib.contextmanager
def of_function(function: str, spec: str, plugin: str) -> Iterator[None]:
    """Record the block as one call of a function of a spec."""
    if (trace := _on) is None:
        yield
        return
    began = time.perf_counter_ns()
    try:
        yield
    finally:
        words = (" ".join(word.split()) for word in (function, spec, plugin))
        line = "\t".join((*words, str(time.perf_counter_ns() - began))) + "\n"
        # Neither a full disk nor a thread that outlives the trace is the plugin's fault.
        with contextlib.suppress(OSError):
            os.write(trace.file, line.encode())
