"""Seconds and peak anonymous memory of a command, its worker processes apart."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.02  # seconds between two looks


@dataclass(frozen=True)
class Measured:
    """What one command took.

    Args:
        seconds: from its start to its end.
        peak: largest RssAnon of its process, MB.
        worker: largest RssAnon of any one of the processes that it started, MB; 0 where there were none.
        code: its exit status.
        output: what it printed.
    """

    seconds: float
    peak: float
    worker: float
    code: int
    output: str


def kit(*arguments: object) -> Measured:
    """Measure one command of kit in a process of its own, in this process's environment."""
    return measure([sys.executable, "-m", "kit", *map(str, arguments)])


def measure(command: list[str]) -> Measured:
    """Run a command to its end and look at its memory every 20 ms."""
    began, peak, worker = time.perf_counter(), 0.0, 0.0
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "NO_ALBUMENTATIONS_UPDATE": "1"}
    with tempfile.TemporaryFile() as printed:
        with subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, env=environment) as process:
            while process.poll() is None:
                peak = max(peak, anonymous(process.pid))
                worker = max([worker, *map(anonymous, children(process.pid))])
                time.sleep(EVERY)
        seconds = time.perf_counter() - began
        printed.seek(0)
        output = printed.read().decode()
    return Measured(seconds, peak, worker, process.returncode, output)


def anonymous(process: int) -> float:
    """RssAnon of a process in MB; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon")), 0.0)


def children(process: int) -> list[int]:
    """The processes that a process has started and that still run."""
    try:
        tasks = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:
        return []
    return [int(number) for number in " ".join(tasks).split()]
