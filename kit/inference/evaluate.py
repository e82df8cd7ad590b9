"""A saved run validated again, from its weights and the images."""

from typing import Any

import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.folds import folds_of_run
from kit.data.index import Index, rows_of
from kit.data.store import Store
from kit.errors import KitError
from kit.inference.decision import decide_fold, rule_of
from kit.inference.metrics import classification_table, cut_at, flat
from kit.inference.predict import forward
from kit.inference.predictions import Predictions
from kit.inference.submit import postprocessed
from kit.inference.trained import index_of, load_fold, no_trained_fold, store_of_run, trained_folds
from kit.model.batches import Loader
from kit.model.samples import samples_of
from kit.plugin.registry import Registry
from kit.plugin.specs import MetricSpec
from kit.run import Run


def evaluate(
    registry: Registry,
    run: Run,
    only_fold: int | None,
    threshold: float | None,
    beta: float,
    console: Console,
    plates: bool = False,
) -> dict[str, Any]:
    """Predict the validation part of each trained fold anew and score it.

    Without a `threshold` a fold's answers are those of the run's decision rule that has not seen the fold (`kit
    thresholds`), and where there is none 0.5 is the cut.

    Returns:
        The metrics over all evaluated ids together, the competition's metric a fold, and `difference`: the largest
        distance of a probability from the one that training saved (0 on the same machine and thread count). With
        `plates` also the competition's metric after its post-processing.
    """
    folds = trained_folds(run)
    if not folds:
        raise no_trained_fold(run)
    if only_fold is not None and only_fold not in folds:
        raise KitError(
            f"fold {only_fold} of run {run.id} is not trained: kit train --resume {run.id} --fold {only_fold}"
        )
    store = store_of_run(registry, run)
    index = index_of(store, run.config)
    metric = registry.metrics.get(store.competition.metric)
    by_fold, parts, answers, difference = {}, [], [], 0.0
    for fold in folds if only_fold is None else [only_fold]:
        part = _validate(registry, run, index, fold, console)
        saved = Predictions.load(run.reading(f"fold-{fold}/oof.npz")).reorder(part.ids)
        difference = max(difference, float(np.abs(saved.values - part.values).max()))
        target = index.targets_of(part.ids)
        by_fold[str(fold)] = metric.compute(flat(index.task, target), flat(index.task, part.values))
        decided = decide_fold(run, fold, part.values) if threshold is None else None
        if decided is None:
            decided = cut_at(index.task, flat(index.task, part.values), 0.5 if threshold is None else threshold)
        parts.append(part)
        answers.append(decided)
    ids = np.concatenate([part.ids for part in parts])
    target = flat(index.task, index.targets_of(ids))
    prediction = flat(index.task, np.concatenate([part.values for part in parts]))
    table = classification_table(index.task, index.classes, target, prediction, np.concatenate(answers), beta)
    rule = rule_of(run) if threshold is None else None
    if index.task != "multiclass":
        plain = np.full(len(index.classes), 0.5 if threshold is None else threshold)
        cuts = plain if rule is None else rule.cuts_for(prediction)
        for name, cut in zip(index.classes, cuts, strict=True):
            table["report"][name]["threshold"] = float(cut)
    score = metric.compute(target, prediction)
    said = rule.method if rule else 0.5 if threshold is None else threshold
    document = {"run": run.id, "ids": len(ids), "threshold": said, "metric": metric.name, metric.name: score,
                **table, "folds": by_fold, "difference": difference}  # fmt: skip
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


def _validate(registry: Registry, run: Run, index: Any, fold: int, console: Console) -> Predictions:
    store = store_of_run(registry, run)
    model = load_fold(registry, store, run, index, fold)
    rows = rows_of(index.train[folds_of_run(run).of(index.train) == fold], run.config.only)
    samples = samples_of(store, index, "train", run.config, console)(rows)
    loader = Loader(samples, None, run.config.workers, model.runtime.device, model.normalize)
    with console.progress(f"fold {fold} validation", len(samples)) as bar:
        result = forward(model, loader, run.config.batch_size * 2, after_batch=bar.advance)
    return Predictions(rows["id"].to_numpy(), index.output_names, result.probabilities).mean_by_id()
