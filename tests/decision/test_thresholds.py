"""Thresholds: cuts against trying all of them, estimates against leaving a fold out by hand, the command on a run."""

import json
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import f1_score, fbeta_score

from kit.decision.rule import best_method, nesting_folds
from kit.decision.thresholds import METHODS, Thresholds, _logit, _Rows, _shrunk, nested_f1
from kit.decision.thresholds import tune as tune_for
from kit.scoring.metrics import macro_f1
from kit.scoring.predictions import Predictions, at_thresholds


def predictions(seed: int, rows: int, shares: list[float], signal: float = 2.0, digits: int = 6):
    """Targets, probabilities that know something of them, and folds."""
    random = np.random.default_rng(seed)
    target = random.random((rows, len(shares))) < shares
    logits = random.normal(size=target.shape) + signal * target + np.log(np.divide(shares, np.subtract(1, shares)))
    return target, np.round(1 / (1 + np.exp(-logits)), digits).astype(np.float32), np.arange(rows) % 3


def tune(target, values, folds):
    """By macro F1."""
    return tune_for(target, values, folds, partial(macro_f1, target))


@pytest.mark.parametrize("beta", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("chosen", [frozenset({0, 1, 2}), frozenset({0, 2}), frozenset({1})])
@pytest.mark.parametrize("digits", [2, 6])
def test_thresholds_are_the_best_of_all_that_there_are(chosen, digits, beta):
    target, values, folds = predictions(0, 90, [0.4, 0.2, 0.1], digits=digits)
    rows, seen = _Rows(target, values, folds, beta), np.isin(folds, list(chosen))
    every = [*np.unique(values), 1.0]

    def score(column, threshold, **options):
        return fbeta_score(
            target[seen][:, column], values[seen][:, column] >= threshold, beta=beta, zero_division=0, **options
        )

    own, one = rows.thresholds(chosen)
    for k in range(3):
        best = max(score(k, threshold) for threshold in every)
        assert score(k, own[k]) == pytest.approx(best, abs=1e-12)
    best = max(score(slice(None), threshold, average="macro") for threshold in every)
    assert score(slice(None), one, average="macro") == pytest.approx(best, abs=1e-12)


def test_an_estimate_is_made_by_rules_that_have_not_seen_the_fold():
    target, values, parts = predictions(1, 600, [0.4, 0.2, 0.05])
    tuned = tune(target, values, parts)
    for method, found in tuned.items():
        decided = np.zeros_like(target)
        for part in range(3):
            others = parts != part
            # The others alone, as if there were nothing else.
            rule = tune(target[others], values[others], parts[others])[method].rule
            assert rule == found.fold_rules[part]
            decided[~others] = at_thresholds(values[~others], rule.thresholds_for(values[~others]))
        assert (decided == found.predicted).all()
        expected = f1_score(target, decided, average="macro", zero_division=0)
        assert found.estimate == pytest.approx(expected, abs=1e-12)
        assert nested_f1(target, values, parts, method) == found.estimate
        by_itself = at_thresholds(values, found.rule.thresholds_for(values))
        assert found.fitted == pytest.approx(f1_score(target, by_itself, average="macro", zero_division=0), abs=1e-12)


def test_the_nested_estimate_is_right_where_free_cuts_flatter():
    """Rare classes and probabilities that know little: what a cut of its own finds is chance, and new rows show it."""
    scores: dict[str, list[float]] = {name: [] for name in ("free fitted", "free", "drawn", "estimate")}
    for seed in range(8):
        target, values, parts = predictions(seed, 250, [0.03] * 12, signal=1)
        new_target, new_values, _ = predictions(seed + 100, 4000, [0.03] * 12, signal=1)
        free = _Rows(target, values, parts).thresholds(frozenset(range(3)))[0]
        drawn = tune(target, values, parts)["per-class"]
        scores["free fitted"].append(macro_f1(target, at_thresholds(values, free)))
        scores["free"].append(macro_f1(new_target, at_thresholds(new_values, free)))
        scores["drawn"].append(macro_f1(new_target, at_thresholds(new_values, drawn.rule.thresholds_for(new_values))))
        scores["estimate"].append(drawn.estimate)
    mean = {name: np.mean(values) for name, values in scores.items()}
    assert mean["free fitted"] > mean["free"] + 0.04
    assert mean["drawn"] > mean["free"]
    assert abs(mean["estimate"] - mean["drawn"]) < 0.02


def test_cuts_of_their_own_pay_where_classes_are_calibrated_apart():
    target, values, parts = predictions(2, 3000, [0.4, 0.3, 0.05, 0.02])
    tuned = tune(target, values, parts)
    assert tuned["per-class"].estimate > tuned["one"].estimate > tuned["half"].estimate
    assert best_method(tuned) in ("per-class", "share")


def test_a_class_of_few_positives_is_drawn_to_the_one_cut():
    target, values, parts = predictions(3, 900, [0.5, 0.3, 0.01], signal=0.3)
    rows = _Rows(target, values, parts)
    everything = frozenset(range(3))
    own, one = (_logit(np.asarray(cuts)) for cuts in rows.thresholds(everything))
    drawn = _logit(_shrunk(rows, everything, 30.0))
    positives = target.sum(0)
    np.testing.assert_allclose(drawn, (positives * own + 30 * one) / (positives + 30), rtol=1e-9)
    np.testing.assert_allclose(_shrunk(rows, everything, np.inf), rows.thresholds(everything)[1], rtol=1e-9)


def test_matching_the_share_gives_each_class_as_often_as_the_labels_have_it():
    random = np.random.default_rng(4)
    values = random.random((1000, 3)).astype(np.float32)
    cuts = Thresholds("share", shares=(0.25, 0.001, 0.0)).thresholds_for(values)
    assert (values >= cuts).sum(0).tolist() == [250, 1, 0]
    assert (values >= Thresholds("share", shares=(1.0, 0.5, 0.0004)).thresholds_for(values)).sum(0).tolist() == [
        1000,
        500,
        0,
    ]


def test_no_row_is_empty():
    values = np.array([[0.1, 0.3, 0.2], [0.9, 0.1, 0.8]], np.float32)
    assert at_thresholds(values, np.full(3, 0.5)).tolist() == [[False, True, False], [True, False, True]]
    random = np.random.default_rng(5)
    target, values, parts = (
        random.random((300, 4)) < 0.1,
        random.random((300, 4)).astype(np.float32),
        np.arange(300) % 2,
    )
    for tuned in tune(target, values, parts).values():
        assert tuned.predicted.any(1).all()
    given = Predictions(np.array(["a"], object), ("x", "y"), np.array([[0.2, 0.1]], np.float32))
    assert given.predicted().tolist() == [[True, False]]


def test_one_fold_is_cut_into_five_parts_of_whole_groups():
    groups = np.repeat(np.arange(50), 3)
    parts = nesting_folds(np.zeros(150, int), groups)
    assert np.unique(parts).tolist() == [0, 1, 2, 3, 4]
    assert all(len(np.unique(parts[groups == group])) == 1 for group in range(50))
    assert nesting_folds(np.array([0, 2, 2]), np.arange(3)).tolist() == [0, 2, 2]


def test_a_rule_survives_json():
    rule = Thresholds("per-class", (0.1, 0.25), strength=float("inf"))
    assert Thresholds.of_document(json.loads(json.dumps(rule.document()))) == rule


def test_every_method_is_described():
    assert set(tune(*predictions(6, 60, [0.5, 0.2]))) == set(METHODS)
