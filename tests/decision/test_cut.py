"""The cut of a binary task, held against scikit-learn, against trying all, and worked by hand."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, fbeta_score, precision_score, recall_score

from kit.decision.cut import METHODS, Cut, Figures, figure, fit, tune
from kit.task import BINARY

TARGET = np.array([0, 0, 1, 0, 1, 1, 0, 1], bool)
VALUES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])


@pytest.mark.parametrize(
    ("method", "wanted", "cut"),
    [
        ("half", 0, 0.5),
        ("sensitivity", 1.0, 0.25),  # all four positives lie above .25
        ("sensitivity", 0.75, 0.45),
        ("sensitivity", 0.5, 0.55),  # .6 and .8
        ("specificity", 1.0, 0.75),
        ("specificity", 0.75, 0.45),  # one negative, .7, above it
        ("specificity", 0.0, 0.0),
        ("cost", 10, 0.25),  # no positive is worth missing: 2 false alarms
        ("cost", 0.1, 0.75),
        ("f-beta", 1, 0.25),  # 4 hits, 2 alarms: 2*4/(4+2+4) = .8
        ("youden", 0, 0.45),  # .75 - .25, as at .75 (.25), .25 (1 - .5): the highest of equals
    ],
)
def test_cuts_worked_by_hand(method, wanted, cut):
    assert fit(method, TARGET, VALUES[:, None][:, 0], wanted).cut == pytest.approx(cut)


def drawn(seed: int, count: int = 300, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.random(count) < 0.3
    values = 1 / (1 + np.exp(-random.normal(1.5 * target - 1, 1)))
    return target, (np.round(values, 2) if ties else values).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_cut_is_better_by_scikit_learn(seed):
    target, values = drawn(seed)
    every = [np.nextafter(np.float64(each), up) for each in np.unique(values) for up in (0.0, 1.0)] + [1.1]
    predictions = [values.astype(np.float64) >= cut for cut in every]

    def best(score):
        return max(score(predicted) for predicted in predictions)

    def own(method, wanted):
        return fit(method, target, values, wanted).predicted(values[:, None])

    for beta in (0.5, 1, 2):
        score = lambda predicted: fbeta_score(target, predicted, beta=beta, zero_division=0)  # noqa: E731,B023
        assert score(own("f-beta", beta)) == pytest.approx(best(score))
    assert balanced_accuracy_score(target, own("youden", 0)) == pytest.approx(
        best(lambda predicted: balanced_accuracy_score(target, predicted))
    )
    costs = lambda predicted: -(7 * (target & ~predicted).sum() + (~target & predicted).sum())  # noqa: E731
    assert costs(own("cost", 7)) == best(costs)
    for wanted in (0.5, 0.9, 0.95, 1.0):
        chosen = own("sensitivity", wanted)
        assert recall_score(target, chosen) >= wanted
        specific = [recall_score(~target, ~each) for each in predictions if recall_score(target, each) >= wanted]
        assert recall_score(~target, ~chosen) == pytest.approx(max(specific))
        chosen = own("specificity", wanted)
        assert recall_score(~target, ~chosen) >= wanted
        sensitive = [recall_score(target, each) for each in predictions if recall_score(~target, ~each) >= wanted]
        assert recall_score(target, chosen) == pytest.approx(max(sensitive))


def test_figures_are_scikit_learns():
    target, values = drawn(1)
    predicted = values >= 0.4
    found = Figures.of(target, predicted, 2.0, 5.0)
    assert found.precision == pytest.approx(precision_score(target, predicted))
    assert found.sensitivity == pytest.approx(recall_score(target, predicted))
    assert found.specificity == pytest.approx(recall_score(target, predicted, pos_label=0))
    assert found.f_beta == pytest.approx(fbeta_score(target, predicted, beta=2))
    assert found.cost == pytest.approx((5 * (target & ~predicted).sum() + (~target & predicted).sum()) / len(target))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [np.zeros(5, bool), np.ones(5, bool)])
def test_one_class_alone_has_a_cut_too(method, target):
    cut = fit(method, target, np.array([0.1, 0.5, 0.5, 0.9, 1.0], np.float32), 0.5).cut
    assert 0 <= cut < 1.01


def test_a_probability_of_one_can_be_cut_off():
    target, values = np.array([False, False, True]), np.array([1.0, 1.0, 0.5], np.float32)
    rule = fit("specificity", target, values, 1.0)
    assert rule.predicted(values[:, None]).tolist() == [False] * 3
    assert Cut.of_document(rule.document()) == rule


def test_the_nested_estimate_is_that_of_cuts_found_on_other_folds():
    target, values = drawn(5)
    folds = np.arange(len(target)) % 3
    wanted = {"f-beta": 2.0, "sensitivity": 0.9}
    judge = figure("sensitivity", wanted)
    tuned = tune(
        target[:, None].astype(np.float32),
        values[:, None],
        folds,
        lambda predicted: judge.compute(target, BINARY.as_probabilities(predicted, 2)),
        wanted,
    )
    by_hand = np.zeros(len(target), bool)
    for fold in range(3):
        own = folds == fold
        # The highest cut with 90 % of the other folds' positives at or above it.
        positives = np.sort(values[~own & target])[::-1]
        lowest = positives[int(np.ceil(0.9 * len(positives))) - 1]
        by_hand[own] = values[own] >= lowest
    assert tuned["sensitivity"].predicted.tolist() == by_hand.tolist()
    assert tuned["sensitivity"].estimate == pytest.approx(recall_score(target, by_hand))
    assert set(tuned) == {"half", "f-beta", "youden", "sensitivity"}
