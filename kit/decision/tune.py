"""Tune the decision rule of a run on its out-of-fold predictions (`kit thresholds`) and save it with the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from kit.console import Console
from kit.data.open_run import OpenRun
from kit.decision import by_hand, cut, grades, thresholds, weights
from kit.decision.apply import FILE, parts_of
from kit.decision.rule import TunedRule, best_method, cross_fit
from kit.errors import KitError, nearest
from kit.files import sha256, write_json
from kit.hooks.specs import MetricSpec
from kit.scoring.interval import score_with_interval
from kit.scoring.metrics import macro_f1
from kit.scoring.predictions import Predictions
from kit.task import BINARY, MULTICLASS, MULTILABEL, ORDINAL, Task, task_of

# The `decision` of a metric -> the task that such rules fit; besides, every binary task has a cut.
FITS: dict[str, Task] = {"thresholds": MULTILABEL, "weights": MULTICLASS, "cuts": ORDINAL}
MODULES: dict[str, ModuleType] = {
    BINARY.name: cut,
    MULTICLASS.name: weights,
    MULTILABEL.name: thresholds,
    ORDINAL.name: grades,
}
METHODS = {**thresholds.METHODS, **weights.METHODS, **cut.METHODS, **grades.METHODS}


@dataclass(frozen=True)
class Wish:
    """What `kit thresholds` was asked for.

    Args:
        method: a name of `METHODS`; None: the one with the best nested estimate.
        beta: weight of recall in F-beta; None: the metric's.
        numbers: the sensitivity, specificity or cost wanted of a binary cut, by the name of its method.
        at: cuts, as `kit.decision.by_hand.rule_by_hand` reads them; empty for none.
    """

    method: str | None = None
    beta: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    at: str = ""


def has_rule(task: Task | str, metric: MetricSpec) -> bool:
    """Return whether a metric asks for a decision rule that fits the task, so that its score changes with the rule.

    Cuts between grades serve any metric that judges predicted classes.
    """
    if task_of(task) is ORDINAL:
        return metric.judges_classes
    return metric.decision is not None and task_of(task) in (BINARY, FITS[metric.decision])


def _kind(opened: OpenRun, wish: Wish) -> ModuleType | None:
    """Return the module that tunes rules for a competition, None if there are only cuts by hand.

    Raises:
        KitError: it has nothing to tune, or what was asked for does not fit it.
    """
    metric, name, task = opened.metric, opened.competition.name, opened.index.task
    if not task.has_classes:
        raise KitError(f"{name} predicts numbers, which are submitted as they are: it has no thresholds to tune")
    kind = MODULES[task.name] if task is BINARY or has_rule(task, metric) else None
    if kind is None and not wish.at:
        if not metric.judges_classes:
            why = "it takes probabilities or ranks as they are"
        elif metric.decision == "cuts":
            why = "cuts are between the grades of an ordinal task"
        else:
            why = "the largest probability decides, which is best where every error counts the same"
        raise KitError(
            f"{name} is a {task} task scored by {metric.name}: it has no thresholds to tune, as {why} "
            f"(--at {'CUT' if task is ORDINAL else 'CLASS=P'},... sets cuts by hand)"
        )
    known = {} if kind is None else kind.METHODS
    for method in wish.numbers:
        if method not in known:
            raise KitError(
                f"--{method} does not fit {name}, it cuts binary tasks: kit thresholds --help lists the rest"
            )
    if wish.method and wish.method not in known:
        raise KitError(f"--method {wish.method} does not fit {name}: {nearest(wish.method, list(known))}")
    if wish.beta is not None and kind not in (cut, thresholds):
        raise KitError(f"{name} has no F-beta to choose by: drop --beta")
    return kind


def tune_run(opened: OpenRun, wish: Wish, console: Console) -> dict[str, Any]:
    """Tune the decision rule of a run, or score cuts given by hand, and save it there.

    Args:
        opened: a run with out-of-fold predictions.
        wish: what was asked for.
        console: for progress.

    Returns:
        The document of `kit thresholds --json`.
    """
    run, metric = opened.run, opened.metric
    kind = _kind(opened, wish)
    run.need_writable()
    path = run.reading("oof.npz")
    tuned_on, tuning = sha256(path), _Tuning(opened, Predictions.load(path), kind, wish)
    tuned, methods = tuning.tuned()
    judge = tuning.judge
    chosen = tuning.asked or best_method(tuned, judge.higher_is_better)
    if chosen not in tuned:
        raise KitError(f"--method {chosen} needs a number: kit thresholds {run.id} --{chosen} NUMBER")
    best = tuned[chosen]
    estimate, by_fold = tuning.estimate(best, console), tuning.by_fold(best)
    decision = {"method": chosen, **estimate, "folds": by_fold, "counts": judge is metric}
    # In one file, so that a rule and its estimate can't be of two tunings; it counts for these predictions alone.
    document = {"oof": tuned_on, "decision": decision, "rule": best.rule.document()}
    rules = {str(part): rule.document() for part, rule in best.fold_rules.items()}
    write_json(run.path / FILE, {**document, "by_fold": rules})
    return {
        "run": run.id,
        "path": run.path / FILE,
        "metric": judge.name,
        "label": judge.label or judge.name,
        "scored_by": metric.name,
        "counts": judge is metric,
        "kind": best.rule.document()["kind"],
        "chosen": chosen,
        "estimate": estimate,
        "folds": by_fold,
        "methods": {name: {"what": what, **tuning.facts(tuned[name])} for name, what in methods.items()},
        "classes": tuning.module.by_class(opened.index.classes, tuning.target, tuning.oof.values, best),
    }


class _Tuning:
    """The rows that a rule is tuned on, and what judges it."""

    def __init__(self, opened: OpenRun, oof: Predictions, kind: ModuleType | None, wish: Wish) -> None:
        self.opened, self.oof, self.kind, self.wish = opened, oof, kind, wish
        index, metric = opened.index, opened.metric
        self.task, self.classes = index.task, index.classes
        self.module = MODULES[self.task.name]
        self.target, self.parts = index.targets_of(oof.ids), parts_of(opened, oof.ids)
        self.wanted = {"f-beta": metric.beta if wish.beta is None else wish.beta, **wish.numbers}
        self.asked = by_hand.METHOD if wish.at else next(iter(wish.numbers), wish.method)
        figure = cut.figure(self.asked, self.wanted) if kind is cut else _plain_f1(self.task)
        self.judge = metric if metric.judges_classes else figure

    def takes(self, predicted: np.ndarray) -> np.ndarray:
        """Shape predicted classes as the metric takes them."""
        return self.task.flat(self.task.as_probabilities(predicted, len(self.classes)))

    def score(self, predicted: np.ndarray, rows: np.ndarray | slice = slice(None)) -> float:
        """Judge the predicted classes of some rows."""
        return self.judge.compute(self.task.flat(self.target)[rows], self.takes(predicted)[rows])

    def tuned(self) -> tuple[dict[str, TunedRule], dict[str, str]]:
        """Tune by every method, and score the cuts given by hand; return the rules, and what each method does."""
        kind, values = self.kind, self.oof.values
        tuned: dict[str, TunedRule] = {}
        if kind is not None:
            tuned = self._tuned_by(kind)
        methods = {name: what for name, what in (kind.METHODS if kind else {}).items() if name in tuned}
        if self.wish.at:
            rule, words = by_hand.rule_by_hand(self.wish.at, self.task, self.classes)
            tuned[by_hand.METHOD] = cross_fit(lambda chosen: rule, values, self.parts, self.score)
            methods[by_hand.METHOD] = f"by hand: {words}"
        return tuned, methods

    def _tuned_by(self, kind: ModuleType) -> dict[str, TunedRule]:
        """Tune by every method of one kind of rule."""
        rows = self.target, self.oof.values, self.parts
        if kind is grades:
            return grades.tune(*rows, self.judge)
        found: dict[str, TunedRule] = kind.tune(
            *rows, self.score, self.wanted if kind is cut else self.wanted["f-beta"]
        )
        return found

    def estimate(self, best: TunedRule, console: Console) -> dict[str, Any]:
        """Return the nested estimate with its interval."""
        folds, frame = self.opened.folds, self.opened.index.rows_of_ids(self.oof.ids)
        predicted, groups = self.takes(best.predicted), folds.groups(frame)
        return score_with_interval(
            self.judge, self.task.flat(self.target), predicted, groups, folds.grouped_by, console
        )

    def by_fold(self, best: TunedRule) -> dict[str, float | None]:
        """Return the nested estimate of each fold, None where it is undefined."""
        fold = self.opened.folds.of_ids(self.oof.ids)
        scores = {str(number): self.score(best.predicted, fold == number) for number in np.unique(fold).tolist()}
        return {number: float(score) if np.isfinite(score) else None for number, score in scores.items()}

    def facts(self, tuned: TunedRule) -> dict[str, Any]:
        """Return what is shown of one method."""
        knobs = {knob: tuned.rule.document().get(knob) for knob in getattr(self.kind, "KNOBS", ())}
        figures = cut.figures(self.target, tuned, self.wanted) if self.kind is cut else {}
        return {"fitted": tuned.fitted, "estimate": tuned.estimate, **knobs, **figures}


def _plain_f1(task: Task) -> MetricSpec:
    """Return macro F1 of predicted classes, which judges cuts by hand where the competition judges probabilities."""

    def compute(target: np.ndarray, predicted: np.ndarray) -> float:
        classes = predicted.shape[1]
        return macro_f1(task.one_hot(target, classes), task.one_hot(task.predicted(predicted), classes))

    return MetricSpec("macro_f1", True, compute, of_classes=True)
