"""Commands and metrics at a tenth of histopathology and at its real size, 220,025 training and 57,458 test images.

Beside each command: seconds, the ratio of seconds a row (1: linear; below 1: what a start costs weighs less), and the
largest RssAnon of its process. Images are 256 drawn patches under many names (hard links), so all of them come from the
page cache; the pack is written in full (7.7 GB). Then training and prediction at 10,000 and 100,000 images of 16 px in
all, where the memory is what counts.

    python benchmarks/scale.py [FOLDER]       FOLDER: where the data goes; by default the system's temporary one
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from helpers import scale_data, scale_memory
from kit.console import Console
from kit.data.store import Store
from kit.hooks.registry import Registry
from kit.scoring.interval import bootstrap_interval
from kit.scoring.table import classification_table

ROWS = (22_003, 220_025)
COMMANDS = (
    "list",
    "config histo",
    "runs",
    "log histo",
    "download histo",
    "info histo",
    "folds histo --folds 3",
    "folds histo --folds 5 --group {slides}",
    "submit --dry-run",
    "check histo",
    "pack histo",
)
TINY = (10_000, 100_000)
TRAINING = (
    "folds histo --folds 2",
    "check histo",
    "pack histo --size 16",
    "train histo --model small_cnn --no-pretrained --size 16 --folds 2 --fold 0 --epochs 1 --batch-size 256",
    "evaluate",
    "predict",
    "submit --dry-run",
)
RESAMPLED = 200


def enter(folder: Path, name: str) -> None:
    os.environ["KIT_DATA"], os.environ["KIT_RUNS"] = str(folder / name / "data"), str(folder / name / "runs")


def run(folder: Path, sizes: tuple[int, int], commands: tuple[str, ...]) -> dict[str, Any]:
    """Every command at both sizes; a data set is there as `folder/<rows>`."""
    found: dict[str, Any] = {}
    for command in commands:
        both = []
        for rows in sizes:
            enter(folder, str(rows))
            root = Store.of(Registry(), "histo").root
            both.append(scale_memory.kit(*command.format(slides=root / scale_data.SLIDES_FILE).split()))
            # `check` says 2: hard links are duplicates.
            if both[-1].code not in (0, 2 * command.startswith("check")):
                raise SystemExit(f"kit {command} failed:\n{both[-1].output}")
            if command == "pack histo":
                shutil.rmtree(root / ".kit" / "packed")
        small, large = both
        found[f"kit {command}"] = {
            "seconds": [round(one.seconds, 2) for one in both],
            "seconds_a_row_ratio": round(large.seconds / small.seconds * sizes[0] / sizes[1], 3),
            "peak_anonymous_mb": [round(one.peak, 1) for one in both],
            "peak_ratio": round(large.peak / small.peak, 3),
            "peak_worker_mb": [round(one.worker, 1) for one in both],
        }
        print(command, found[f"kit {command}"], file=sys.stderr, flush=True)
    return found


def metrics() -> dict[str, Any]:
    """Processor seconds of scores of random predictions at both sizes: medians of five and three, the interval once."""
    found: dict[str, Any] = {}
    random, roc_auc = np.random.default_rng(0), Registry().metrics.get("roc_auc")
    seconds: dict[str, list[float]] = {}
    for rows in ROWS:
        target, prediction = (random.random(rows) < 0.4).astype(np.float32), random.random(rows, np.float32)
        slides, rows_alone = random.integers(0, scale_data.SLIDES, rows), np.arange(rows)
        sampled = 1000 if rows < 20_000 else RESAMPLED

        def interval(groups: np.ndarray, t: np.ndarray = target, p: np.ndarray = prediction) -> object:
            return bootstrap_interval(roc_auc, t, p, groups, Console(json=True))

        for name, work, times in (
            ("roc_auc", lambda t=target, p=prediction: roc_auc.compute(t, p), 5),
            (
                "table of kit evaluate",
                lambda t=target, p=prediction: classification_table("binary", ("normal", "tumor"), t, p, 0.5, 2.0),
                3,
            ),
            (f"interval, {sampled} resamples", lambda g=rows_alone, work=interval: work(g), 1),
            (f"interval by slides, {sampled} resamples", lambda g=slides, work=interval: work(g), 1),
        ):
            seconds.setdefault(name, []).append(timed(work, times))
    for name, (small, large) in seconds.items():
        ratio = round(large / small * ROWS[0] / ROWS[1], 3)
        found[name] = {"seconds": [round(small, 4), round(large, 4)], "seconds_a_row_ratio": ratio}
    return found


def timed(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return float(np.median(taken))


def main(folder: Path) -> None:
    os.environ["KIT_PLUGINS"] = ""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        place = Path(scratch)
        for rows, test, write in [
            (ROWS[0], scale_data.TEST // 10, scale_data.drawn),
            (ROWS[1], scale_data.TEST, scale_data.drawn),
        ]:
            enter(place, str(rows))
            scale_data.build(rows, test, write, grouped=False)
            scale_data.predicted(test)
        full = run(place, ROWS, COMMANDS)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        place = Path(scratch)
        for images in TINY:
            enter(place, str(images))
            scale_data.build(images * 4 // 5, images // 5, scale_data.tiny, grouped=False)
        memory = run(place, TINY, TRAINING)
    machine.write(
        "scale",
        {
            "rows": ROWS,
            "commands": full,
            "metrics": metrics(),
            "images_of_16_px": TINY,
            "memory": memory,
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()))
