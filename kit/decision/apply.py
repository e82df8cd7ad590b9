"""Read and apply the decision rule that `kit thresholds` saved with a run.

What a command or a page shows of training images is decided by `held_out`, each image by a rule that has not seen it,
and figures of it are computed by `figure_of`: so one run has one answer and one number everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from kit.data.open_run import OpenRun
from kit.decision.by_hand import METHOD as BY_HAND
from kit.decision.by_hand import Cuts
from kit.decision.cut import Cut
from kit.decision.grades import Grades
from kit.decision.rule import DecisionRule, nesting_folds
from kit.decision.thresholds import Thresholds
from kit.decision.weights import ClassWeights
from kit.errors import KitError
from kit.files import read_json
from kit.hooks.specs import MetricSpec
from kit.record import RuleRecord
from kit.run import Run
from kit.scoring.predictions import Predictions

FILE = "thresholds.json"
SEEN = "the decision rule was tuned on the very rows that are shown, so their figures are optimistic"
KINDS: dict[str, type[Thresholds] | type[ClassWeights] | type[Cut] | type[Cuts] | type[Grades]] = {
    "thresholds": Thresholds,
    "weights": ClassWeights,
    "cut": Cut,
    "cuts": Cuts,
    "grades": Grades,
}


@dataclass(frozen=True)
class RunRules:
    """The rules of a run: `rule`, tuned on all its out-of-fold predictions, and by part one tuned on the others.

    `counts`: whether the competition's metric judges what they predict.
    """

    rule: DecisionRule
    by_part: Mapping[int, DecisionRule]
    counts: bool


@dataclass(frozen=True)
class Decided:
    """What a run predicts of training images.

    Args:
        predicted: the classes of each row, in the form of the task.
        by: the method of the rule, or the threshold that was asked for; None where the task's own decision holds.
        unseen: whether each row was decided by a rule that has not seen it.
    """

    predicted: np.ndarray
    by: str | float | None
    unseen: bool


def rules_of(run: Run) -> RunRules | None:
    """Return the rules of a run; None if it has none."""
    if run.decision is None:
        return None
    path, mend = run.path / FILE, f"kit thresholds {run.id} tunes it again"
    document = read_json(path, RuleRecord, mend)

    def read(own: dict[str, Any]) -> DecisionRule:
        return KINDS[own["kind"]].of_document(own)

    try:
        by_part = {int(part): read(own) for part, own in document["by_fold"].items()}
        return RunRules(read(document["rule"]), by_part, document["decision"].get("counts", True))
    except (KeyError, TypeError, ValueError) as error:
        raise KitError(f"{path} holds no rule ({type(error).__name__}: {error}): {mend}") from None


def with_rule(run: Run, predictions: Predictions) -> Predictions:
    """Apply a run's rule to predictions, if it has one: set its thresholds, weight the classes, or decide the grades.

    Probabilities that the competition's metric judges stay as they are.
    """
    rules = rules_of(run)
    if rules is None:
        return predictions
    if not rules.counts:
        return replace(predictions, thresholds=rules.rule.thresholds_for(predictions.values))
    return rules.rule.applied(predictions)


def parts_of(opened: OpenRun, ids: np.ndarray) -> np.ndarray:
    """Return the part of each of a run's out-of-fold ids, n: its fold, or, where one fold is all, a fifth of them.

    A rule tuned on the other parts has not seen the id. Groups stay whole.
    """
    groups = opened.folds.groups(opened.index.rows_of_ids(ids))
    return nesting_folds(opened.folds.of_ids(ids), groups)


def held_out(opened: OpenRun, ids: np.ndarray, values: np.ndarray, threshold: float | None = None) -> Decided:
    """Decide training rows from their probabilities nxK, each by the run's rule that has not seen it.

    Without a rule, or with a `threshold`, the task's own decision holds: the largest probability, the expected grade
    rounded, or every class from the threshold (0.5) on; numbers are what they are. Give all rows of a part together: a
    rule by share looks at all of them.
    """
    task = opened.index.task
    if threshold is not None:
        return Decided(task.predicted(values, threshold), None if task.softmax else threshold, True)
    rules = rules_of(opened.run)
    if rules is None:
        return Decided(task.predicted(values), None, True)
    known = Predictions.load(opened.run.reading("oof.npz")).ids
    part = pd.Series(parts_of(opened, known), index=known).reindex(ids).to_numpy()
    numbers, unseen = np.unique(part), rules.rule.method == BY_HAND
    rows, decided = [], []
    for number in numbers.tolist():
        rows.append(np.flatnonzero(part == number))
        decided.append(rules.by_part.get(number, rules.rule).predicted(values[rows[-1]]))
    predicted = np.concatenate(decided)
    predicted[np.concatenate(rows)] = predicted.copy()
    return Decided(predicted, rules.rule.method, unseen or set(numbers.tolist()) <= set(rules.by_part))


def figure_of(
    opened: OpenRun,
    metric: MetricSpec,
    target: np.ndarray,
    values: np.ndarray,
    decided: Decided,
    rows: np.ndarray | slice = slice(None),
) -> float:
    """Return a metric of some rows: of the predicted classes if it judges these and a rule made them.

    Args:
        opened: the run.
        metric: one that fits the task.
        target: as `Index.targets` returns it.
        values: nxK probabilities.
        decided: of these rows.
        rows: those to score.
    """
    task = opened.index.task
    if decided.by is not None and metric.judges_classes:
        values = task.as_probabilities(decided.predicted, len(opened.index.classes))
    return metric.score(task, target[rows], values[rows])
