"""What a task means: each object against what is written out by hand, and a task more as one object more."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit, softmax

from kit.data.folds import make_folds
from kit.data.index import Index
from kit.hooks.specs import TASK_NAMES, Competition, MetricSpec
from kit.scoring.predictions import Predictions
from kit.scoring.ranking import ranked
from kit.scoring.table import classification_table
from kit.task import BINARY, MULTICLASS, MULTILABEL, ORDINAL, REGRESSION, TASKS, Multiclass, task_of

CLASSES = ("a", "b", "c")
VALUES = np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.45, 0.4, 0.15]])


def test_every_task_that_a_competition_can_name_is_an_object():
    assert tuple(TASKS) == TASK_NAMES
    assert task_of("binary") is BINARY is task_of(BINARY)
    with pytest.raises(ValueError, match="not one of binary, multiclass, multilabel"):
        task_of("segmentation")


@pytest.mark.parametrize(
    ("task", "column", "targets", "counts"),
    [
        (BINARY, [1, 0, 1], np.array([[1], [0], [1]], np.float32), [1, 2]),
        (MULTICLASS, [1, 0, 2], np.array([1, 0, 2]), [1, 1, 1]),
        (MULTILABEL, [(0, 2), (), (2,)], np.array([[1, 0, 1], [0, 0, 0], [0, 0, 1]], np.float32), [1, 0, 2]),
    ],
)
def test_targets_are_encoded_counted_and_spread(task, column, targets, counts):
    classes = 2 if task is BINARY else 3
    found = task.targets(pd.Series(column), classes)
    assert (found.dtype, found.tolist()) == (targets.dtype, targets.tolist())
    assert task.class_counts(found, classes).tolist() == counts
    assert task.one_hot(found, classes).sum(0).tolist() == counts
    assert len(task.outputs(CLASSES[:classes])) == (1 if task is BINARY else classes)


@pytest.mark.parametrize(
    ("task", "values", "predicted", "certain"),
    [
        (BINARY, VALUES[:, :1], [False, True, False], [0, 1, 0]),
        (MULTICLASS, VALUES, [1, 0, 0], np.eye(3)[[1, 0, 0]].tolist()),
        (MULTILABEL, VALUES, (VALUES >= 0.5).tolist(), (VALUES >= 0.5).astype(int).tolist()),
    ],
)
def test_probabilities_are_decided(task, values, predicted, certain):
    found = task.predicted(values)
    assert found.tolist() == predicted
    assert task.as_probabilities(found, 3).tolist() == certain
    assert task.flat(task.as_probabilities(found, 3)).ndim == (1 if task is BINARY else 2)


def test_thresholds_move_sigmoids_alone():
    assert BINARY.predicted(VALUES[:, :1], 0.05).all()
    assert MULTILABEL.predicted(VALUES, 0.05).all()
    assert MULTICLASS.predicted(VALUES, 0.05).tolist() == [1, 0, 0]


@pytest.mark.parametrize("task", [BINARY, MULTICLASS, MULTILABEL])
def test_logits_and_probabilities_are_each_others_inverse(task):
    values = VALUES[:, :1] if task is BINARY else VALUES
    assert task.from_logits(task.logits(values)) == pytest.approx(values)
    tensor = torch.from_numpy(task.logits(values))
    assert task.probabilities(tensor).numpy() == pytest.approx(values)
    by_class = softmax(task.logits(values), 1) if task is MULTICLASS else expit(logit(values))
    assert task.probabilities(tensor).numpy() == pytest.approx(by_class)


def test_a_logit_of_a_binary_task_speaks_for_one_class_and_against_the_other():
    assert BINARY.class_logits(torch.tensor([[2.0], [-1.0]])).tolist() == [[-2, 2], [1, -1]]
    assert BINARY.by_class(np.array([[0.2]])).tolist() == [[0.8, 0.2]]
    assert MULTICLASS.class_logits(torch.ones(2, 3)).tolist() == torch.ones(2, 3).tolist()


def test_words():
    assert BINARY.label_text(("no", "yes"), np.array([1.0])) == "yes"
    assert MULTICLASS.label_text(CLASSES, np.int64(2)) == "c"
    assert MULTILABEL.label_text(CLASSES, np.array([1.0, 0, 1])) == "a, c"
    assert MULTILABEL.label_text(CLASSES, np.zeros(3)) == "none"
    assert MULTILABEL.predicted_numbers(np.array([0.6, 0.1, 0.9])) == [2, 0]
    assert MULTILABEL.predicted_numbers(np.array([0.2, 0.3, 0.1])) == [1], "a row is never without a class"
    assert MULTICLASS.predicted_numbers(np.array([0.2, 0.3, 0.1])) == [1]


class Ordinal(Multiclass):
    """Grades: the predicted one is the mean grade, rounded."""

    name = "ordinal"

    def predicted(self, values, threshold=0.5):
        return np.rint(values @ np.arange(values.shape[1])).astype(np.int64)


def test_a_task_more_is_an_object_more(monkeypatch):
    """Folds, orders and the table of `kit evaluate` ask the object; nothing else knows its name."""
    monkeypatch.setitem(TASKS, "ordinal", Ordinal())
    random = np.random.default_rng(0)
    target = random.integers(0, 3, 60)
    rows = pd.DataFrame({"id": [str(n) for n in range(60)], "files": [("x",)] * 60, "target": target})
    index = Index(Path(), "ordinal", CLASSES, rows, rows[["id", "files"]].assign(id="t"))
    folds = make_folds(index, 3, 0)
    assert np.ptp(np.bincount(folds.table["fold"])) <= 1
    values = random.dirichlet(np.ones(3), 60)
    predicted = index.task.predicted(values)
    table = classification_table(index.task, CLASSES, index.targets(index.train), values, predicted, 1.0)
    assert table["accuracy"] == pytest.approx((predicted == target).mean())
    assert len(ranked(index.task, target, values, "worst", 5)) == 5


EXPECTED = np.array([[0.5, 0.0, 0.5], [0.3, 0.2, 0.5], [0.6, 0.3, 0.1]])  # the grades 1, 1.2 and 0.5


def test_the_expected_grade_decides_what_metrics_of_classes_judge():
    """The most probable grades are 0, 2 and 0; the expected ones round to 1, 1 and 1."""
    assert ORDINAL.predicted(EXPECTED).tolist() == [1, 1, 1]
    argmax = MetricSpec(
        "hits", True, lambda target, values: float((values.argmax(1) == target).mean()), of_classes=True
    )
    likely = replace(argmax, of_classes=False)
    target = np.array([1, 1, 0])
    assert argmax.score(ORDINAL, target, EXPECTED) == pytest.approx(2 / 3)
    assert likely.score(ORDINAL, target, EXPECTED) == pytest.approx(1 / 3)
    assert argmax.score(MULTICLASS, target, EXPECTED) == pytest.approx(1 / 3)
    # What a rule has decided stays as it is.
    decided = ORDINAL.as_probabilities(np.array([0, 2, 1]), 3)
    assert argmax.takes(ORDINAL, decided).tolist() == decided.tolist()


def test_numbers_are_judged_as_they_are():
    mean = MetricSpec("error", False, lambda target, values: float(np.abs(target - values).mean()), of_classes=True)
    assert mean.score(REGRESSION, np.array([[1.0], [4.0]]), np.array([[2.0], [2.0]])) == 1.5
    assert mean.takes(REGRESSION, np.ones((4, 1))).shape == (4,)
    assert mean.takes(REGRESSION, np.ones((4, 2))).shape == (4, 2)


def test_predictions_that_know_their_task_give_one_answer_per_row():
    ids = np.array(list("xyz"), object)
    made = Predictions(ids, CLASSES, EXPECTED)
    assert made.predicted().tolist() == [[True, False, True], [False, False, True], [True, False, False]]
    assert replace(made, task=MULTICLASS).predicted().tolist() == made.predicted().tolist()
    assert replace(made, task=ORDINAL).predicted().tolist() == [1, 1, 1]
    assert replace(made, task=ORDINAL).reorder(["z", "x"]).predicted().tolist() == [1, 1]
    decided = replace(made, task=ORDINAL, values=np.eye(3)[[2, 0, 1]])  # as a rule leaves them
    assert decided.predicted().tolist() == [2, 0, 1]
    assert replace(made, task=REGRESSION, values=EXPECTED * 70).predicted().tolist() == (EXPECTED * 70).tolist()


@pytest.mark.parametrize(
    ("task", "column", "targets"),
    [
        (ORDINAL, [2, 0, 1], np.array([2, 0, 1])),
        (REGRESSION, [2, 0.5, -1], np.array([[2], [0.5], [-1]], np.float32)),
        (REGRESSION, [(2, 3.5), (np.float32(0.5), 1)], np.array([[2, 3.5], [0.5, 1]], np.float32)),
    ],
)
def test_grades_and_numbers_are_encoded(task, column, targets):
    classes = 3 if task is ORDINAL else targets.shape[1]
    found = task.targets(pd.Series(column), classes)
    assert (found.dtype, found.tolist()) == (targets.dtype, targets.tolist())
    assert task.known(pd.Series(column), classes).all()
    assert task.strata(found, classes).sum(1).tolist() == [1 if task is ORDINAL else classes] * len(column)
    names = CLASSES[:classes]
    assert len(task.strata_names(found, names)) == task.strata(found, classes).shape[1]


@pytest.mark.parametrize("task", [name for name in TASK_NAMES if name != "regression"])
def test_a_competition_of_numbers_is_watched_by_its_error_and_others_by_accuracy(task):
    facts = {"metric": "m", "dataset": "d", "submission": "s"}
    assert Competition("c", "C", "c", task, **facts).epoch_metrics == ("accuracy",)
    assert Competition("c", "C", "c", "regression", **facts).epoch_metrics == ("rmse",)
    assert Competition("c", "C", "c", "regression", **facts, epoch_metrics=("r2",)).epoch_metrics == ("r2",)
