"""Stage `whole`: histopathology at its real size by kit's own commands, in minutes on the clock.

220,025 training and 57,458 test patches of 96 px in the competition's layout: 5 folds x 5 epochs of resnet18 with new
weights, the out-of-fold score, TTA 8 over the test patches with all five networks, the csv written and checked. The
patches are noise with a centre that is brighter the more tumour there is. They are drawn straight into the packs that
the commands then find, as the files from which a pack is known are real; all other files are links to a few. Making
them is told apart and not counted.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from stage import Stage

from helpers import scale_data
from kit.console import Console
from kit.data.store import Store
from kit.pixels.pack import find_packed, packed

SIDE, CENTRE = 96, slice(32, 64)
TRAIN, TEST = scale_data.TRAIN, scale_data.TEST
TRAINING = "--folds 5 --epochs 5 --size 96 --model resnet18 --batch-size 1024 --lr 2e-3"
SMALL = "--folds 2 --epochs 1 --size 96 --model small_cnn --batch-size 16 --lr 1e-2"
BRIGHTER = 48  # most grey levels by which a tumour's centre is brighter; drawn evenly from 0
EVERY = 0.5  # seconds between two looks at the folds


class Patches:
    """Draws the patch of an id: the same one whenever it is asked for, in the process of any worker."""

    def __init__(self, labels: dict[str, int]) -> None:
        self.labels = labels
        self.noise = np.random.default_rng(0).integers(0, 41, 1 << 22, np.uint8)

    def draw(self, files: tuple[Path, ...]) -> np.ndarray:
        name = files[0].stem
        number, bytes_ = int(name[:12], 16), SIDE * SIDE * 3
        start = number % (len(self.noise) - bytes_)
        image = self.noise[start : start + bytes_].reshape(SIDE, SIDE, 3) + np.uint8(80 + number // 997 % 60)
        # The labels of test patches are nobody's concern, but half of them look like tumour all the same.
        if self.labels.get(name, number & 1):
            image[CENTRE, CENTRE] += np.uint8(number // 7 % BRIGHTER)
        return image


def make(train: int, test: int) -> Store:
    """Lay out the competition's folder under $KIT_DATA and pack its patches."""
    blank = cv2.imencode(".tif", np.zeros((SIDE, SIDE, 3), np.uint8), [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()

    def write(paths: list[Path]) -> None:
        for number, path in enumerate(paths):
            if number < scale_data.DRAWN:  # a file may have some ten thousand names
                path.write_bytes(blank)
            else:
                os.link(paths[number % scale_data.DRAWN], path)

    store = scale_data.build(train, test, write, grouped=False)
    table = pd.read_csv(store.root / "train_labels.csv")
    patches = Patches(dict(zip(table["id"], table["label"], strict=True)))
    for names, part in ((table["id"], "train"), (scale_data.ids("test", test), "test")):
        for row in {0, len(names) // 2, len(names) - 1}:  # whose pixels are part of what a pack is known by
            path = store.root / part / f"{names[row]}.tif"
            path.unlink()
            raw = cv2.cvtColor(patches.draw((path,)), cv2.COLOR_RGB2BGR)
            path.write_bytes(cv2.imencode(".tif", raw, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes())
    index, drawing = store.index(), replace(store, dataset=replace(store.dataset, read=patches.draw))
    for split in ("train", "test"):
        packed(drawing, index, split, SIDE, Console(json=True))
        if find_packed(store, index, split, SIDE) is None:
            raise SystemExit(f"the drawn pack of {split} is not what kit's commands look for")
    return store


def kit(*words: str, after_each_look: Callable[[], None] = lambda: None) -> tuple[dict[str, Any], float]:
    """Run a command; return its document and its seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "kit", *words, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while True:
            try:
                out, _ = process.communicate(timeout=EVERY)
                break
            except subprocess.TimeoutExpired:
                after_each_look()
    after_each_look()
    if process.returncode:
        raise SystemExit(f"kit {' '.join(words)} ended with {process.returncode}")
    return json.loads(out), time.perf_counter() - began


def train(stage: Stage, runs: Path, words: str) -> float:
    """Train all folds and note each as it ends; return the seconds."""
    folds: dict[str, Any] = {}

    def look() -> None:
        for path in sorted(runs.glob("*/fold-*/result.json")):
            if path.parent.name not in folds:
                result = json.loads(path.read_text())
                kept = {name: result[name] for name in ("score", "train_seconds", "seconds", "device")}
                folds[path.parent.name] = {name: _short(value) for name, value in kept.items()}
                stage.note("folds", folds)

    document, seconds = kit("train", "histo", "--no-pretrained", *words.split(), after_each_look=look)
    score = document["score"]
    kept = {"score": score["value"], "low": score["low"], "high": score["high"], "ids": score["ids"]}
    figures = {name: _short(value) for name, value in kept.items()}
    stage.note("train", {"seconds": round(seconds, 1), **figures, "command": f"kit train histo {words}"})
    return seconds


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def main(stage: Stage) -> None:
    os.environ.update({f"KIT_{name.upper()}": str(stage.scratch / name) for name in ("data", "runs", "cache")})
    count, test = (240, 60) if stage.rehearsal else (TRAIN, TEST)
    began = time.perf_counter()
    make(count, test)
    seconds = round(time.perf_counter() - began, 1)
    stage.note("made, not counted", {"train": count, "test": test, "seconds": seconds})
    total = train(stage, stage.scratch / "runs", SMALL if stage.rehearsal else TRAINING)
    document, seconds = kit("predict", "--tta", "8")
    total += seconds
    predicted = {"ids": document["ids"], "views": document["tta"], "folds": len(document["folds"])}
    stage.note("predict", {"seconds": round(seconds, 1), **predicted})
    document, seconds = kit("submit", "--dry-run")
    total += seconds
    rows = len(pd.read_csv(document["path"]))
    stage.note("submission", {"seconds": round(seconds, 1), "rows": rows if document["valid"] else 0})
    stage.note("seconds", round(total, 1))


if __name__ == "__main__":
    main(Stage.of_arguments())
