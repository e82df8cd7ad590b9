"""A profile of some steps as figures and text: top kernels by time, what is launched, gaps in which a device idles."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


class Work(NamedTuple):
    """A stretch of work: its name, start and end in microseconds."""

    name: str
    start: float
    end: float


def gaps(work: Iterable[Work]) -> tuple[float, list[tuple[float, str]]]:
    """The time in which at least one of the stretches runs, and each gap between them with what ends it."""
    busy, idle, until = 0.0, [], None
    for one in sorted(work, key=lambda each: each.start):
        if until is not None and one.start > until:
            idle.append((one.start - until, one.name))
        begin = one.start if until is None else max(one.start, until)
        busy += max(0.0, one.end - begin)
        until = one.end if until is None else max(until, one.end)
    return busy, idle


def summary(work: Sequence[Work], calls: Sequence[str], steps: int) -> dict[str, Any]:
    """Figures and lines.

    Args:
        work: kernels and copies on the device.
        calls: names of what the host called while they ran.
        steps: how many steps were profiled.
    """
    if not work:
        return {"lines": ["the profiler saw no work of the device"]}
    whole = max(one.end for one in work) - min(one.start for one in work)
    busy, idle = gaps(work)
    copies = [one for one in work if one.name.startswith(("Memcpy", "Memset"))]
    time, count = Counter[str](), Counter[str]()
    for one in work:
        time[one.name] += one.end - one.start
        count[one.name] += 1
    launches, waits = (sum(call.startswith(names) for call in calls) for names in (LAUNCHES, WAITS))
    figures = {
        "steps": steps,
        "milliseconds a step": round(whole / steps / 1e3, 3),
        "idle share": round(1 - busy / whole, 4),
        "kernels a step": round((len(work) - len(copies)) / steps, 1),
        "launches a step": round(launches / steps, 1),
        "synchronisations a step": round(waits / steps, 2),
        "copies a step": round(len(copies) / steps, 1),
        "copying share": round(sum(one.end - one.start for one in copies) / whole, 4),
    }
    lines = [f"{name}: {value}" for name, value in figures.items()]
    lines += ["", "   share      ms/step  calls/step  kernel"]
    for name, spent in time.most_common(25):
        share, each = spent / whole, spent / steps / 1e3
        lines.append(f"{share:8.2%} {each:12.4f} {count[name] / steps:11.1f}  {name[:80]}")
    lines += ["", "largest gaps, us, and what ends them"]
    lines += [f"{length:10.1f}  {name[:80]}" for length, name in sorted(idle, reverse=True)[:10]]
    return {**figures, "lines": lines}
