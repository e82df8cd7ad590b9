"""Cuts between the grades of an ordinal task: held against scikit-learn and against trying all."""

import itertools
import json
import time

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, matthews_corrcoef

from helpers.report_runs import OWN, Leaves, graded, targets_of
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.decision.apply import rules_of, with_rule
from kit.decision.grades import METHODS, Grades, _best, _places, _Rows, fit, nested, tune
from kit.decision.rule import best_method
from kit.decision.tune import Wish, has_rule, tune_run
from kit.hooks.registry import Registry
from kit.hooks.specs import MetricSpec
from kit.run import Run
from kit.scoring.metrics import quadratic_kappa
from kit.scoring.predictions import Predictions
from kit.task import MULTICLASS, ORDINAL

KAPPA = OWN["ordinal"]
GRADES = ["No DR", "Mild", "Moderate", "Severe", "Proliferative"]
ACCURACY = MetricSpec("accuracy_here", True, lambda t, p: accuracy_score(t, p.argmax(1)), of_classes=True)
MISTAKES = MetricSpec("mistakes", False, lambda t, p: 1 - accuracy_score(t, p.argmax(1)), of_classes=True)
PHI = MetricSpec("phi", True, lambda t, p: matthews_corrcoef(t, p.argmax(1)), ("ordinal",), of_classes=True)
LIKELY = MetricSpec("likely", False, lambda t, p: -np.log(p[np.arange(len(t)), t]).mean())


