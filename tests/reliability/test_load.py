"""Many of everything: cycles in one process, runs in one folder. 220,025 rows are in `tests/test_scale.py`."""

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.hand_made_runs import hand_made_run
from helpers.kill_server import make_small

WARM, CYCLES = 20, 200
TRAIN = "train histo --folds 2 --epochs 1 --size 16 --model small_cnn --batch-size 8 --set rotate=0"


@pytest.fixture
def small(kit: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch.setattr)
    kit("download", "histo", "--miniature")


def memory() -> float:
    """Anonymous memory of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon"))


def held() -> tuple[int, int]:
    """Open handles and threads of this process."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def cycle(kit: Callable, tmp_path: Path) -> None:
    kit(*TRAIN.split(), "--json")
    kit("predict", "--json")
    kit("submit", "--dry-run", "--json")
    shutil.rmtree(tmp_path / "runs")


@pytest.mark.slow
def test_two_hundred_cycles_take_no_more_than_twenty(small, kit, tmp_path):
    import gc

    seen = []
    for number in range(CYCLES):
        cycle(kit, tmp_path)
        if number % WARM == WARM - 1:
            gc.collect()
            seen.append((memory(), *held()))
    first, last = seen[0], seen[-1]
    assert last[1:] == first[1:], seen
    assert last[0] < first[0] * 1.03 + 5, seen


def test_a_cycle_leaves_no_handle_and_no_thread(small, kit, tmp_path):
    cycle(kit, tmp_path)
    before = held()
    cycle(kit, tmp_path)
    assert held() == before


def copies(run: Path, count: int) -> None:
    """As many runs as one may have: copies of one, told by their names."""
    for number in range(count - len(list(run.parent.iterdir()))):
        shutil.copytree(run, run.parent / f"copy-{number:04d}", copy_function=os.link)


def seconds(code: str) -> float:
    """Processor seconds of a process of its own, which other processes do not stretch as they do the time of day."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


KIT = "import sys; from kit.cli.app import main; main({words!r})"
# What no listing can do without: read every run.json and every result.json.
READ = """
import json, hashlib, os, pathlib
for path in pathlib.Path(os.environ["KIT_RUNS"]).glob("*/**/*.json"):
    if path.name in ("run.json", "result.json"):
        content = path.read_bytes()
        hashlib.sha256(content)
        json.loads(content)
"""


@pytest.mark.parametrize("words", [["runs"], ["runs", "--json"], ["log", "histo"]], ids=" ".join)
def test_a_thousand_runs_are_listed_in_two_seconds(small, words, tmp_path):
    copies(hand_made_run("histo", 0).path, 1000)
    took = min(seconds(KIT.format(words=words)) for _ in range(2))
    done = subprocess.run([sys.executable, "-m", "kit", "runs", "--json"], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["runs"]) == 1000
    # As a ratio to what the same machine needs for the least, which is about a quarter of a second.
    assert took < 2 or took < 6 * seconds(READ), f"{took:.1f} s"
