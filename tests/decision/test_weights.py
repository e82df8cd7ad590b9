"""The decision rule for balanced accuracy: class weights, held against scikit-learn and against trying all."""

import itertools
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from kit.decision.rule import best_method
from kit.decision.weights import METHODS, ClassWeights, _best_weight, _searched, fit
from kit.decision.weights import tune as tune_for
from kit.scoring.metrics import mean_recall, recall_by_class
from kit.scoring.predictions import Predictions


def tune(target, values, folds):
    """By balanced accuracy."""
    return tune_for(target, values, folds, partial(mean_recall, target))


def skewed(count: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of 80, 15 and 5 %, and the exact posteriors of a Gaussian at 0, 1.2 and 2.4."""
    random = np.random.default_rng(seed)
    share, centre = np.array([0.8, 0.15, 0.05]), np.array([0.0, 1.2, 2.4])
    target = random.choice(3, count, p=share)
    seen = random.normal(centre[target])
    joint = share * np.exp(-((seen[:, None] - centre) ** 2) / 2)
    return target, joint / joint.sum(1, keepdims=True)


def test_mean_recall_is_balanced_accuracy_of_scikit_learn():
    random = np.random.default_rng(1)
    target, answers = random.integers(0, 5, 300), random.integers(0, 5, 300)
    assert mean_recall(target, answers) == pytest.approx(balanced_accuracy_score(target, answers))
    some = target < 3  # two classes do not occur, and are answered
    assert mean_recall(target[some], answers[some]) == pytest.approx(
        np.mean([(answers[target == k] == k).mean() for k in range(3)])
    )
    assert np.isnan(recall_by_class(target[some], answers[some], 5)[3:]).all()


def test_dividing_exact_posteriors_by_the_share_is_the_rule_of_equal_costs():
    target, values = skewed(20_000)
    rule = fit("prior", target, values)
    assert np.allclose(rule.weights, 1 / (np.bincount(target) / len(target)))
    weighted = rule.weighted(values)
    assert np.allclose(weighted.sum(1), 1)
    by_hand = [max(range(3), key=lambda k: row[k] / np.mean(target == k)) for row in values[:500]]
    assert rule.predicted(values)[:500].tolist() == by_hand
    plain, divided = (
        mean_recall(target, fit(method, target, values).predicted(values)) for method in ("largest", "prior")
    )
    assert divided > plain + 0.1
    power = fit("power", target, values)
    assert power.power == pytest.approx(1, abs=0.3), "posteriors are exact: nothing is left to tune"


def test_a_power_of_nothing_is_found_where_training_has_balanced_already():
    target, values = skewed(20_000)
    share = np.bincount(target) / len(target)
    balanced = values / share
    balanced /= balanced.sum(1, keepdims=True)
    assert fit("power", target, balanced).power == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", range(3))
def test_one_weight_is_the_best_of_all(seed, k):
    target, values = skewed(60, seed)
    weights, worth = np.array([1.0, 2.0, 4.0]), 1 / np.bincount(target, minlength=3)
    found = _best_weight(target, values, weights, k, worth, weights[k])

    def score(weight: float) -> float:
        tried = weights.copy()
        tried[k] = weight
        return balanced_accuracy_score(target, (values * tried).argmax(1))

    assert weights[k] / 4 <= found <= weights[k] * 4
    assert score(found) == pytest.approx(max(score(each) for each in weights[k] * np.geomspace(0.25, 4, 4001)))


def test_the_search_ends_where_no_single_weight_gains():
    target, values = skewed(200, 3)
    start = fit("power", target, values)
    weights = _searched(target, values, np.asarray(start.weights))
    reached = mean_recall(target, (values * weights).argmax(1))
    assert reached >= mean_recall(target, start.predicted(values))
    for k, factor in itertools.product(range(3), np.geomspace(0.3, 3, 50)):
        tried = weights.copy()
        tried[k] *= factor
        assert (
            tried[k] / start.weights[k] > 4
            or tried[k] / start.weights[k] < 0.25
            or mean_recall(target, (values * tried).argmax(1)) <= reached + 1e-12
        )


def test_the_nested_estimate_is_made_without_the_part_that_it_judges():
    target, values = skewed(300, 5)
    parts = np.arange(300) % 3
    tuned = tune(target, values, parts)
    assert list(tuned) == list(METHODS)
    for method, way in tuned.items():
        answers = np.zeros(300, int)
        for part in range(3):
            own = parts == part
            answers[own] = fit(method, target[~own], values[~own]).predicted(values[own])
        assert np.array_equal(way.predicted, answers)
        assert way.estimate == pytest.approx(balanced_accuracy_score(target, answers))
        assert way.fitted == pytest.approx(balanced_accuracy_score(target, way.rule.predicted(values)))
    assert tuned["weights"].fitted >= tuned["power"].fitted
    assert tuned[best_method(tuned)].estimate == max(way.estimate for way in tuned.values())
    changed = target.copy()
    changed[parts == 0] = (changed[parts == 0] + 1) % 3
    assert tune(changed, values, parts)["weights"].fold_rules[0] == tuned["weights"].fold_rules[0]


def test_a_class_that_does_not_occur_keeps_a_finite_weight():
    target, values = skewed(100)
    target[target == 2] = 1
    for method in METHODS:
        assert np.isfinite(fit(method, target, values).weights).all()


def test_a_rule_is_written_and_read_and_applied():
    rule = ClassWeights("power", (0.5, 2.0), 0.75)
    assert ClassWeights.of_document(rule.document()) == rule
    predictions = Predictions(np.array(["a", "b"], object), ("x", "y"), np.array([[0.9, 0.1], [0.7, 0.3]], np.float32))
    applied = rule.applied(predictions)
    assert np.allclose(applied.values, [[0.45 / 0.65, 0.2 / 0.65], [0.35 / 0.95, 0.6 / 0.95]])
    assert applied.values.argmax(1).tolist() == rule.predicted(predictions.values).tolist() == [0, 1]
