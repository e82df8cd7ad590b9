"""Metrics and their interval against formulas."""

import numpy as np
import pytest
import sklearn.metrics
from sklearn.metrics import f1_score, roc_auc_score

from kit.console import Console
from kit.hooks.registry import Registry
from kit.scoring.interval import bootstrap_interval
from kit.scoring.table import classification_table, label_confusion
from kit.task import BINARY, MULTICLASS, MULTILABEL
from kit_metrics.classification import accuracy, balanced_accuracy, log_loss, macro_f1, roc_auc, top_k_accuracy


def test_auc_is_the_share_of_rightly_ordered_pairs():
    random = np.random.default_rng(0)
    target, score = random.integers(0, 2, 200), random.integers(0, 20, 200) / 20
    positive, negative = score[target == 1][:, None], score[target == 0][None, :]
    assert roc_auc(target, score) == pytest.approx(((positive > negative) + 0.5 * (positive == negative)).mean())


def test_auc_of_one_class_is_undefined_and_several_classes_are_averaged():
    assert np.isnan(roc_auc(np.ones(4), np.arange(4.0)))
    target = np.array([0, 1, 2, 1])
    prediction = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.5, 0.4, 0.1]])
    by_hand = np.mean([roc_auc(target == k, prediction[:, k]) for k in range(3)])
    assert roc_auc(target, prediction) == pytest.approx(by_hand)


def test_accuracy_by_hand():
    assert accuracy(np.array([0, 1, 1, 0]), np.array([0.2, 0.9, 0.4, 0.5])) == 0.5
    assert accuracy(np.array([0, 2]), np.array([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]])) == 0.5
    assert accuracy(np.array([[1, 0], [1, 1]]), np.array([[0.9, 0.9], [0.6, 0.4]])) == 0.5


def test_macro_f1_is_that_of_scikit_learn():
    random = np.random.default_rng(1)
    target, prediction = random.random((200, 5)) < [0.5, 0.2, 0.05, 0, 0.3], random.random((200, 5)) * [1, 1, 1, 1, 0.4]
    expected = f1_score(target, prediction >= 0.5, average="macro", zero_division=0)
    assert macro_f1(target.astype(np.float32), prediction) == pytest.approx(expected, abs=1e-15)
    several = random.integers(0, 4, 200)
    expected = f1_score(several, prediction[:, :4].argmax(1), average="macro", labels=range(4), zero_division=0)
    assert macro_f1(several, prediction[:, :4]) == pytest.approx(expected, abs=1e-15)
    expected = f1_score(target[:, 0], prediction[:, 0] >= 0.5)
    assert macro_f1(target[:, 0], prediction[:, 0]) == pytest.approx(expected, abs=1e-15)


def test_the_interval_is_that_of_the_normal_approximation():
    random = np.random.default_rng(0)
    target = random.integers(0, 2, 1000)
    prediction = np.where(random.random(1000) < 0.8, target, 1 - target).astype(float)
    metric = Registry().metrics.get("accuracy")
    low, high = bootstrap_interval(metric, target, prediction, np.arange(1000), Console())
    rate = accuracy(target, prediction)
    half = 1.96 * np.sqrt(rate * (1 - rate) / 1000)
    assert low == pytest.approx(rate - half, abs=0.004)
    assert high == pytest.approx(rate + half, abs=0.004)


def test_copies_in_a_group_do_not_narrow_the_interval():
    random = np.random.default_rng(0)
    target = random.integers(0, 2, 200)
    prediction = np.where(random.random(200) < 0.8, target, 1 - target).astype(float)
    metric = Registry().metrics.get("accuracy")
    once = bootstrap_interval(metric, target, prediction, np.arange(200), Console())
    groups = np.repeat(np.arange(200), 9)
    grouped = bootstrap_interval(metric, np.repeat(target, 9), np.repeat(prediction, 9), groups, Console())
    naive = bootstrap_interval(metric, np.repeat(target, 9), np.repeat(prediction, 9), np.arange(1800), Console())
    assert grouped[1] - grouped[0] == pytest.approx(once[1] - once[0], rel=0.15)
    assert naive[1] - naive[0] < 0.5 * (once[1] - once[0])


