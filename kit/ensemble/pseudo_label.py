"""Pseudo-labels: a run's confident predictions of test images, as training data for the next run (Lee 2013)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from kit.data.open_run import OpenRun
from kit.decision.apply import with_rule
from kit.errors import KitError
from kit.files import atomic
from kit.runs import step_to
from kit.scoring.predictions import Predictions
from kit.submission.write import postprocessed
from kit.task import ORDINAL


def pseudo_label(opened: OpenRun, min_confidence: float, path: Path, postprocess: bool) -> dict[str, Any]:
    """Write a run's confident predictions in the form of a submission, which `kit train --external` takes.

    Args:
        opened: a run with test predictions.
        min_confidence: the lowest confidence that counts, 0..1, before any post-processing.
        path: of the csv to write.
        postprocess: whether the competition's post-processing corrects the predictions.

    Returns:
        The document of `kit pseudo-label --json`.
    """
    run = opened.run
    if not opened.index.task.has_classes:
        raise KitError(
            f"{opened.competition.name} predicts numbers, which say nothing of how sure they are: "
            "pseudo-labels are for tasks with classes"
        )
    if opened.store.dataset.external is None:
        raise KitError(
            f"{opened.competition.name} takes no external training data, so pseudo-labels are of no use there"
        )
    if not run.has("test.npz"):
        raise KitError(f"run {run.id} has no predictions: {step_to(run, 'test.npz')}")
    index, made = opened.index, Predictions.load(run.reading("test.npz")).mean_by_id()
    predictions = with_rule(run, made)
    # A decided grade is sure of itself.
    confidence = index.task.confidence(made.values if index.task is ORDINAL else predictions.values)
    sure = confidence >= min_confidence
    if not sure.any():
        raise KitError(
            f"no prediction of run {run.id} reaches a confidence of {min_confidence:g} "
            f"(the highest is {confidence.max():.3f}): give a lower --min-confidence"
        )
    ids = predictions.ids[sure]
    if postprocess:
        predictions = postprocessed(opened, predictions)
    kept = replace(index, test=index.test[index.test["id"].isin(set(ids))])
    with atomic(path) as temporary:
        opened.submission.write(replace(predictions.reorder(ids), task=index.task), kept, temporary)
    return {
        "run": run.id,
        "path": path,
        "ids": len(ids),
        "of": len(sure),
        "min_confidence": min_confidence,
        "postprocess": postprocess,
    }
