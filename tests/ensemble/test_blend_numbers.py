"""Blending grades, whose cuts are tuned for each estimate, and numbers, which keep their unit."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, root_mean_squared_error

from helpers.blend_runs import TESTS, World, estimates, read
from helpers.report_runs import OWN
from kit.decision import grades
from kit.ensemble.number_weights import fit_number_weights


def test_grades_are_estimated_with_cuts(kit, monkeypatch, tmp_path):
    world = World("ordinal", monkeypatch)
    a, b = world.run(0.6, 1), world.run(0.7, 2)
    document = kit("blend", a.id, b.id, "--json").json
    found = estimates(document)
    assert [row["name"] for row in document["estimates"]] == [a.id, b.id, "mean", "logit", "weights"]
    values = {"mean": (world.values(0.6, 1)[0] + world.values(0.7, 2)[0]) / 2, a.id: world.values(0.6, 1)[0]}
    for name, each in values.items():
        answers = grades.nested(world.target, each, world.fold, OWN["ordinal"])
        assert found[name] == cohen_kappa_score(world.target, answers, weights="quadratic")
    assert document["scored_by"] == f"{OWN['ordinal'].name} with cuts between grades, nested"
    test = read(document["run"], "test.npz", tmp_path / "runs").values
    assert test.sum(1) == pytest.approx(np.ones(TESTS), abs=1e-5)
    assert "next: kit thresholds" in kit("blend", a.id, b.id).out
    assert "tuned" in kit("thresholds", document["run"], "--json").json["methods"]
    assert "--method rank does not fit the task ordinal" in kit("blend", a.id, b.id, "--method", "rank", code=2).err


def test_numbers_are_averaged_in_their_own_unit(kit, monkeypatch, tmp_path):
    world = World("regression", monkeypatch)
    a, b = world.run(0.4, 1), world.run(0.6, 2)
    document = kit("blend", a.id, b.id, "--json").json
    (va, ta), (vb, tb) = world.values(0.4, 1), world.values(0.6, 2)
    found = estimates(document)
    assert list(found) == [a.id, b.id, "mean", "weights"]
    assert found["mean"] == pytest.approx(root_mean_squared_error(world.target, (va + vb) / 2))
    assert found[a.id] == pytest.approx(root_mean_squared_error(world.target, va))
    assert document["method"] == "weights"
    share = document["weights"][a.id]
    assert share + document["weights"][b.id] == pytest.approx(1)
    assert 0.5 < share < 1, "the better one weighs more"
    test = read(document["run"], "test.npz", tmp_path / "runs").values
    assert test == pytest.approx(share * ta + (1 - share) * tb, rel=1e-5)
    assert "kit submit" in kit("blend", a.id, b.id).out
    for method in ("rank", "logit"):
        said = kit("blend", a.id, b.id, "--method", method, code=2).err
        assert f"--method {method} does not fit the task regression" in said


def test_numbers_of_another_tool_have_no_bounds(kit, monkeypatch, tmp_path):
    world = World("regression", monkeypatch)
    run = world.run(0.4, 1)
    oof, test = world.csv(tmp_path / "oof.csv", 0.6, 2, fold=True), world.csv(tmp_path / "test.csv", 0.6, 2, test=True)
    found = estimates(kit("blend", run.id, "--oof", oof, "--test", test, "--json").json)
    assert found[str(oof)] == pytest.approx(root_mean_squared_error(world.target, world.values(0.6, 2)[0]))
    table = pd.read_csv(oof)
    table.iloc[3, 1] = np.nan
    table.to_csv(oof, index=False)
    assert "give finite numbers" in kit("blend", run.id, "--oof", oof, "--test", test, code=2).err


def test_weights_of_numbers_are_the_best_by_trying_all():
    random = np.random.default_rng(8)
    target = random.normal(50, 10, (300, 1))
    values = [target + spread * random.normal(size=target.shape) + 1 for spread in (4, 6, 20)]
    parts = np.arange(300) % 3

    def score(rows: np.ndarray, weights: np.ndarray) -> float:
        return -float(np.abs(target[rows] - sum(w * v[rows] for w, v in zip(weights, values, strict=True))).mean())

    nested, everything = fit_number_weights(target, values, parts, score)
    tried = [np.array([x, y, 1 - x - y]) for x in np.linspace(0, 1, 51) for y in np.linspace(0, 1 - x, 51)]
    assert score(np.arange(300), everything) > max(score(np.arange(300), each) for each in tried) - 0.01
    for part in range(3):
        assert nested[part].sum() == pytest.approx(1)
        assert (nested[part] >= 0).all()
        rows = np.flatnonzero(parts != part)
        own = [each[rows] for each in values]
        alone = fit_number_weights(target[rows], own, np.arange(len(rows)) % 2, score_of(rows, score))[1]
        assert nested[part] == pytest.approx(alone)


def score_of(rows: np.ndarray, score: Any) -> Any:
    return lambda chosen, weights: score(rows[chosen], weights)
