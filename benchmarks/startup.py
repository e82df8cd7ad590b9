"""What starting costs: `kit --help` with all plugins beside `import typer`, and commands that need no network.

The first is the median ratio of pairs in turn. Of each command the median seconds over a miniature with two runs, and
the ratio to `import torch` in turn: a command that runs no network stays below it.

python benchmarks/startup.py
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

PAIRS = 9


def seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - began


def paired(one: Callable[[], float], other: Callable[[], float]) -> tuple[float, float, float]:
    """Median ratio and median seconds of two measurements in turn, after one of each that does not count."""
    pairs = [(one(), other()) for _ in range(PAIRS + 1)][1:]
    return statistics.median(a / b for a, b in pairs), *(statistics.median(each) for each in zip(*pairs, strict=True))


def commands(folder: Path) -> dict[str, tuple[str, ...]]:
    """Commands over HAM10000's miniature and two runs that nothing trained."""
    os.environ |= {"KIT_DATA": str(folder / "data"), "KIT_RUNS": str(folder / "runs"), "KIT_PLUGINS": ""}
    seconds("-m", "kit", "download", "ham10000", "--miniature")
    from helpers.hand_made_runs import hand_made_run

    one, two = (hand_made_run("ham10000", seed).id for seed in (0, 1))
    return {
        "thresholds": ("thresholds", one),
        "submit": ("submit", one, "--dry-run"),
        "pseudo-label": ("pseudo-label", one, "--min-confidence", "0.5"),
        "report --text": ("report", one, "--text"),
        "blend": ("blend", one, two),
        "runs": ("runs",),
        "log": ("log", "ham10000"),
        "folds": ("folds", "ham10000"),
    }


def main() -> None:
    ratio, help_, typer = paired(lambda: seconds("-m", "kit", "--help"), lambda: seconds("-c", "import typer"))
    found = {"ratio": round(ratio, 3), "kit_help_seconds": round(help_, 4), "import_typer_seconds": round(typer, 4)}
    without_torch = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in commands(Path(folder)).items():
            ratio, own, torch = paired(
                lambda words=words: seconds("-m", "kit", *words), lambda: seconds("-c", "import torch")
            )
            without_torch[name] = {"seconds": round(own, 3), "ratio_to_import_torch": round(ratio, 3)}
    machine.write("startup", {**found, "import_torch_seconds": round(torch, 3), "commands": without_torch})


if __name__ == "__main__":
    main()
