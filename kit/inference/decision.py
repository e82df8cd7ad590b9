"""The decision rule of a run: made from its out-of-fold predictions (`kit thresholds`), kept with it, applied later."""

from dataclasses import replace
from typing import Any

import numpy as np

from kit.console import Console
from kit.data.folds import folds_of_run
from kit.errors import KitError
from kit.files import read_json, write_json
from kit.inference.metrics import f1_by_class, macro_f1, score_with_interval
from kit.inference.predictions import Predictions, decide
from kit.inference.thresholds import METHODS, Rule, best_method, parts_of, tune
from kit.inference.trained import store_of_run
from kit.plugin.registry import Registry
from kit.plugin.specs import MetricSpec
from kit.run import Run

FILE = "thresholds.json"
METRIC = "macro_f1"


def tune_run(registry: Registry, run: Run, method: str | None, console: Console) -> dict[str, Any]:
    """Make the thresholds of a run and keep them with it.

    Args:
        registry: where the competition is found.
        run: with out-of-fold predictions.
        method: a name of `thresholds.METHODS`; None: that of the highest nested estimate.
        console: for progress.

    Returns:
        The document of `kit thresholds --json`.
    """
    store = store_of_run(registry, run)
    if store.competition.task != "multilabel":
        raise KitError(f"{store.competition.name} is a {store.competition.task} task, whose answer is no set of "
                       "classes: there are no thresholds to tune")  # fmt: skip
    oof, folds = Predictions.load(run.reading("oof.npz")), folds_of_run(run)
    index = store.index()
    target = index.targets_of(oof.ids) > 0
    frame = index.train.drop_duplicates("id").set_index("id", drop=False).loc[oof.ids]
    fold, groups = folds.table.set_index("id")["fold"].loc[oof.ids].to_numpy(), folds.groups(frame)
    parts = parts_of(fold, groups)
    tuned = tune(target, oof.values, parts)
    chosen = method or best_method(tuned)
    best = tuned[chosen]
    metric = MetricSpec(METRIC, True, macro_f1)
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
    before, after = f1_by_class(target, tuned["half"].decided), f1_by_class(target, best.decided)
    columns = zip(index.classes, target.sum(0), best.rule.cuts_for(oof.values), before, after, best.decided.sum(0),
                  strict=True)  # fmt: skip
    return {
        "run": run.id,
        "path": run.path / FILE,
        "metric": METRIC,
        "chosen": chosen,
        "estimate": estimate,
        "methods": {
            name: {"what": what, "fitted": tuned[name].fitted, "estimate": tuned[name].estimate,
                   "strength": tuned[name].rule.strength}
            for name, what in METHODS.items()
        },
        "classes": [
            {"class": name, "positives": int(count), "cut": float(cut), "f1_at_half": float(half), "f1": float(f1),
             "given": int(given)}
            for name, count, cut, half, f1, given in columns
        ],
    }  # fmt: skip


def rule_of(run: Run, fold: int | None = None) -> Rule | None:
    """The rule that `kit thresholds` has left with a run, or the one made without a fold; None where there is none."""
    if not run.record.get("decision"):
        return None
    document = read_json(run.reading(FILE))
    return Rule.of_document(document["by_fold"].get(str(fold), document["rule"]))


def with_cuts(run: Run, predictions: Predictions) -> Predictions:
    """Predictions with the cuts of a run's rule, where it has one."""
    rule = rule_of(run)
    return predictions if rule is None else replace(predictions, cuts=rule.cuts_for(predictions.values))


def decide_fold(run: Run, fold: int, values: np.ndarray) -> np.ndarray | None:
    """The answers to one fold's rows nxK, by the rule that has not seen them; None where the run has no rule."""
    rule = rule_of(run, fold)
    return None if rule is None else decide(values, rule.cuts_for(values))
