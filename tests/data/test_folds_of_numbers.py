"""Folds of numbers, of one target or several: balanced by tenths of their values, whole groups, said in numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedKFold

from kit.config import validate
from kit.console import Console
from kit.data.check import _labels
from kit.data.folds import Folds, counts_by_fold, groups_spanning_folds, largest_deviation, make_folds
from kit.data.index import Index, odd_labels
from kit.hooks.specs import MetricSpec
from kit.task import REGRESSION
from kit.training.rows import check_rows, limited

QUIET = Console(json=True)
CONSTANT = "every training id has the {}: there is nothing to learn of it"


def index_of(targets: list, names: tuple[str, ...] = ("height",), groups: list | None = None) -> Index:
    frame = pd.DataFrame({"id": [f"i{n:05d}" for n in range(len(targets))], "target": targets})
    frame["files"] = [(f"{name}.tif",) for name in frame["id"]]
    if groups is not None:
        frame["group"] = groups
    return Index(
        Path(), "regression", names, frame, frame[["id", "files"]], grouped_by="" if groups is None else "plot"
    )


def numbers(kind: str, count: int = 1000) -> np.ndarray:
    random = np.random.default_rng(0)
    return {
        "skewed": lambda: random.lognormal(3, 1.5, count),
        "many zeros": lambda: np.where(random.random(count) < 0.4, 0, random.gamma(2, 10, count)),
        "whole": lambda: random.integers(1, 6, count).astype(float),
        "negative": lambda: random.normal(-50, 5, count),
    }[kind]()


@pytest.mark.parametrize("kind", ["skewed", "many zeros", "whole", "negative"])
def test_each_fold_has_the_same_share_of_each_tenth(kind):
    values = numbers(kind)
    folds = make_folds(index_of(values.tolist()), 5, seed=0)
    fold = folds.table["fold"].to_numpy()
    assert np.bincount(fold).tolist() == [200] * 5
    ours = np.array([values[fold == number].mean() for number in range(5)])
    tenths = pd.qcut(values, 10, labels=False, duplicates="drop")
    for tenth in np.unique(tenths):
        counts = np.bincount(fold[tenths == tenth], minlength=5)
        assert np.ptp(counts) <= 2
    # As even as scikit-learn's folds by the same tenths, and more so than random ones.
    theirs = np.array(
        [values[held].mean() for _, held in StratifiedKFold(5, shuffle=True, random_state=0).split(values, tenths)]
    )
    chance = np.array([part.mean() for part in np.array_split(np.random.default_rng(1).permutation(values), 5)])
    assert ours.std() < max(2 * theirs.std(), 1e-9)
    assert ours.std() < chance.std()


def test_several_targets_are_balanced_together_and_groups_stay_whole():
    random = np.random.default_rng(0)
    groups = random.integers(0, 120, 900)
    wet = random.gamma(2, 30, 120)[groups] + random.normal(0, 3, 900)
    dry = random.gamma(2, 10, 120)[groups]
    targets = list(zip(wet.tolist(), dry.tolist(), strict=True))
    index = index_of(targets, ("wet", "dry"), [f"g{number}" for number in groups])
    folds = make_folds(index, 4, seed=0)
    assert groups_spanning_folds(index, folds) == 0
    fold = folds.table["fold"].to_numpy()
    means = np.array([[column[fold == number].mean() for column in (wet, dry)] for number in range(4)])
    assert (means.std(0) / means.mean(0) < 0.05).all()


def test_what_folds_have_is_said_by_ranges():
    index = index_of(np.arange(100.0).tolist())
    folds = make_folds(index, 2, seed=0)
    rows = counts_by_fold(index, folds)
    assert rows[0]["labels"] == {f"tenth {n + 1}: {10 * n}..{10 * n + 9}": 5 for n in range(10)}
    assert rows[0]["labels"] == rows[1]["labels"]
    deviation = largest_deviation(index, folds)
    assert deviation.label.startswith("tenth ")
    both = index_of([(float(n), float(-n)) for n in range(40)], ("wet", "dry"))
    names = list(counts_by_fold(both, make_folds(both, 2, seed=0))[0]["labels"])
    assert (names[0], len(names)) == ("wet tenth 1: 0..3", 20)


def test_tenths_of_few_or_equal_numbers():
    assert REGRESSION.strata(np.zeros((7, 1)), 1).tolist() == [[True]] * 7
    three = REGRESSION.strata(np.array([[5.0], [1.0], [5.0]]), 1)
    assert three.sum(1).tolist() == [1, 1, 1]
    assert three.any(0).all()
    for count in (2, 3, 9):
        fold = make_folds(index_of(np.arange(float(count)).tolist()), 2, seed=0).table["fold"]
        assert np.ptp(np.bincount(fold)) <= 1


@pytest.mark.parametrize(
    ("targets", "names", "said"),
    [
        ([1.0, 2.0], ("height",), []),
        ([3.0, 3.0], ("height",), [CONSTANT.format("height 3")]),
        (
            [(1.0, 7.0), (2.0, 7.0)],
            ("wet", "dry"),
            [CONSTANT.format("dry 7")],
        ),
    ],
)
def test_numbers_that_never_differ_are_said(targets, names, said):
    index = index_of(targets, names)
    assert odd_labels(index) == said
    check = _labels(index)
    assert check.name == "targets"
    assert check.ok == (not said)
    assert check.result.startswith(f"{len(names) - len(said)} of {len(names)} with different numbers")


def test_figures_of_targets_are_those_of_numpy():
    values = numbers("skewed")
    figures = index_of(values.tolist()).target_figures()["height"]
    wanted = np.quantile(values.astype(np.float32), [0, 0.25, 0.5, 0.75, 1])
    names = ("lowest", "quartile 1", "median", "quartile 3", "highest")
    np.testing.assert_allclose([figures[name] for name in names], wanted, rtol=1e-6)
    assert figures["mean"] == pytest.approx(values.mean(), rel=1e-6)


def test_a_limit_draws_from_the_folds_and_what_is_said_before_training_is_of_numbers(capsys):
    index = index_of(numbers("skewed", 100).tolist())
    folds = Folds(pd.DataFrame({"id": index.train["id"], "fold": np.arange(100) % 4}), 4, 0, "")
    config = validate({"competition": "c", "dataset": "d", "loss": "mse", "folds": 4, "limit": 20})
    own, chosen = limited(index, folds, config, QUIET)
    assert len(own.train) == 20
    assert chosen.table["fold"].value_counts().tolist() == [5] * 4
    same = index_of([4.0] * 8)
    folds = Folds(pd.DataFrame({"id": same.train["id"], "fold": np.arange(8) % 2}), 2, 0, "")
    r2 = MetricSpec("r2", True, lambda target, values: float("nan"))
    whole = config.model_copy(update={"limit": None, "folds": 2})
    check_rows(same, folds, [0], [0, 0], whole, r2, QUIET)
    said = capsys.readouterr().err
    assert "fold 0 learns from one number alone (4): give a smaller --folds" in said
    assert "it validates on one number alone (4), for which r2 is undefined" in said
    assert "class" not in said
