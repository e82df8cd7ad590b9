"""A GPU that is none: its tensors lie on the CPU, and what the host asks of it is counted.

`calls` counts launches (operations that are no views), copies to the device, pinned allocations, waits of the host and
orders to a stream. `nowhere` is another: torch's meta device, on which reading a value is an error.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Device:
    """What code sees as a CUDA device."""

    type, index = "cuda", 0


class Stream:
    def __init__(self, gpu: "FakeGpu", name: str) -> None:
        self.gpu, self.name = gpu, name

    def wait_event(self, event: "Event") -> None:
        self.gpu.note("stream waits", f"{self.name} waits for {event.name}")

    def record_event(self) -> "Event":
        event = Event(self.gpu)
        event.record(self)
        return event


class Event:
    def __init__(self, gpu: "FakeGpu") -> None:
        self.gpu, self.name = gpu, f"event {gpu.events}"
        gpu.events += 1

    def record(self, stream: Stream | None = None) -> None:
        self.gpu.note("events recorded", f"{self.name} after {stream.name if stream else self.gpu.current.name}")

    def synchronize(self) -> None:
        self.gpu.note("waits for an event", f"host waits for {self.name}")


class FakeGpu(TorchDispatchMode):
    """Stands in for `torch.cuda` while it is installed; counts operations while it is entered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.device: Any = Device()
        self.calls: Counter[str] = Counter()
        self.log: list[str] = []
        self.events = 0
        self.current = self.main = Stream(self, "compute")
        cuda = {
            "Stream": lambda device: Stream(self, "copies"),
            "Event": lambda: Event(self),
            "current_stream": lambda device=None: self.current,
            "stream": self._on,
        }
        for name, fake in cuda.items():
            monkeypatch.setattr(torch.cuda, name, fake)
        for name in ("empty", "tensor", "zeros"):
            monkeypatch.setattr(torch, name, self._made(getattr(torch, name)))
        monkeypatch.setattr(torch.Tensor, "pin_memory", self._pinned)
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
        monkeypatch.setattr(torch, "autocast", lambda *given, **named: nullcontext())

    def note(self, kind: str, line: str) -> None:
        self.calls[kind] += 1
        self.log.append(line)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if "copy_" in func.name() and (given.get("non_blocking") or True in args[2:]):
            self.note("copies", f"copy on {self.current.name}")
        elif func.name() in ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal"):
            self.note("values read", func.name())
        elif not func.is_view and not func.name().startswith("aten::empty"):
            self.calls["launches"] += 1
        return func(*args, **given)

    def _made(self, plain: Any) -> Any:
        def make(*args: Any, **kwargs: Any) -> torch.Tensor:
            if kwargs.pop("pin_memory", False):
                self.note("pinned allocations", f"pinned {args[0]}")
            if kwargs.get("device") is self.device:
                kwargs["device"] = "cpu"
            return plain(*args, **kwargs)

        return make

    def _pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        self.note("pinned allocations", f"pinned {tuple(tensor.shape)}")
        return tensor

    @contextmanager
    def _on(self, stream: Stream | None) -> Iterator[None]:
        before, self.current = self.current, stream or self.current
        yield
        self.current = before


@contextmanager
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Give the meta device what training needs of a device."""
    import torch.optim.optimizer as optimizer

    known = optimizer._get_fused_kernels_supported_devices()
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: [*known, "meta"])
    monkeypatch.setattr(torch, "autocast", lambda *given, **named: nullcontext())
    yield torch.device("meta")
