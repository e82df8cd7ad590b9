"""Tests compute on the CPU, on a machine with a GPU too: what they compare is exact there alone."""

import contextlib
import ctypes
import functools
from collections.abc import Iterator

import pytest


@functools.cache
def has_driver() -> bool:
    """Whether a GPU may be here: without the driver of one, torch need not be imported to know."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Inside the block, neither this process nor those that it starts see a GPU."""
    if not has_driver():
        yield
        return
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        yield
