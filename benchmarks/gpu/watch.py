"""Watch kit's own loop from outside: how long an epoch takes, its waiting for data, the processor time it uses."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kit.pixels.batches import Loader
from kit.pixels.warp import DeviceWarp
from kit.training.job import FoldJob
from kit.training.validator import Validator


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def processor_seconds() -> float:
    """Processor time of this process and of all that it has started and that still run."""
    ticks = 0
    children: dict[int, list[tuple[int, int]]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = entry.read_text().rpartition(")")[2].split()
            children.setdefault(int(words[1]), []).append((int(entry.parent.name), int(words[11]) + int(words[12])))
    waiting = [os.getpid()]
    while waiting:
        for number, own in children.get(waiting.pop(), []):
            ticks += own
            waiting.append(number)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


class _HostEvent:
    """Stands for a CUDA event where there is no GPU: nothing is queued there, so the time is now."""

    def __init__(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, later: "_HostEvent") -> float:
        return (later.at - self.at) * 1e3


def event() -> Any:
    """A point in the stream of the GPU's work."""
    if not torch.cuda.is_available():
        return _HostEvent()
    made = torch.cuda.Event(enable_timing=True)
    made.record()
    return made


@dataclass
class Watch:
    """Watch kit's own loop from outside: the time of an epoch, of waiting in it, and of the processor.

    An epoch begins when its plan is made and ends, all work of the GPU done, where its validation begins. A step waits
    from the end of all the work before it until the bytes of its batch are there, which is where their warp begins.
    `on_step` is called in front of every training batch with its epoch and its number.
    """

    seconds: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    on_step: Callable[[int, int], None] = lambda epoch, number: None
    _began: float = 0.0
    _used: float = 0.0
    _open: bool = False
    _validating: bool = False
    _ready: list[Any] = field(default_factory=list)
    _ended: list[Any] = field(default_factory=list)

    @contextlib.contextmanager
    def watching(self) -> Iterator["Watch"]:
        plan, batches, warp, validate = FoldJob.plan, Loader.batches, DeviceWarp.forward, Validator.validate

        def planned(job: FoldJob, seed: tuple[int, ...]) -> Any:
            if not self._open and not self._validating:
                self._used, self._began = processor_seconds(), time.perf_counter()
            return plan(job, seed)

        def loaded(loader: Loader, of_plan: Any) -> Iterator[Any]:
            source = batches(loader, of_plan)
            if self._validating:
                return source
            self._open, self._ready, self._ended = True, [], []
            return self._training(source)

        def validated(validator: Validator, *given: Any) -> Any:
            self._close()
            self._validating = True
            try:
                return validate(validator, *given)
            finally:
                self._validating = False

        def warped(module: DeviceWarp, *given: Any) -> Tensor:
            if self._open and len(self._ready) < len(self._ended) and not _capturing():
                self._ready.append(event())
            return warp(module, *given)

        FoldJob.plan, Loader.batches, DeviceWarp.forward, Validator.validate = planned, loaded, warped, validated
        try:
            yield self
        finally:
            FoldJob.plan, Loader.batches, DeviceWarp.forward, Validator.validate = plan, batches, warp, validate

    def _training(self, source: Iterator[Any]) -> Iterator[Any]:
        number = 0
        while True:
            self.on_step(len(self.seconds), number)
            self._ended.append(event())
            batch = next(source, None)
            if batch is None:
                return
            if len(self._ready) < len(self._ended):  # no warp of its own: what was done for the batch counts too
                self._ready.append(event())
            yield batch
            number += 1

    def _close(self) -> None:
        synchronize()
        self._open = False
        self.seconds.append(time.perf_counter() - self._began)
        self.cores.append((processor_seconds() - self._used) / self.seconds[-1])
        pairs = [*zip(self._ended, self._ready, strict=False)][1:]  # before the first one there was no step
        waits = sum(max(0.0, ended.elapsed_time(ready)) for ended, ready in pairs)
        self.waiting.append(waits / 1e3 / self.seconds[-1])


def _capturing() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
