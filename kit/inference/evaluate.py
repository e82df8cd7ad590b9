"""A saved run validated again, from its weights and the images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.folds import folds_of_run
from kit.data.index import Index, rows_of
from kit.data.store import Store
from kit.decision.thresholds import Rule
from kit.decision.tune import decide_fold, rule_of
from kit.hooks.registry import Registry
from kit.hooks.specs import MetricSpec
from kit.inference.forward import forward_views
from kit.inference.trained import index_of, load_fold, no_trained_fold, store_of_run, trained_fold, trained_folds
from kit.inference.views import Scale, scaled_samples
from kit.run import Run
from kit.scoring.metrics import classification_table, flat
from kit.scoring.predictions import Predictions
from kit.submission.write import postprocessed


def evaluate(
    registry: Registry,
    run: Run,
    only_fold: int | None,
    threshold: float | None,
    beta: float,
    console: Console,
    plates: bool = False,
    scales: Sequence[Scale] = (),
) -> dict[str, Any]:
    """Predict the validation part of each trained fold anew and score it.

    Without a `threshold` a fold's answers are those of the run's decision rule that has not seen the fold (`kit
    thresholds`), and where there is none 0.5 is the cut, or the largest probability the answer.

    Returns:
        The metrics over all evaluated ids together, the competition's metric a fold, and `difference`: the largest
        distance of a probability from the one that training saved (0 on the same machine and thread count; None
        where `scales` averages over views). With `plates` also the competition's metric after its post-processing.
    """
    folds = trained_folds(run)
    if not folds:
        raise no_trained_fold(run)
    store = store_of_run(registry, run)
    index = index_of(store, run.config)
    metric = registry.metrics.get(store.competition.metric)
    by_fold, parts, scored, answers, difference = {}, [], [], [], 0.0
    for fold in folds if only_fold is None else [trained_fold(run, only_fold)]:
        part = _validate(registry, run, index, fold, scales, console)
        saved = Predictions.load(run.reading(f"fold-{fold}/oof.npz")).reorder(part.ids)
        difference = max(difference, float(np.abs(saved.values - part.values).max()))
        target = index.targets_of(part.ids)
        rule = rule_of(run, fold) if threshold is None else None
        scored.append((part if rule is None else rule.applied(part)).values)
        by_fold[str(fold)] = metric.compute(flat(index.task, target), flat(index.task, scored[-1]))
        parts.append(part)
        answers.append(decide_fold(run, index.task, fold, part.values, threshold))
    ids = np.concatenate([part.ids for part in parts])
    target = flat(index.task, index.targets_of(ids))
    prediction = flat(index.task, np.concatenate([part.values for part in parts]))
    table = classification_table(index.task, index.classes, target, prediction, np.concatenate(answers), beta)
    rule = rule_of(run) if threshold is None else None
    if rule is not None and len(run.record["planned"]) == 1:
        console.warn(
            "the decision rule was made on these very rows, so what it scores here flatters: "
            f"kit thresholds {run.id} has the estimate"
        )
    if index.task != "multiclass":
        plain = np.full(len(index.classes), 0.5 if threshold is None else threshold)
        cuts = rule.cuts_for(prediction) if isinstance(rule, Rule) else plain
        for name, cut in zip(index.classes, cuts, strict=True):
            table["report"][name]["threshold"] = float(cut)
    score = metric.compute(target, flat(index.task, np.concatenate(scored)))
    further = {name: registry.metrics.get(name).compute(target, prediction) for name in store.competition.epoch_metrics}
    said = rule.method if rule else 0.5 if threshold is None else threshold
    document: dict[str, Any] = {
        "run": run.id,
        "ids": len(ids),
        "threshold": said,
        "metric": metric.name,
        metric.name: score,
        **further,
        **table,
        "folds": by_fold,
        "difference": None if scales else difference,
    }
    if plates:
        whole = Predictions(ids, index.output_names, np.concatenate([part.values for part in parts]))
        document["with_plates"] = _score_plates(registry, store, index, whole, metric)
    return document


def _score_plates(
    registry: Registry, store: Store, index: Index, predictions: Predictions, metric: MetricSpec
) -> float:
    """The metric after the competition's post-processing, which may leave classes (controls) out."""
    after = postprocessed(registry, store, predictions, index)
    target = index.targets_of(after.ids)
    if index.task == "multiclass":
        target = pd.Index(after.classes).get_indexer(pd.Index(index.classes))[target]
    return metric.compute(flat(index.task, target), flat(index.task, after.values))


def _validate(
    registry: Registry, run: Run, index: Index, fold: int, scales: Sequence[Scale], console: Console
) -> Predictions:
    store = store_of_run(registry, run)
    model = load_fold(registry, store, run, index, fold)
    rows = rows_of(index.train[folds_of_run(run).of(index.train) == fold], run.config.only)
    samples = [
        (scale, scaled_samples(store, index, "train", run.config, scale, console)(rows))
        for scale in scales or [Scale(run.config.size, ())]
    ]
    with console.progress(f"fold {fold} validation", len(rows) * len(samples)) as bar:
        values = forward_views(model, samples, run.config, after_batch=bar.advance)
    return Predictions(rows["id"].to_numpy(), index.output_names, values.astype(np.float32)).mean_by_id()
