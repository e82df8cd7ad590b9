"""Pseudo-labels: what a run is sure of among the test images, as training data for the next one (Lee 2013)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kit.decision.tune import with_rule
from kit.errors import KitError
from kit.files import atomic
from kit.hooks.registry import Registry
from kit.hooks.specs import Task
from kit.inference.trained import store_of_run
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.submission.write import postprocessed


def confidence(task: Task, values: np.ndarray) -> np.ndarray:
    """How sure predictions are, n: the probability of the answer, or, of a multi-label task, its least sure class."""
    if task == "multiclass":
        return np.asarray(values.max(1))
    return np.asarray(np.maximum(values, 1 - values).min(1))


def pseudo_label(registry: Registry, run: Run, least: float, path: Path, plates: bool) -> dict[str, Any]:
    """Write the answers to the test images of which a run is sure, in the form of a submission, which `--extra` takes.

    Args:
        registry: where the competition is found.
        run: with test predictions.
        least: confidence from which on an answer counts, 0..1, before any post-processing.
        path: of the csv.
        plates: the competition's post-processing corrects the answers.

    Returns:
        The document of `kit pseudo-label --json`.
    """
    store = store_of_run(registry, run)
    if store.dataset.extra is None:
        raise KitError(f"{store.competition.name} takes no extra training data, so pseudo-labels are of no use there")
    if not run.has("test.npz"):
        raise KitError(f"run {run.id} has no predictions: kit predict {run.id}")
    index, predictions = store.index(), with_rule(run, Predictions.load(run.reading("test.npz")).mean_by_id())
    sure = confidence(index.task, predictions.values) >= least
    if not sure.any():
        highest = float(confidence(index.task, predictions.values).max())
        raise KitError(
            f"no prediction of run {run.id} is as sure as {least:g} (the surest {highest:.3f}): "
            "give a lower --min-confidence"
        )
    ids = predictions.ids[sure]
    if plates:
        predictions = postprocessed(registry, store, predictions, index)
    kept = replace(index, test=index.test[index.test["id"].isin(set(ids))])
    spec = registry.submissions.get(store.competition.submission)
    with atomic(path) as temporary:
        spec.write(predictions.reorder(ids), kept, temporary)
    return {"run": run.id, "path": path, "ids": len(ids), "of": len(sure), "min_confidence": least, "plates": plates}