def test_the_table_of_a_binary_task_by_hand():
    target = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    prediction = np.array([0.9, 0.8, 0.2, 0.7, 0.1, 0.1, 0.1, 0.1])
    table = classification_table(BINARY, ("no", "yes"), target, prediction, BINARY.predicted(prediction, 0.5), 2.0)
    precision, recall = 2 / 3, 2 / 3
    assert table["confusion"] == [[4, 1], [1, 2]]
    assert table["accuracy"] == 0.75
    assert (table["precision"], table["sensitivity"], table["specificity"]) == pytest.approx((precision, recall, 0.8))
    assert table["f2"] == pytest.approx(5 * precision * recall / (4 * precision + recall))
    low = BINARY.predicted(prediction, 0.15)
    assert classification_table(BINARY, ("no", "yes"), target, prediction, low, 2.0)["sensitivity"] == 1
    assert table["report"]["yes"]["auc"] == table["report"]["no"]["auc"] == pytest.approx(14 / 15)


def test_the_table_knows_multiclass_and_multilabel():
    prediction = np.eye(3)[[0, 1, 1]]
    predicted = MULTICLASS.predicted(prediction, 0.5)
    table = classification_table(MULTICLASS, ("a", "b", "c"), np.array([0, 1, 2]), prediction, predicted, 1.0)
    assert table["accuracy"] == pytest.approx(2 / 3)
    assert table["report"]["c"]["recall"] == 0
    target, prediction = np.array([[1, 0], [1, 1]]), np.array([[0.9, 0.9], [0.1, 0.6]])
    predicted = MULTILABEL.predicted(prediction, 0.5)
    table = classification_table(MULTILABEL, ("a", "b"), target, prediction, predicted, 1.0)
    assert table["confusion"] == [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    # Of the second row a was missed while b was right; b was found once, and given wrongly beside a found a.
    assert table["label_confusion"] == [[1, 0], [0, 1]]
    assert (table["report"]["a"]["auc"], table["report"]["b"]["auc"]) == (None, 0)


def test_areas_are_those_of_scikit_learn():
    random = np.random.default_rng(3)
    target, prediction = random.integers(0, 4, 300), np.round(random.random((300, 4)), 1)
    predicted = MULTICLASS.predicted(prediction, 0.5)
    report = classification_table(MULTICLASS, tuple("abcd"), target, prediction, predicted, 1.0)["report"]
    for number, name in enumerate("abcd"):
        assert report[name]["auc"] == pytest.approx(roc_auc_score(target == number, prediction[:, number]), abs=1e-12)


def test_labels_given_in_place_of_others_are_counted():
    target = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]]) > 0
    predicted = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]]) > 0
    assert label_confusion(target, predicted).tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1]]


def test_further_metrics_are_those_of_scikit_learn():
    random = np.random.default_rng(4)
    target, prediction = random.integers(0, 5, 400), random.dirichlet(np.ones(5), 400)
    assert balanced_accuracy(target, prediction) == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(target, prediction.argmax(1))
    )
    assert log_loss(target, prediction) == pytest.approx(sklearn.metrics.log_loss(target, prediction), abs=1e-5)
    for k in (1, 2, 3):
        assert top_k_accuracy(target, prediction, k) == pytest.approx(
            sklearn.metrics.top_k_accuracy_score(target, prediction, k=k)
        )
    binary, share = random.integers(0, 2, 400), random.random(400)
    assert balanced_accuracy(binary, share) == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(binary, share >= 0.5)
    )
    assert log_loss(binary, share) == pytest.approx(sklearn.metrics.log_loss(binary, share), abs=1e-5)
    several, shares = random.integers(0, 2, (50, 3)), random.random((50, 3))
    by_label = [sklearn.metrics.log_loss(several[:, k], shares[:, k]) for k in range(3)]
    assert log_loss(several, shares) == pytest.approx(np.mean(by_label), abs=1e-5)
