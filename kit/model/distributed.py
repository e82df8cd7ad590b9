"""Several processes that train one network together: started by torchrun, joined here.

One process alone needs none of this: it is the first of one, and every function below leaves its work to it.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from kit.errors import KitError

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)  # one process packs pixels or scores while the others wait


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun has started, if it has, and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # Python objects and small counts go by gloo, gradients on a GPU by nccl.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # where another is gone
            dist.destroy_process_group()


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return rank() == 0


def on_main(work: Callable[[], T]) -> T:
    """Let the first process do something and give its result to all; where it fails, all of them end."""
    if world_size() == 1:
        return work()
    answer: list[Any] = [None, None]
    if is_main():
        try:
            answer[0] = work()
        except KitError as error:
            answer[1] = error.code
            dist.broadcast_object_list(answer)
            raise
    dist.broadcast_object_list(answer)
    if answer[1] is not None:
        raise SystemExit(answer[1])  # the first process says why
    result: T = answer[0]
    return result


def shard(rows: np.ndarray) -> np.ndarray:
    """This process's stretch of an array; every element belongs to one process, none is padded or repeated."""
    return np.array_split(rows, world_size())[rank()]


def all_gather(part: np.ndarray) -> np.ndarray:
    """The stretches of all processes together, in their order, in every process."""
    if world_size() == 1:
        return part
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, part)
    return np.concatenate(parts)


def all_reduce(value: Tensor) -> float:
    """The sum of a number over all processes."""
    if world_size() == 1:
        return float(value)
    value = value.detach().clone()
    dist.all_reduce(value)
    return float(value)


def any_of(flag: bool) -> bool:
    """Whether it is so in any process."""
    return flag if world_size() == 1 else all_reduce(torch.tensor(float(flag))) > 0


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give all processes the first one's values, in place."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def gone(advice: str, marker: Path) -> BaseException:
    """What to raise when another process has gone: one of those that are left says it, the others end silently.

    `marker` is a file that does not exist yet; who makes it speaks.
    """
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return SystemExit(1)
    return KitError(f"process {rank()} of {world_size()} lost another one, which was killed or has failed: {advice}", 1)


def lost(error: RuntimeError) -> bool:
    """Whether an error says that another process has gone."""
    text = str(error).lower()
    words = ("connection closed by peer", "connection reset", "broken pipe", "socket closed", "timed out", "nccl")
    return world_size() > 1 and any(word in text for word in words)
