"""Measure `kit split-files` against a bare loop that links or copies the same files: a ratio of seconds.

Both bring the same tiny files from one folder into the same number of directories, in turn, several times in one
process; the ratio is the median over the pairs, and the two take turns going first. The bare loop walks `os.scandir`
and calls `os.link` or `shutil.copyfile`; kit also sorts, divides, writes the manifest, survives a kill at any moment,
and counts the files at the end. On a shared disk, wall time varies widely and processor time (user and system, of this
process) less, so the result holds both ratios.
Nothing is removed before the end: right after large removals the same loop took up to five times as long on ext4.

    python benchmarks/split_files.py [FILES [PAIRS]]         220025: the files in the histopathology archive
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
from kit_split_files.plan import Arguments, split_sizes
from kit_split_files.split import split_files

PER_DIR, BYTES = 3385, 100
BARE: dict[str, Callable[[str, str], object]] = {"link": os.link, "copy": shutil.copyfile}


def bare(source: Path, target: Path, mode: str, splits: int) -> None:
    place = BARE[mode]
    for split in range(splits):
        os.makedirs(f"{target}/{split:02d}")
    for number, entry in enumerate(os.scandir(source)):
        place(entry.path, f"{target}/{number % splits:02d}/{entry.name}")


def ours(source: Path, target: Path, mode: str) -> None:
    arguments = Arguments(str(source), "link" if mode == "link" else "copy", per_dir=PER_DIR)
    split_files(arguments, target, Console(json=True))


def compare(folder: Path, source: Path, mode: str, splits: int, pairs: int) -> dict[str, Any]:
    seconds: dict[str, list[tuple[float, float]]] = {"kit": [], "bare": []}
    for pair in range(pairs):
        for side in ("kit", "bare") if pair % 2 else ("bare", "kit"):
            target = folder / f"{mode} {pair} {side}"
            os.sync()  # writes left over from the previous run don't count
            wall, processor = time.perf_counter(), time.process_time()
            if side == "kit":
                ours(source, target, mode)
            else:
                bare(source, target, mode, splits)
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
    splits = len(split_sizes(files, PER_DIR, None))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        source = folder / "source"
        source.mkdir()
        for number in range(files):
            (source / f"{number * 2654435761 % 2**32:040x}.tif").write_bytes(os.urandom(BYTES))
        modes = {mode: compare(folder, source, mode, splits, pairs) for mode in BARE}
    machine.write("split_files", {"files": files, "bytes_each": BYTES, "directories": splits, "modes": modes})


if __name__ == "__main__":
    main()
