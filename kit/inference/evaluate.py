"""Validate a saved run again, from its weights and the images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.index import rows_of
from kit.data.open_run import OpenRun
from kit.decision.apply import SEEN, Decided, figure_of, held_out, rules_of
from kit.errors import KitError
from kit.inference.forward import forward_views
from kit.inference.load import load_fold
from kit.inference.tta import Scale, scaled_samples
from kit.model.memory import AtOnce
from kit.scoring.apart import apart, mean_over_folds
from kit.scoring.choice import metrics_of
from kit.scoring.numbers import number_table
from kit.scoring.predictions import Predictions
from kit.scoring.table import classification_table
from kit.submission.write import postprocessed
from kit.task import HALF, ORDINAL, Task


def evaluate(
    opened: OpenRun,
    only_fold: int | None,
    threshold: float | None,
    beta: float,
    console: Console,
    postprocess: bool = False,
    scales: Sequence[Scale] = (),
    further: Sequence[str] = (),
) -> dict[str, Any]:
    """Predict the validation images of each trained fold again and score them.

    Without a `threshold`, classes are predicted by the run's decision rule that has not seen the image (`held_out`). A
    metric that judges predicted classes judges these. Numbers are judged as they are.

    Args:
        opened: a run with a trained fold.
        only_fold, threshold, beta: evaluate one fold alone; the threshold of every class; of F-beta.
        console, postprocess: for progress; whether to score the competition's post-processing too.
        scales, further: views to average; names of further metrics.

    Returns:
        `metrics`: by name, of all evaluated ids; `table`: kit's own figures of the predicted classes, or numbers;
        `folds`: the competition's metric of each; and `difference`: the largest distance between a probability and the
        one that training saved (0 on the same machine and thread count; None if `scales` averages over views). Metrics
        and figures also stand at the top, where a name that both have is the metric's.
    """
    run, index, metric = opened.run, opened.index, opened.metric
    folds = _folds(opened, only_fold, threshold)
    chosen = metrics_of(opened, further)
    ids, values, difference = _predict_again(opened, folds, scales, console)
    target, fold_of = index.targets_of(ids), opened.folds.of_ids(ids)
    if not (decided := held_out(opened, ids, values, threshold)).unseen:
        console.warn(f"{SEEN}: kit thresholds {run.id} tunes it again")
    metrics = {spec.name: figure_of(opened, spec, target, values, decided) for spec in chosen}
    by_fold = {
        str(fold): figure_of(opened, metric, target, values, decided, fold_of == fold) for fold in np.unique(fold_of)
    }
    table = _table(opened, target, values, decided, threshold, beta)
    figures = {name: value for name, value in table.items() if isinstance(value, float)}
    document: dict[str, Any] = {
        **figures,
        **metrics,
        "run": run.id,
        "changed": opened.changed or None,
        "ids": len(ids),
        "threshold": _plain(index.task) if decided.by is None else decided.by,
        "metric": metric.name,
        "metrics": metrics,
        "table": figures,
        **{name: value for name, value in table.items() if name not in figures},
        "folds": by_fold,
        "mean_over_folds": mean_over_folds(by_fold.values()),
        "apart": apart(metric, metrics[metric.name], by_fold.values()),
        "difference": None if scales else difference,
    }
    if postprocess:
        document["postprocessed"] = _score_postprocessed(opened, Predictions(ids, index.output_names, values))
    return document


def _folds(opened: OpenRun, only_fold: int | None, threshold: float | None) -> list[int]:
    """Return the folds to evaluate; a threshold of numbers is a `KitError`."""
    if threshold is not None and not opened.index.task.has_classes:
        raise KitError(f"{opened.competition.name} predicts numbers, which have no threshold: drop --threshold")
    folds = opened.run.need_network()
    return folds if only_fold is None else [opened.run.trained_fold(only_fold)]


def _predict_again(
    opened: OpenRun, folds: Sequence[int], scales: Sequence[Scale], console: Console
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return ids, probabilities nxK, and the largest distance from those that training saved."""
    oofs, difference, at_once = [], 0.0, AtOnce(console)
    for fold in folds:
        oofs.append(_validate(opened, fold, scales, at_once, console))
        saved = Predictions.load(opened.run.reading(f"fold-{fold}/oof.npz")).reorder(oofs[-1].ids)
        difference = max(difference, float(np.abs(saved.values - oofs[-1].values).max()))
    ids, values = (np.concatenate([getattr(oof, name) for oof in oofs]) for name in ("ids", "values"))
    return ids, values, difference


def _table(
    opened: OpenRun, target: np.ndarray, values: np.ndarray, decided: Decided, threshold: float | None, beta: float
) -> dict[str, Any]:
    """Return kit's own figures, with the threshold of each class that has one in the report."""
    task, classes = opened.index.task, opened.index.classes
    if not task.has_classes:
        return number_table(classes, target, values)
    table = classification_table(task, classes, task.flat(target), task.flat(values), decided.predicted, beta)
    if task.softmax:
        return table
    rules = rules_of(opened.run) if threshold is None else None
    plain = np.full(values.shape[1], HALF if threshold is None else threshold)
    tuned = plain if rules is None else rules.rule.thresholds_for(values)
    for name, cut in zip(opened.index.output_names, plain if tuned is None else tuned, strict=True):
        table["report"][name]["threshold"] = float(cut)
    return table


def _plain(task: Task) -> float | str | None:
    """Return what decides where no rule does: None for numbers."""
    return None if not task.has_classes else "rounding" if task is ORDINAL else HALF


def _score_postprocessed(opened: OpenRun, predictions: Predictions) -> float:
    """Compute the metric after the competition's post-processing, which may drop classes (controls)."""
    after, index = postprocessed(opened, predictions), opened.index
    target = index.targets_of(after.ids)
    if index.task.softmax:
        target = pd.Index(after.classes).get_indexer(pd.Index(index.classes))[target]
    return opened.score(target, after.values)


def _validate(opened: OpenRun, fold: int, scales: Sequence[Scale], at_once: AtOnce, console: Console) -> Predictions:
    config, index = opened.config, opened.index
    model = load_fold(opened, fold)
    rows = rows_of(index.train[opened.folds.of(index.train) == fold], config.only)
    samples = [
        (scale, scaled_samples(opened.store, index, "train", config, scale, console)(rows))
        for scale in scales or [Scale(config.size, ())]
    ]
    with console.progress(f"fold {fold} validation", len(rows) * len(samples)) as bar:
        values = forward_views(model, samples, config, after_batch=bar.advance, at_once=at_once)
    return Predictions(rows["id"].to_numpy(), index.output_names, values.astype(np.float32)).mean_by_id()
