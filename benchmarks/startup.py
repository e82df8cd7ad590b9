"""What `kit --help` costs with all plugins, beside `python -c "import typer"`: the median ratio of pairs in turn.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

import machine

PAIRS = 15


def seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    pairs = [(seconds("-m", "kit", "--help"), seconds("-c", "import typer")) for _ in range(PAIRS + 1)][1:]
    machine.write(
        "startup",
        {
            "ratio": round(statistics.median(a / b for a, b in pairs), 3),
            "kit_help_seconds": round(statistics.median(a for a, _ in pairs), 4),
            "import_typer_seconds": round(statistics.median(b for _, b in pairs), 4),
        },
    )


if __name__ == "__main__":
    main()
