"""Read and apply the decision rule that `kit thresholds` saved with a run."""

import numpy as np

from kit.decision.rule import DecisionRule
from kit.decision.thresholds import Thresholds
from kit.decision.weights import ClassWeights
from kit.errors import KitError
from kit.files import read_json
from kit.record import RuleRecord
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.task import HALF, Task

FILE = "thresholds.json"
KINDS: dict[str, type[Thresholds] | type[ClassWeights]] = {"thresholds": Thresholds, "weights": ClassWeights}


def rule_of(run: Run, fold: int | None = None) -> DecisionRule | None:
    """Return the rule of a run, or the one tuned without a fold; None if the run has none."""
    if run.decision is None:
        return None
    path, mend = run.path / FILE, f"kit thresholds {run.id} tunes it again"
    document = read_json(path, RuleRecord, mend)
    own = document["by_fold"].get(str(fold), document["rule"])
    try:
        rule: DecisionRule = KINDS[own["kind"]].of_document(own)
    except (KeyError, TypeError, ValueError) as error:
        raise KitError(f"{path} holds no rule ({type(error).__name__}: {error}): {mend}") from None
    return rule


def with_rule(run: Run, predictions: Predictions) -> Predictions:
    """Apply a run's rule to predictions, if it has one: set its thresholds, or weight the classes."""
    rule = rule_of(run)
    return predictions if rule is None else rule.applied(predictions)


def predict_fold(run: Run, task: Task, fold: int, values: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """Predict the classes of one fold's rows from their probabilities nxK, in the form of the task.

    Use the run's rule that has not seen the fold; without a rule, or with a `threshold`, the task's own decision: the
    largest probability, or every class from the threshold (0.5 by default) on.
    """
    rule = rule_of(run, fold) if threshold is None else None
    return rule.predicted(values) if rule else task.predicted(values, HALF if threshold is None else threshold)
