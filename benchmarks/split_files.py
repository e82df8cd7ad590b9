"""What `kit split-files` costs beside the bare loop that links or copies the same files: a ratio of seconds.

Both bring the same tiny files of one folder into the same number of directories, in turn, several times in one process;
the ratio is the median over the pairs, and which of both goes first alternates. The bare loop goes through
`os.scandir` and calls `os.link` or `shutil.copyfile`; kit also sorts, divides, writes the manifest, can be killed at
any moment, and counts at the end what is there. Wall time on a disk that others use scatters widely, processor time
(user and system, of this process) less, so both ratios stand in the result.
Nothing is removed before the end: right after large removals the same loop took up to five times as long on ext4.

    python benchmarks/split_files.py [FILES [PAIRS]]         220025 is what the histopathology archive holds
    TMPDIR=/mnt/disk python benchmarks/split_files.py        on another disk
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine

from kit.console import Console
from kit.data.split_files import split
from kit.data.split_plan import Arguments, part_sizes

PER_DIR, BYTES = 3385, 100
BARE: dict[str, Callable[[str, str], object]] = {"link": os.link, "copy": shutil.copyfile}


def bare(source: Path, target: Path, mode: str, parts: int) -> None:
    place = BARE[mode]
    for part in range(parts):
        os.makedirs(f"{target}/{part:02d}")
    for number, entry in enumerate(os.scandir(source)):
        place(entry.path, f"{target}/{number % parts:02d}/{entry.name}")


def ours(source: Path, target: Path, mode: str) -> None:
    arguments = Arguments(str(source), "link" if mode == "link" else "copy", per_dir=PER_DIR)
    split(arguments, target, Console(json=True))


def compare(folder: Path, source: Path, mode: str, parts: int, pairs: int) -> dict[str, Any]:
    seconds: dict[str, list[tuple[float, float]]] = {"kit": [], "bare": []}
    for pair in range(pairs):
        for side in ("kit", "bare") if pair % 2 else ("bare", "kit"):
            target = folder / f"{mode} {pair} {side}"
            os.sync()  # what the run before has left to be written is not this one's
            wall, processor = time.perf_counter(), time.process_time()
            if side == "kit":
                ours(source, target, mode)
            else:
                bare(source, target, mode, parts)
            seconds[side].append((time.perf_counter() - wall, time.process_time() - processor))
    result: dict[str, Any] = {}
    for number, clock in enumerate(("wall", "processor")):
        kit, loop = ([run[number] for run in seconds[side]] for side in ("kit", "bare"))
        result[f"{clock}_ratio"] = round(statistics.median(a / b for a, b in zip(kit, loop, strict=True)), 3)
        result[f"kit_{clock}_seconds"] = [round(run, 3) for run in kit]
        result[f"bare_{clock}_seconds"] = [round(run, 3) for run in loop]
    return result


def main() -> None:
    files, pairs = [*map(int, sys.argv[1:]), *(20_000, 5)[len(sys.argv) - 1 :]]
    parts = len(part_sizes(files, PER_DIR, None))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        source = folder / "source"
        source.mkdir()
        for number in range(files):
            (source / f"{number * 2654435761 % 2**32:040x}.tif").write_bytes(os.urandom(BYTES))
        modes = {mode: compare(folder, source, mode, parts, pairs) for mode in BARE}
    machine.write("split_files", {"files": files, "bytes_each": BYTES, "directories": parts, "modes": modes})


if __name__ == "__main__":
    main()
