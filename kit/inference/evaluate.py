"""Validate a saved run again, from its weights and the images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.index import rows_of
from kit.data.open_run import OpenRun
from kit.decision.apply import predict_fold, rule_of
from kit.inference.forward import forward_views
from kit.inference.load import load_fold
from kit.inference.tta import Scale, scaled_samples
from kit.scoring.predictions import Predictions
from kit.scoring.table import classification_table
from kit.submission.write import postprocessed
from kit.task import HALF


def evaluate(
    opened: OpenRun,
    only_fold: int | None,
    threshold: float | None,
    beta: float,
    console: Console,
    postprocess: bool = False,
    scales: Sequence[Scale] = (),
) -> dict[str, Any]:
    """Predict the validation images of each trained fold again and score them.

    Without a `threshold`, a fold's classes are predicted by the run's decision rule that has not seen the fold (`kit
    thresholds`); without a rule, by the largest probability or the threshold 0.5.

    Returns:
        The metrics over all evaluated ids together, the competition's metric per fold, and `difference`: the largest
        distance between a probability and the one that training saved (0 on the same machine and thread count; None
        if `scales` averages over views). With `postprocess`, also the competition's metric after post-processing.
    """
    run, index, metric = opened.run, opened.index, opened.metric
    task, folds = index.task, run.need_network()
    by_fold, oofs, scored, predicted, difference = {}, [], [], [], 0.0
    for fold in folds if only_fold is None else [run.trained_fold(only_fold)]:
        oof = _validate(opened, fold, scales, console)
        saved = Predictions.load(run.reading(f"fold-{fold}/oof.npz")).reorder(oof.ids)
        difference = max(difference, float(np.abs(saved.values - oof.values).max()))
        rule = rule_of(run, fold) if threshold is None else None
        scored.append((oof if rule is None else rule.applied(oof)).values)
        by_fold[str(fold)] = opened.score(index.targets_of(oof.ids), scored[-1])
        oofs.append(oof)
        predicted.append(predict_fold(run, task, fold, oof.values, threshold))
    ids, values = (np.concatenate([getattr(oof, name) for oof in oofs]) for name in ("ids", "values"))
    target = index.targets_of(ids)
    flat_target, flat_values = task.flat(target), task.flat(values)
    table = classification_table(task, index.classes, flat_target, flat_values, np.concatenate(predicted), beta)
    rule = rule_of(run) if threshold is None else None
    if rule is not None and len(run.record["planned"]) == 1:
        console.warn(
            "the decision rule was tuned on these very rows, so its score here is optimistic: "
            f"kit thresholds {run.id} has the estimate"
        )
    plain = HALF if threshold is None else threshold
    if not task.softmax:
        _add_thresholds(table["report"], index.classes, plain, None if rule is None else rule.thresholds_for(values))
    metrics = opened.registry.metrics
    further = {name: metrics.get(name).compute(flat_target, flat_values) for name in opened.competition.epoch_metrics}
    document: dict[str, Any] = {
        "run": run.id,
        "ids": len(ids),
        "threshold": rule.method if rule else plain,
        "metric": metric.name,
        metric.name: opened.score(target, np.concatenate(scored)),
        **further,
        **table,
        "folds": by_fold,
        "difference": None if scales else difference,
    }
    if postprocess:
        document["postprocessed"] = _score_postprocessed(opened, Predictions(ids, index.output_names, values))
    return document


def _add_thresholds(
    report: dict[str, Any], classes: Sequence[str], plain: float, thresholds: np.ndarray | None
) -> None:
    """Add each class's threshold to the report."""
    for number, name in enumerate(classes):
        report[name]["threshold"] = float(plain if thresholds is None else thresholds[number])


def _score_postprocessed(opened: OpenRun, predictions: Predictions) -> float:
    """Compute the metric after the competition's post-processing, which may drop classes (controls)."""
    after, index = postprocessed(opened, predictions), opened.index
    target = index.targets_of(after.ids)
    if index.task.softmax:
        target = pd.Index(after.classes).get_indexer(pd.Index(index.classes))[target]
    return opened.score(target, after.values)


def _validate(opened: OpenRun, fold: int, scales: Sequence[Scale], console: Console) -> Predictions:
    config, index = opened.config, opened.index
    model = load_fold(opened, fold)
    rows = rows_of(index.train[opened.folds.of(index.train) == fold], config.only)
    samples = [
        (scale, scaled_samples(opened.store, index, "train", config, scale, console)(rows))
        for scale in scales or [Scale(config.size, ())]
    ]
    with console.progress(f"fold {fold} validation", len(rows) * len(samples)) as bar:
        values = forward_views(model, samples, config, after_batch=bar.advance)
    return Predictions(rows["id"].to_numpy(), index.output_names, values.astype(np.float32)).mean_by_id()
