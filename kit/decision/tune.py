"""Tune the decision rule of a run on its out-of-fold predictions (`kit thresholds`) and save it with the run."""

from typing import Any

import numpy as np

from kit.console import Console
from kit.data.open_run import OpenRun
from kit.decision import thresholds, weights
from kit.decision.apply import FILE
from kit.decision.rule import best_method, nesting_folds
from kit.errors import KitError, nearest
from kit.files import sha256, write_json
from kit.hooks.specs import MetricSpec
from kit.scoring.interval import score_with_interval
from kit.scoring.predictions import Predictions
from kit.task import MULTICLASS, MULTILABEL, Task, task_of

# The `decision` of a metric -> the module that tunes such rules, and the task they fit.
KINDS = {"thresholds": (thresholds, MULTILABEL), "weights": (weights, MULTICLASS)}
METHODS = {**thresholds.METHODS, **weights.METHODS}


def has_rule(task: Task | str, metric: MetricSpec) -> bool:
    """Return whether a metric asks for a decision rule that fits the task."""
    return metric.decision is not None and KINDS[metric.decision][1] == task_of(task)


def tune_run(opened: OpenRun, method: str | None, console: Console) -> dict[str, Any]:
    """Tune the decision rule of a run and save it there.

    Args:
        opened: a run with out-of-fold predictions.
        method: a name of `METHODS`; None: the one with the best nested estimate.
        console: for progress.

    Returns:
        The document of `kit thresholds --json`.
    """
    run, metric, name = opened.run, opened.metric, opened.competition.name
    if metric.decision is None or not has_rule(opened.competition.task, metric):
        raise KitError(
            f"{name} is a {opened.competition.task} task scored by {metric.name}: it has no thresholds to tune"
        )
    kind = KINDS[metric.decision][0]
    if method is not None and method not in kind.METHODS:
        raise KitError(f"--method {method} does not fit {name}: {nearest(method, list(kind.METHODS))}")
    run.need_writable()
    path = run.reading("oof.npz")
    tuned_on, oof, index, folds = sha256(path), Predictions.load(path), opened.index, opened.folds
    target, task = index.targets_of(oof.ids), index.task
    fold, groups = folds.of_ids(oof.ids), folds.groups(index.rows_of_ids(oof.ids))

    def as_metric_takes(predicted: np.ndarray) -> np.ndarray:
        return task.flat(task.as_probabilities(predicted, len(index.classes)))

    def score(predicted: np.ndarray) -> float:
        return metric.compute(task.flat(target), as_metric_takes(predicted))

    tuned = kind.tune(target, oof.values, nesting_folds(fold, groups), score, metric.beta)
    chosen = method or best_method(tuned, metric.higher_is_better)
    best = tuned[chosen]
    estimate = score_with_interval(
        metric, task.flat(target), as_metric_takes(best.predicted), groups, folds.grouped_by, console
    )
    # A fold's own rows are predicted by the rule that has not seen them.
    by_fold = best.fold_rules if len(np.unique(fold)) > 1 else {}
    rules = {each: rule.document() for each, rule in by_fold.items()}
    # In one file, so that a rule and its estimate can't be of two tunings; it counts for these predictions alone.
    document = {"oof": tuned_on, "decision": {"method": chosen, **estimate}, "rule": best.rule.document()}
    write_json(run.path / FILE, {**document, "by_fold": rules})
    return {
        "run": run.id,
        "path": run.path / FILE,
        "metric": metric.name,
        "label": metric.label or metric.name,
        "kind": metric.decision,
        "chosen": chosen,
        "estimate": estimate,
        "methods": {
            name: {"what": what, "fitted": tuned[name].fitted, "estimate": tuned[name].estimate}
            | {key: tuned[name].rule.document()[key] for key in kind.KNOBS}
            for name, what in kind.METHODS.items()
        },
        "classes": kind.by_class(index.classes, target, oof.values, tuned, best),
    }
