"""What a run records about itself: its history, its configuration, its provenance."""

from typing import Any

import numpy as np

from kit.config import describe
from kit.data.images import read_sample
from kit.data.index import Index
from kit.data.open_run import OpenRun
from kit.data.store import Store
from kit.errors import KitError
from kit.run import Run
from kit.training.schedule import learning_rate

RATES = 200  # points of the planned learning rate


def folds(run: Run) -> list[dict[str, Any]]:
    """Return how each finished fold ended: score, images, epochs, seconds, device; None where a run did not record it
    (a blend)."""
    keys = ("metric", "train_images", "valid_images", "epochs", "seconds", "device", "threads", "world_size")
    scores = run.fold_scores
    return [
        {"fold": fold, "score": scores[fold], **{key: result.get(key) for key in keys}}
        for fold, result in run.results.items()
    ]


def history(run: Run) -> dict[str, dict[str, list[float | None]]]:
    """Return the columns of each fold's `history.csv`, by the fold's number; an empty cell is None."""
    histories = {}
    for fold in run.results:
        if rows := run.history(fold):
            histories[str(fold)] = {name: [row[name] for row in rows] for name in rows[0]}
    return histories


def planned_rates(run: Run) -> dict[str, list[float]] | None:
    """Return the learning rates that the schedule plans, at up to `RATES` steps of a fold, with their epochs.

    None if the schedule depends on the course of training (plateau) or the run was not trained (a blend).
    """
    config, results = run.config, list(run.results.values())
    images = results[0].get("train_images") if results else None
    if config.schedule == "plateau" or images is None:
        return None
    steps = max(images // (config.batch_size * config.accumulate), 1)
    shown = np.unique(np.linspace(0, steps * config.epochs - 1, RATES).astype(int)).tolist()
    return {
        "epoch": [round((step + 1) / steps, 3) for step in shown],
        "lr": [learning_rate(config, step, steps) for step in shown],
    }


def configuration(run: Run) -> list[dict[str, Any]]:
    """Return each configuration key with its value, the source that set it, and its meaning."""
    meaning, sources = describe(), run.record.get("sources", {})
    return [
        {"key": key, "value": value, "source": sources.get(key, "default"), "meaning": meaning.get(key, "")}
        for key, value in run.record["config"].items()
    ]


def provenance(opened: OpenRun) -> dict[str, Any]:
    """Return commands, versions, seeds, digests, date and time spent."""
    run, store = opened.run, opened.store
    results, record = run.results, run.record
    manifest = run.manifest["files"]
    commands = {" ".join(result["command"]) for result in results.values() if "command" in result}
    return {
        "created": record["created"],
        "state": run.state,
        "commands": sorted(commands),
        "seconds": sum(result["seconds"] for result in results.values()),
        "versions": {"kit": record["kit"], **record.get("versions", {})},
        "seeds": {"weights, order, augmentation": record["config"]["seed"], "folds": record["folds"]["seed"]},
        "digests": {
            "folds": record["folds"]["digest"],
            "data": store.note.get("digest") or None,
            # The first digest is that of the file: there are two only while a file is being replaced.
            **{name: digests[0] for name, digests in sorted(manifest.items()) if not name.startswith("report.")},
        },
        "blend": record.get("blend"),
    }


def data(opened: OpenRun) -> dict[str, Any]:
    """Return what there was to learn from: numbers of ids, images and groups, and the ids per class."""
    run, store, index, table = opened.run, opened.store, opened.index, opened.folds.table
    groups = int(table["group"].nunique()) if "group" in table else 0
    shape = _shape(store, index)
    return {
        "origin": run.record["origin"],
        "dataset": store.dataset.name,
        "ids": int(index.train["id"].nunique()),
        "images": len(index.train),
        "test_ids": int(index.test["id"].nunique()),
        "first_image": shape and dict(zip(("height", "width", "channels"), shape, strict=True)),
        "grouped_by": run.record["folds"]["grouped_by"],
        "groups": groups,
        "fold_ids": np.bincount(table["fold"]).tolist(),
        "left_out": run.record.get("left_out", {}),
        "external_ids": (run.record.get("external") or {}).get("ids", 0),
        "metadata": list(index.metadata),
        "normalization": run.record.get("normalization"),
        "class_counts": list(index.class_counts().values()) if index.task.has_classes else [],
        "targets": None if index.task.has_classes else _targets(index),
    }


def _targets(index: Index) -> list[dict[str, Any]]:
    """Return how each target is spread among the training ids."""
    numbers = index.targets(index.train.drop_duplicates("id")).astype(np.float64)
    return [
        {
            "mean": float(column.mean()),
            "std": float(column.std()),
            "quantiles": np.quantile(column, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]).tolist(),
        }
        for column in numbers.T
    ]


def _shape(store: Store, index: Index) -> list[int] | None:
    """Return height, width and channels of the first training image; None if it can't be read."""
    try:
        return list(read_sample(store.dataset, index.root, index.train["files"].iat[0]).shape)
    except KitError:
        return None
