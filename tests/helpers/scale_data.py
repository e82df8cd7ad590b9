"""Synthetic data of histopathology in its real layout and at any size, for tests and benchmarks of scale."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from kit.config import validate
from kit.data.store import Store
from kit.hooks.registry import Registry
from kit.run import Run
from kit.scoring.predictions import Predictions

TRAIN, TEST = 220_025, 57_458  # of the competition
SLIDES = 196
SLIDES_FILE = "slides.csv"  # beside the data, not under the name by which the dataset finds it
DRAWN = 256


def ids(part: str, count: int) -> list[str]:
    """Forty hexadecimal digits each, as Kaggle has them."""
    return [hashlib.sha1(f"{part} {row}".encode()).hexdigest() for row in range(count)]


def build(train: int, test: int, write: Callable[[list[Path]], None], grouped: bool) -> Store:
    """Fill the store of histopathology under $KIT_DATA: images by `write`, csv files, slides.

    Slides lie under the community's name, where every command finds them, if `grouped`; else as `SLIDES_FILE`.
    """
    store = Store.of(Registry(), "histo")
    names = {"train": ids("train", train), "test": ids("test", test)}
    for part, own in names.items():
        (store.root / part).mkdir(parents=True)
        write([store.root / part / f"{name}.tif" for name in own])
    random = np.random.default_rng(0)
    slides = random.integers(0, SLIDES, train)
    _csv(store.root / "train_labels.csv", "id,label", names["train"], (random.random(train) < 0.405).astype(int))
    _csv(store.root / "sample_submission.csv", "id,label", names["test"], np.zeros(test, int))
    wsi = [f"camelyon16_train_tumor_{slide:03d}" for slide in slides]
    _csv(store.root / ("patch_id_wsi.csv" if grouped else SLIDES_FILE), "id,wsi", names["train"], wsi)
    (store.root / ".kit").mkdir()
    listed = sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())
    (store.root / ".kit" / "files.txt").write_text("\n".join(listed) + "\n")
    store.set_origin("archive", "synthetic")
    return store


def predicted(test: int) -> Run:
    """A run under $KIT_RUNS with made predictions of all test ids."""
    config = validate({"competition": "histopathology", "dataset": "histopathology", "loss": "bce", "folds": 3})
    score = {"metric": "roc_auc", "value": 0.97, "low": 0.96, "high": 0.98, "ids": TRAIN}
    run = Run.create(config, {"origin": "archive", "folds": {"digest": "d" * 64}, "planned": [0], "score": score})
    values = np.random.default_rng(0).random((test, 1), np.float32)
    with run.writing("test.npz") as path:
        Predictions(np.array(ids("test", test), dtype=object), ("tumor",), values).save(path)
    return run


def drawn(paths: list[Path]) -> None:
    """Patches of 96 px that look real, each under many names: 28 kB of disk a name would be 8 GB."""
    from kit_histopathology.miniature import draw_patch

    originals = []
    for number, path in enumerate(paths[:DRAWN]):
        path.write_bytes(_tif(draw_patch(np.random.default_rng(number), bool(number % 2))))
        originals.append(path)
    for number, path in enumerate(paths[DRAWN:]):
        os.link(originals[number % DRAWN], path)


def tiny(paths: list[Path]) -> None:
    """Uncompressed images of 16 px, no two alike."""
    mark = np.arange(1, 49, dtype=np.uint8)
    image = np.random.default_rng(0).integers(100, 256, (16, 16, 3), np.uint8)
    image[0] = mark.reshape(16, 3)
    head, tail = _tif(image).split(mark.tobytes())
    for path in paths:
        path.write_bytes(head + hashlib.sha384(path.name.encode()).digest() + tail)


def _csv(path: Path, header: str, first: list[str], second: "np.ndarray | list[str]") -> None:
    path.write_text("\n".join([header, *(f"{a},{b}" for a, b in zip(first, second, strict=True))]) + "\n")


def _tif(rgb: np.ndarray) -> bytes:
    uncompressed = [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_NONE]
    return cv2.imencode(".tif", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), uncompressed)[1].tobytes()
