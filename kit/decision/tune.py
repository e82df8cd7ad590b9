"""The decision rule of a run: made from its out-of-fold predictions (`kit thresholds`), kept with it, applied later.

Of a multi-label task it is a cut a class (`kit.decision.thresholds`), of one scored by balanced accuracy a weight a
class (`kit.decision.weights`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kit.console import Console
from kit.data.folds import folds_of_run
from kit.data.index import Index
from kit.decision import thresholds, weights
from kit.decision.thresholds import Rule, Tuned, best_method, parts_of
from kit.decision.weights import Weights
from kit.errors import KitError, nearest
from kit.files import read_json, write_json
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, MetricSpec, Task
from kit.inference.trained import store_of_run
from kit.run import Run
from kit.scoring.metrics import cut_at, f1_by_class, flat, macro_f1, mean_recall, recall_by_class, score_with_interval
from kit.scoring.predictions import Predictions

FILE = "thresholds.json"
BALANCED = "balanced_accuracy"


def has_rule(competition: Competition) -> bool:
    """Whether a task's answers have something to tune."""
    return competition.task == "multilabel" or (competition.task == "multiclass" and competition.metric == BALANCED)


def tune_run(registry: Registry, run: Run, method: str | None, console: Console) -> dict[str, Any]:
    """Make the decision rule of a run and keep it there.

    Args:
        registry: where the competition is found.
        run: with out-of-fold predictions.
        method: a name of `thresholds.METHODS` or `weights.WEIGHINGS`; None: that of the highest nested estimate.
        console: for progress.

    Returns:
        The document of `kit thresholds --json`.
    """
    store = store_of_run(registry, run)
    name = store.competition.name
    if not has_rule(store.competition):
        raise KitError(
            f"{name} is a {store.competition.task} task scored by {store.competition.metric}: its answers "
            "have no thresholds to tune"
        )
    cuts = store.competition.task == "multilabel"
    methods = thresholds.METHODS if cuts else weights.WEIGHINGS
    if method is not None and method not in methods:
        raise KitError(f"--method {method}: {name} takes one of its own: {nearest(method, list(methods))}")
    oof, folds = Predictions.load(run.reading("oof.npz")), folds_of_run(run)
    index = store.index()
    target = index.targets_of(oof.ids)
    target = target > 0 if cuts else target
    frame = index.train.drop_duplicates("id").set_index("id", drop=False).loc[oof.ids]
    fold, groups = folds.table.set_index("id")["fold"].loc[oof.ids].to_numpy(), folds.groups(frame)
    tuned = (thresholds if cuts else weights).tune(target, oof.values, parts_of(fold, groups))
    chosen = method or best_method(tuned)
    best = tuned[chosen]
    metric = MetricSpec("macro_f1", True, macro_f1) if cuts else MetricSpec(BALANCED, True, mean_recall)
    estimate = score_with_interval(metric, target, best.decided, groups, folds.grouped_by, console)
    by_fold = len(np.unique(fold)) > 1
    with run.writing(FILE) as path:
        write_json(
            path,
            {
                "rule": best.rule.document(),
                # A fold's own rows are judged by the rule that has not seen them.
                "by_fold": {part: rule.document() for part, rule in best.part_rules.items()} if by_fold else {},
            },
        )
    run.update(decision={"method": chosen, **estimate})
    return {
        "run": run.id,
        "path": run.path / FILE,
        "metric": metric.name,
        "chosen": chosen,
        "estimate": estimate,
        "methods": {
            name: {
                "what": what,
                "fitted": tuned[name].fitted,
                "estimate": tuned[name].estimate,
                **_knob(tuned[name].rule),
            }
            for name, what in methods.items()
        },
        "classes": (_cut_classes if cuts else _weighted_classes)(index, target, oof.values, tuned, best),
    }


def _knob(rule: Rule | Weights) -> dict[str, float | None]:
    return {"strength": rule.strength} if isinstance(rule, Rule) else {"power": rule.power}


def _cut_classes(
    index: Index, target: np.ndarray, values: np.ndarray, tuned: Mapping[str, Tuned], best: Tuned
) -> list[dict[str, Any]]:
    """A row a class of a multi-label task: its cut, and F1 with and without the rule."""
    cuts = best.rule.cuts_for(values) if isinstance(best.rule, Rule) else np.empty(0)
    before, after = f1_by_class(target, tuned["half"].decided), f1_by_class(target, best.decided)
    return [
        {
            "class": name,
            "positives": int(count),
            "cut": float(cut),
            "f1_at_half": float(half),
            "f1": float(f1),
            "given": int(given),
        }
        for name, count, cut, half, f1, given in zip(
            index.classes, target.sum(0), cuts, before, after, best.decided.sum(0), strict=True
        )
    ]


def _weighted_classes(
    index: Index, target: np.ndarray, values: np.ndarray, tuned: Mapping[str, Tuned], best: Tuned
) -> list[dict[str, Any]]:
    """A row a class of a multiclass task: its weight beside that of the first class, recall with and without it."""
    rule, count = best.rule, len(index.classes)
    relative = np.asarray(rule.weights) / rule.weights[0] if isinstance(rule, Weights) else np.empty(0)
    before, after = (recall_by_class(target, way.decided, count) for way in (tuned["largest"], best))
    positives, given = np.bincount(target, minlength=count), np.bincount(best.decided, minlength=count)
    return [
        {
            "class": name,
            "positives": int(total),
            "given": int(answers),
            "weight": float(weight),
            "recall_by_largest": float(plain),
            "recall": float(recall),
        }
        for name, total, answers, weight, plain, recall in zip(
            index.classes, positives, given, relative, before, after, strict=True
        )
    ]


def rule_of(run: Run, fold: int | None = None) -> Rule | Weights | None:
    """The rule that `kit thresholds` has left with a run, or the one made without a fold; None where there is none."""
    if not run.record.get("decision"):
        return None
    document = read_json(run.reading(FILE))
    own = document["by_fold"].get(str(fold), document["rule"])
    return (Weights if "weights" in own else Rule).of_document(own)


def with_rule(run: Run, predictions: Predictions) -> Predictions:
    """Predictions as a run's rule decides them, where it has one: with its cuts, or weighted by class."""
    rule = rule_of(run)
    return predictions if rule is None else rule.applied(predictions)


def decide_fold(run: Run, task: Task, fold: int, values: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """The answers to one fold's rows, from their probabilities nxK: nxK truth values, n of them, or n class numbers.

    By the run's rule that has not seen the fold; where there is none, or a `threshold` is given instead: the likeliest
    class, or what reaches the threshold (0.5).
    """
    rule = rule_of(run, fold) if threshold is None else None
    return rule.decided(values) if rule else cut_at(task, flat(task, values), 0.5 if threshold is None else threshold)
