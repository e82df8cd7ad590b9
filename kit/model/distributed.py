"""Several processes that train one network together: started by torchrun, joined here.

A single process needs none of this: it is rank 0 of world size 1, and the functions below leave all work to it.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from kit.console import Console
from kit.errors import KitError
from kit.model.preflight import available, take_card

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)  # one process packs pixels or scores while the others wait
START = "start them with torchrun, or unset WORLD_SIZE for one process"
GRACE = 2.0  # seconds: torchrun kills the others as soon as one has failed, so the one that reports goes first


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started, if any, and leave them at the end."""
    count, left_over = launched()
    if left_over:
        Console().warn(f"{left_over}, so it is left over from another program: going on with one process")
    if count < 2 or dist.is_initialized():
        yield
        return
    try:
        gpus = available(Console(silent=os.environ["RANK"] != "0"))
        if gpus:
            _take_card(int(os.environ.get("LOCAL_RANK", "0")))
        socket.getaddrinfo(os.environ["MASTER_ADDR"], None)
        # Python objects and small counts travel by gloo, gradients on a GPU by nccl. A signal ends the process at once:
        # torch waits for the others for half an hour, and hears none meanwhile.
        with _ending_signals(signal.SIG_DFL):
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError, OSError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise KitError(f"the {count} processes of WORLD_SIZE can't join ({why}): {START}") from None
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # another process may be gone
            dist.destroy_process_group()


def _take_card(number: int) -> None:
    try:
        take_card(number)
    except KitError as error:
        if number > torch.cuda.device_count():
            _let_report()
            raise SystemExit(error.code) from None  # the first process without a card reports
        raise


@contextlib.contextmanager
def _ending_signals(action: signal.Handlers) -> Iterator[None]:
    """Inside the block, the signals that end a process do this: end it at once, or nothing."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, action)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def launched() -> tuple[int, str]:
    """Return how many processes torchrun started; 1 if its variables are not all there, and then also what is wrong.

    Raises:
        KitError: they are all there, but one has an impossible value.
    """
    given = os.environ.get("WORLD_SIZE")
    if given is None or given == "1":
        return 1, ""
    if not _number(given) or int(given) < 1:
        return 1, f"WORLD_SIZE is {given!a}"
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing and int(given) > 1:
        return 1, f"WORLD_SIZE is {given} without {missing[0]}"
    for name, below in (("RANK", int(given)), ("LOCAL_RANK", int(given)), ("MASTER_PORT", 1 << 16)):
        value = os.environ.get(name)
        if value is not None and not (_number(value) and int(value) < below):
            raise KitError(f"{name} is {value!a} with WORLD_SIZE {given}: {START}")
    return int(given), ""


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Return whether this is the main process (rank 0), which writes files and prints."""
    return rank() == 0


def on_main(work: Callable[[], T]) -> T:
    """Run `work` on the main process and return its result on every process; if it fails, all of them end."""
    if world_size() == 1:
        return work()
    outcome: list[Any] = [None, None]
    if is_main():
        try:
            outcome[0] = work()
        except KitError as error:
            outcome[1] = error.code
            dist.broadcast_object_list(outcome)
            raise
    dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        _let_report()
        raise SystemExit(outcome[1])  # the main process reports the reason
    result: T = outcome[0]
    return result


def on_each(work: Callable[[], None]) -> None:
    """Run `work` on every process; if it fails in some, the first of them reports and all end."""
    failed: KitError | None = None
    try:
        work()
    except KitError as error:
        failed = error
    codes: list[Any] = [failed and failed.code] * world_size()
    if world_size() > 1:
        dist.all_gather_object(codes, failed and failed.code)
    first = next((number for number, code in enumerate(codes) if code is not None), None)
    if first == rank() and failed is not None:
        raise failed
    if first is not None:
        _let_report()
        raise SystemExit(codes[first])


def shard(rows: np.ndarray) -> np.ndarray:
    """Return this process's shard of an array; every element belongs to one process, none is padded or repeated."""
    return np.array_split(rows, world_size())[rank()]


def all_gather(part: np.ndarray) -> np.ndarray:
    """Concatenate the shards of all processes, in rank order, on every process."""
    if world_size() == 1:
        return part
    shards: list[Any] = [None] * world_size()
    dist.all_gather_object(shards, part)
    return np.concatenate(shards)


def all_reduce(value: Tensor) -> float:
    """Return the sum of a number over all processes."""
    return all_reduce_each(value[None])[0]


def all_reduce_each(values: Tensor) -> list[float]:
    """Return the sum of each number over all processes; this waits for the device."""
    numbers: list[float] = sum_each(values).tolist()
    return numbers


def sum_each(values: Tensor) -> Tensor:
    """Return the sum of each number over all processes, on their device."""
    values = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def any_of(flag: bool) -> bool:
    """Return whether the flag is set in any process."""
    return flag if world_size() == 1 else all_reduce(torch.tensor(float(flag))) > 0


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor]) -> None:
    """Copy the main process's values to all processes, in place."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace values by their mean over all processes, in place."""
    if world_size() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor /= world_size()


def gone(advice: str, marker: Path) -> BaseException:
    """Return what to raise when another process is gone; `marker` as in `first_to_end`."""
    lost = f"process {rank()} of {world_size()} lost another one, which was killed or failed: {advice}"
    return first_to_end(KitError(lost, 1), marker)


def _let_report() -> None:
    """Let the process that reports end first; torchrun's signal to this one, for the same end, needs no line."""
    with _ending_signals(signal.SIG_IGN):
        time.sleep(GRACE)


def first_to_end(error: KitError, marker: Path) -> BaseException:
    """Return what to raise for an error of one process: the first to have one reports it, the others end silently.

    `marker` is a file that does not exist yet; the process that creates it reports.
    """
    if world_size() > 1:
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            _let_report()
            return SystemExit(error.code)
        except OSError:  # a full disk, which is then the error
            return error
    return error


def lost(error: RuntimeError) -> bool:
    """Return whether an error means that another process is gone."""
    text = str(error).lower()
    words = ("connection closed by peer", "connection reset", "broken pipe", "socket closed", "timed out", "nccl")
    return world_size() > 1 and any(word in text for word in words)