def seen(rows: int, seed: int, noise: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grades skewed as in APTOS 2019, out-of-fold probabilities, and folds."""
    random = np.random.default_rng(seed)
    target = np.array(targets_of("ordinal", 5, rows, random))
    return target, graded(target, 5, noise, random), random.permutation(np.arange(rows) % 5)


def kappa(target: np.ndarray, predicted: np.ndarray) -> float:
    return cohen_kappa_score(target, predicted, weights="quadratic")


def test_kappa_of_counts_is_that_of_scikit_learn():
    several = []
    for seed in range(3):
        target, predicted = (np.random.default_rng(seed + n).integers(0, 4, 200) for n in (0, 9))
        counts = np.zeros((5, 5), int)  # a grade that nobody has
        np.add.at(counts, (target, predicted), 1)
        several.append(counts)
        assert quadratic_kappa(counts) == pytest.approx(kappa(target, predicted))
    assert quadratic_kappa(np.stack(several)).tolist() == [quadratic_kappa(each) for each in several]
    assert np.isnan(quadratic_kappa(np.diag([7, 0, 0])))


@pytest.mark.parametrize("seed", range(2))
def test_tuned_cuts_are_above_rounding_and_argmax_where_nobody_has_seen_the_rows(seed):
    target, values, folds = seen(3662, seed)
    tuned = tune(target, values, folds, KAPPA)
    assert list(tuned) == list(METHODS)
    for method, way in tuned.items():
        answers = np.zeros(len(target), int)
        for fold in range(5):
            own = folds == fold
            answers[own] = fit(method, target[~own], values[~own], KAPPA).predicted(values[own])
        assert np.array_equal(way.predicted, answers)
        assert way.estimate == pytest.approx(kappa(target, answers))
        assert way.fitted == pytest.approx(kappa(target, way.rule.predicted(values)))
    by_hand = {"rounding": np.rint(values @ np.arange(5)), "argmax": values.argmax(1)}
    assert all(tuned[name].estimate == pytest.approx(kappa(target, each)) for name, each in by_hand.items())
    assert tuned["tuned"].estimate > max(tuned["rounding"].estimate, tuned["argmax"].estimate)
    assert tuned[best_method(tuned)].estimate == max(way.estimate for way in tuned.values())
    assert np.array_equal(nested(target, values, folds, KAPPA), tuned["tuned"].predicted)
    changed = target.copy()
    changed[folds == 0] = (changed[folds == 0] + 1) % 5
    assert tune(changed, values, folds, KAPPA)["tuned"].fold_rules[0] == tuned["tuned"].fold_rules[0]


def test_cuts_increase_and_are_the_same_each_time():
    target, values, _ = seen(500, 3)
    rule = fit("tuned", target, values, KAPPA)
    assert rule == fit("tuned", target, values, KAPPA)
    assert all(low < high for low, high in itertools.pairwise(rule.cuts))


def test_the_search_finds_what_trying_all_finds():
    target, values, _ = seen(300, 1)
    rows = _Rows(target, expected := ORDINAL.expected(values), 5, _places(expected, 12))
    places = np.array(list(itertools.combinations(range(len(rows.cuts)), 4)))
    best = quadratic_kappa(rows.confusion(places)).max()
    starts = [rows.places_of(np.arange(4) + 0.5), rows.places_of(np.array([0.5, 1, 2, 3]))]
    found = np.searchsorted(rows.cuts, _best(rows, quadratic_kappa, starts))
    assert quadratic_kappa(rows.confusion(found[None]))[0] > best - 0.01


def test_counts_at_places_are_those_of_the_rule():
    target, values, _ = seen(200, 2)
    rows = _Rows(target, expected := ORDINAL.expected(values), 5, _places(expected, 20))
    places = rows.places_of(np.array([0.5, 1.5, 2.5, 3.5]))
    counts = np.zeros((5, 5), int)
    np.add.at(counts, (target, Grades("x", tuple(rows.cuts[places])).predicted(values)), 1)
    assert np.array_equal(rows.confusion(places[None])[0], counts)


@pytest.mark.parametrize(
    "metric", [ACCURACY, MISTAKES, pytest.param(PHI, marks=pytest.mark.slow)], ids=lambda metric: metric.name
)
def test_any_metric_of_predicted_classes_is_tuned_for(metric):
    target, values, folds = seen(700, 5, noise=0.9)
    tuned = tune(target, values, folds, metric)
    sign = 1 if metric.higher_is_better else -1
    hot = np.eye(5)[tuned["tuned"].predicted]
    assert tuned["tuned"].estimate == pytest.approx(metric.compute(target, hot))
    assert sign * tuned["tuned"].fitted > sign * tuned["rounding"].fitted
    assert sign * tuned["tuned"].estimate > sign * tuned["rounding"].estimate


def test_35000_rows_are_tuned_in_seconds():
    target, values, folds = seen(35_000, 0)
    began = time.process_time()
    tune(target, values, folds, KAPPA)
    assert time.process_time() - began < 15


@pytest.mark.parametrize("rows", ["one grade", "equal values", "two rows"])
@pytest.mark.filterwarnings("ignore")
def test_rows_that_say_little_give_a_rule_all_the_same(rows):
    target, values, folds = seen(60, 1)
    if rows == "one grade":
        target = np.zeros_like(target)
    elif rows == "equal values":
        values = np.repeat(values[:1], 60, 0)
    else:
        target, values, folds = target[:2], values[:2], np.arange(2)
    tuned = tune(target, values, folds, KAPPA)
    for way in tuned.values():
        assert all(low < high for low, high in itertools.pairwise(way.rule.cuts))
        assert set(way.predicted.tolist()) <= set(range(5))


def test_shares_are_reproduced():
    target, values, _ = seen(800, 4)
    predicted = fit("share", target, values, KAPPA).predicted(values)
    assert np.abs(np.bincount(predicted, minlength=5) - np.bincount(target, minlength=5)).max() <= 2


def test_a_document_is_read_again_and_decided_grades_are_sure():
    target, values, _ = seen(50, 0)
    for method in METHODS:
        rule = fit(method, target, values, KAPPA)
        assert Grades.of_document(json.loads(json.dumps(rule.document()))) == rule
        decided = rule.applied(Predictions(np.arange(50).astype(str).astype(object), tuple(GRADES), values))
        assert np.array_equal(decided.values.argmax(1), rule.predicted(values))
        assert np.array_equal(ORDINAL.predicted(decided.values), rule.predicted(values))


def test_which_metrics_ask_for_cuts():
    assert has_rule("ordinal", KAPPA)
    assert has_rule(ORDINAL, ACCURACY)
    assert not has_rule(ORDINAL, LIKELY)
    assert not has_rule(MULTICLASS, KAPPA)
    assert not has_rule("regression", OWN["regression"])


# The command.


def test_the_command_shows_all_methods_and_keeps_the_best(kit, tmp_path, monkeypatch):
    leaves = Leaves("ordinal", GRADES, 1500, tmp_path, monkeypatch)
    values = leaves.values(0.6)
    run = leaves.run(values)
    document = kit("thresholds", run.id, "--json").json
    assert document["metric"] == KAPPA.name
    assert document["counts"]
    assert list(document["methods"]) == list(METHODS)
    assert all({"fitted", "estimate", "cuts", "what"} <= set(each) for each in document["methods"].values())
    assert document["methods"]["rounding"]["estimate"] == pytest.approx(
        kappa(leaves.target, np.floor(values.astype(float) @ np.arange(5) + 0.5))
    )
    assert document["chosen"] == max(document["methods"], key=lambda name: document["methods"][name]["estimate"])
    assert document["estimate"]["value"] == document["methods"][document["chosen"]]["estimate"]
    assert [row["cut"] for row in document["classes"]] == [None, *document["methods"][document["chosen"]]["cuts"]]
    found = Run.open(run.path)
    assert found.score["value"] == document["estimate"]["value"]
    predictions = Predictions(leaves.ids, tuple(GRADES), values)
    assert np.array_equal(with_rule(found, predictions).values.argmax(1), rules_of(found).rule.predicted(values))
    out = kit("thresholds", run.id, "--method", "argmax").out
    assert all(word in out for word in ("-> argmax", "rounding", "tuned", "nested estimate"))
    assert [row["class"] for row in document["classes"]] == GRADES


def test_cuts_by_hand_lie_between_grades(kit, tmp_path, monkeypatch):
    leaves = Leaves("ordinal", GRADES, 300, tmp_path, monkeypatch)
    values = leaves.values(0.6)
    run = leaves.run(values)
    document = kit("thresholds", run.id, "--at", "0.4,1.5,2.6,3.5", "--json").json
    predicted = np.digitize(values.astype(float) @ np.arange(5), [0.4, 1.5, 2.6, 3.5])
    assert document["chosen"] == "at"
    assert document["estimate"]["value"] == pytest.approx(kappa(leaves.target, predicted))
    assert document["methods"]["at"]["what"].startswith("by hand: Mild from 0.4, ")


@pytest.mark.parametrize(
    "at", ["0.4", "0.4,1.5,2.6", "0.4,0.4,2,3", "3,2,1,0.5", "0.5,1.5,2.5,nan", "Mild=0.4", "-1,1,2,3"]
)
def test_wrong_cuts_are_one_line(kit, tmp_path, monkeypatch, at):
    leaves = Leaves("ordinal", GRADES, 60, tmp_path, monkeypatch)
    run = leaves.run(leaves.values(0.6))
    said = kit("thresholds", run.id, "--at", at, code=2).err
    assert "5 grades need 4 increasing cuts of the expected grade, 0 to 4: write 0.5,1.5,2.5,3.5" in said


def test_what_has_nothing_to_tune_says_why(kit, tmp_path, monkeypatch):
    leaves = Leaves("ordinal", GRADES, 60, tmp_path, monkeypatch)
    run = leaves.run(leaves.values(0.6))
    assert "has no F-beta" in kit("thresholds", run.id, "--beta", 2, code=2).err
    assert "--method per-class does not fit leaves" in kit("thresholds", run.id, "--method", "per-class", code=2).err
    monkeypatch.setattr("kit.data.open_run.OpenRun.metric", LIKELY)
    said = kit("thresholds", run.id, code=2).err
    assert "takes probabilities or ranks as they are (--at CUT,... sets cuts by hand)" in said
    assert not tune_run(OpenRun(Registry(), run), Wish(at="0.5,1.5,2.5,3.5"), Console(json=True))["counts"]


def test_cuts_of_a_multiclass_task_are_refused(kit, tmp_path, monkeypatch):
    leaves = Leaves("multiclass", GRADES, 60, tmp_path, monkeypatch)
    run = leaves.run(leaves.values(2.0))
    monkeypatch.setattr("kit.data.open_run.OpenRun.metric", KAPPA)
    assert "cuts are between the grades of an ordinal task" in kit("thresholds", run.id, code=2).err


@pytest.mark.parametrize("words", [(), ("--at", "0.5"), ("--method", "half")])
def test_numbers_have_no_thresholds(kit, tmp_path, monkeypatch, words):
    leaves = Leaves("regression", ["weight"], 60, tmp_path, monkeypatch)
    run = leaves.run(leaves.values(0.5))
    said = kit("thresholds", run.id, *words, code=2).err
    assert "leaves predicts numbers, which are submitted as they are: it has no thresholds to tune" in said
