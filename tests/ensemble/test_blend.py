"""Blending: each way against its formula, estimates that nothing flatters, refusals, runs that go on as others do."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls
from scipy.special import expit, logit
from scipy.stats import gmean
from sklearn.metrics import f1_score, roc_auc_score

from helpers.blend_runs import ROWS, TESTS, World, estimates, read
from kit.decision.thresholds import nested_f1
from kit.ensemble.blend import METHODS, best, combine, fit_weights, logit_mean, ranked
from kit.hooks.specs import MetricSpec
from kit.run import Run
from kit.task import BINARY, MULTICLASS, MULTILABEL

# Each way against its definition.


def test_ranks_are_shares_of_the_rows_of_a_fold():
    random = np.random.default_rng(0)
    values = random.integers(0, 6, (40, 2)).astype(np.float32) / 5  # many ties
    together = random.integers(0, 3, 40)
    found = ranked(values, together)
    for row in range(40):
        own = values[together == together[row]]
        below, equal = (own < values[row]).sum(0), (own == values[row]).sum(0)
        assert found[row] == pytest.approx((below + equal / 2) / len(own))
    assert ranked(np.array([[0.9], [0.1], [0.5], [0.1]]), np.zeros(4))[:, 0].tolist() == [0.875, 0.25, 0.625, 0.25]


def test_the_mean_of_ranks_does_not_see_how_a_fold_is_calibrated():
    random = np.random.default_rng(1)
    one, two, together = random.random((60, 1)), random.random((60, 1)), np.arange(60) % 3
    harsher = np.where(together[:, None] == 1, one**4, one)
    before = combine("rank", [one, two], BINARY, together, np.zeros(2))
    assert np.array_equal(before, combine("rank", [harsher, two], BINARY, together, np.zeros(2)))
    assert not np.allclose(before, combine("rank", [harsher, two], BINARY, together * 0, np.zeros(2)))


def test_the_mean_of_logits():
    random = np.random.default_rng(2)
    values = [random.random((50, 3)).astype(np.float32) for _ in range(3)]
    values[0][:2] = [[0, 1, 0.5], [1, 1, 1]]
    clipped = np.clip(np.asarray(values, np.float64), 1e-6, 1 - 1e-6)
    assert logit_mean(values, MULTILABEL) == pytest.approx(expit(logit(clipped).mean(0)), rel=1e-9)
    several = gmean(clipped, axis=0)
    assert logit_mean(values, MULTICLASS) == pytest.approx(several / several.sum(1, keepdims=True), rel=1e-9)


def test_weights_are_those_of_nnls_and_nested_without_their_part():
    random = np.random.default_rng(3)
    target = (random.random((80, 3)) < 0.3).astype(np.float32)
    values = [np.clip(target * s + random.random((80, 3)) * 0.7, 0, 1).astype(np.float32) for s in (0.4, 0.2, 0, 0.1)]
    parts = np.arange(80) % 4
    nested, everything = fit_weights(target, values, parts)

    def reference(rows: np.ndarray) -> np.ndarray:
        found, _ = nnls(np.stack([each[rows].ravel() for each in values], 1).astype(float), target[rows].ravel())
        return found / found.sum()

    assert everything == pytest.approx(reference(parts >= 0), abs=1e-7)
    assert nested == pytest.approx(np.stack([reference(parts != part) for part in range(4)]), abs=1e-7)
    assert (everything == 0).any()  # somebody is left out, by the constraint


def test_planted_weights_are_found():
    random = np.random.default_rng(4)
    a, b, useless = (random.random((200, 2)) for _ in range(3))
    nested, everything = fit_weights(0.7 * a + 0.3 * b, [a, useless, b], np.arange(200) % 2)
    assert everything == pytest.approx([0.7, 0, 0.3], abs=1e-9)
    assert nested == pytest.approx(np.array([[0.7, 0, 0.3]] * 2), abs=1e-9)


def test_weights_where_the_equations_are_no_help():
    random = np.random.default_rng(5)
    target, one, two = (random.random((60, 1)) < 0.5).astype(float), random.random((60, 1)), random.random((60, 1))
    parts = np.arange(60) % 3
    twice = fit_weights(target, [one, one, two], parts)[1]
    once = fit_weights(target, [one, two], parts)[1]
    assert twice.sum() == pytest.approx(1)
    assert (twice >= 0).all()
    assert [twice[0] + twice[1], twice[2]] == pytest.approx(once.tolist())
    assert fit_weights(target * 0, [one, two], parts)[1].tolist() == [0.5, 0.5]
    assert fit_weights(target, [one * 0, two * 0], parts)[1].tolist() == [0.5, 0.5]


def test_members_that_know_nothing_do_not_raise_the_nested_estimate():
    fitted, honest = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        target, parts = np.arange(60).reshape(-1, 1) % 2, random.permutation(60) % 5
        values = [random.random((60, 1)) for _ in range(12)]
        nested, everything = fit_weights(target, values, parts)
        for weights, scores in ((everything, fitted), (nested[parts], honest)):
            scores.append(roc_auc_score(target, combine("weights", values, BINARY, parts, weights)))
    assert np.mean(fitted) > 0.6
    assert np.mean(honest) < 0.53


def test_the_best_is_the_first_of_equals_in_the_metrics_own_direction():
    rows = [{"name": name, "estimate": value} for name, value in zip(METHODS, (np.nan, 0.5, 0.5, 0.4), strict=True)]
    assert best(rows, MetricSpec("up", True, roc_auc_score))["name"] == "rank"
    assert best(rows, MetricSpec("down", False, roc_auc_score))["name"] == "weights"
    assert best(rows[:1], MetricSpec("up", True, roc_auc_score))["name"] == "mean"


# The command.


def test_a_blend_is_a_run(kit, monkeypatch, tmp_path):
    world = World("binary", monkeypatch)
    a, b = world.run(3.0, 1), world.run(4.0, 2, rows=np.arange(ROWS)[::-1])
    document = kit("blend", a.id, b.path, "--json").json
    va, vb = world.values(3.0, 1)[0], world.values(4.0, 2)[0]
    ranks = np.empty(ROWS)
    for fold in range(3):
        own = world.fold == fold
        ranks[own] = sum(pd.Series(v[own, 0]).rank().to_numpy() - 0.5 for v in (va, vb)) / 2 / own.sum()
    weighted = np.empty(ROWS)
    for fold in range(3):
        own = world.fold == fold
        w, _ = nnls(np.column_stack([va[~own], vb[~own]]).astype(float), world.target[~own, 0])
        weighted[own] = (va[own, 0] * w[0] + vb[own, 0] * w[1]) / w.sum()
    by_hand = {a.id: va, b.id: vb, "mean": va + vb, "rank": ranks, "weights": weighted}
    by_hand["logit"] = logit(va.astype(float)) + logit(vb.astype(float))
    assert estimates(document) == pytest.approx({k: roc_auc_score(world.target, v) for k, v in by_hand.items()})
    methods = [row for row in document["estimates"] if row["kind"] == "method"]
    assert [row["name"] for row in methods] == list(METHODS)
    assert document["method"] == max(methods, key=lambda row: row["estimate"])["name"]

    run = Run.open(tmp_path / "runs" / document["run"])
    assert (document["path"], run.state, run.config.model) == (str(run.path), "finished", "blend")
    assert a.id in run.config.note
    assert b.id in run.config.note
    score = document["score"]
    assert run.record["score"] == score
    assert score["value"] == estimates(document)[document["method"]]
    assert score["low"] < score["value"] < score["high"]
    assert {key: score[key] for key in ("metric", "ids", "resampled")} == {
        "metric": "roc_auc",
        "ids": ROWS,
        "resampled": "id",
    }
    assert run.record["blend"] == {key: document[key] for key in run.record["blend"]}
    assert [member["name"] for member in run.record["blend"]["members"]] == [a.id, b.id]
    assert run.record["folds"] == a.record["folds"]
    assert run.reading("folds.csv").read_bytes() == a.reading("folds.csv").read_bytes()
    oof = read(run.id, "oof.npz", tmp_path / "runs")
    assert oof.ids.tolist() == world.ids.tolist()
    assert roc_auc_score(world.target, oof.values) == pytest.approx(score["value"])

    assert kit("blend", a.id, b.id, "--method", "mean", "--json").json["run"] != run.id
    listed = {row["run"]: row for row in kit("runs", "--json").json["runs"]}
    assert (listed[run.id]["folds"], listed[run.id]["score"]) == ("3/3", score["value"])
    compared = kit("runs", "--compare", a.id, run.id, "--json").json
    assert compared["comparable"]
    by_fold = [roc_auc_score(world.target[world.fold == k], oof.values[world.fold == k]) for k in range(3)]
    assert [compared["folds"][str(k)][1] for k in range(3)] == pytest.approx(by_fold)


@pytest.mark.parametrize("method", METHODS)
def test_test_predictions_are_combined_as_the_others(kit, monkeypatch, tmp_path, method):
    world = World("binary", monkeypatch)
    a, b = world.run(2.0, 1), world.run(2.5, 2)
    document = kit("blend", a.id, b.id, "--method", method, "--json").json
    assert document["method"] == method
    (va, ta), (vb, tb) = world.values(2.0, 1), world.values(2.5, 2)
    w, _ = nnls(np.column_stack([va, vb]).astype(float), world.target[:, 0])
    w /= w.sum()
    expected = {
        "mean": (ta + tb)[:, 0] / 2,
        "rank": (pd.Series(ta[:, 0]).rank() + pd.Series(tb[:, 0]).rank() - 1).to_numpy() / 2 / TESTS,
        "logit": expit((logit(ta) + logit(tb))[:, 0] / 2),
        "weights": (ta * w[0] + tb * w[1])[:, 0],
    }[method]
    test = read(document["run"], "test.npz", tmp_path / "runs")
    assert test.ids.tolist() == world.test_ids.tolist()
    assert test.values[:, 0] == pytest.approx(expected, abs=1e-6)
    weights = {a.id: pytest.approx(w[0]), b.id: pytest.approx(w[1])} if method == "weights" else None
    assert document["weights"] == weights


def test_several_classes_of_which_one_is_right(kit, monkeypatch, tmp_path):
    world = World("multiclass", monkeypatch)
    a, b = world.run(3.0, 1), world.run(3.0, 2)
    document = kit("blend", a.id, b.id, "--json").json
    va, vb = world.values(3.0, 1)[0], world.values(3.0, 2)[0]
    assert estimates(document)["mean"] == ((va + vb).argmax(1) == world.target).mean()
    assert estimates(document)["logit"] == ((np.log(va) + np.log(vb)).argmax(1) == world.target).mean()
    assert read(document["run"], "test.npz", tmp_path / "runs").classes == ("a", "b", "c")


def test_macro_f1_is_estimated_with_thresholds(kit, monkeypatch, tmp_path):
    world = World("multilabel", monkeypatch)
    a, b = world.run(2.5, 1), world.run(3.0, 2)
    document = kit("blend", a.id, b.id, "--method", "rank", "--json").json
    found = estimates(document)
    assert found[a.id] == nested_f1(world.target, world.values(2.5, 1)[0], world.fold, "per-class")
    oof = read(document["run"], "oof.npz", tmp_path / "runs").values
    assert found["rank"] == nested_f1(world.target, oof, world.fold, "per-class")
    assert found["rank"] != pytest.approx(f1_score(world.target, oof >= 0.5, average="macro", zero_division=0))
    score = document["score"]
    assert (score["metric"], score["value"]) == ("macro_f1", found["rank"])
    assert score["low"] < score["value"] < score["high"]
    out = kit("blend", a.id, b.id).out
    assert "macro_f1 with thresholds per class, nested" in out
    assert "next: kit thresholds" in out


def test_with_one_fold_the_parts_are_drawn(kit, monkeypatch):
    world = World("binary", monkeypatch)
    rows = np.flatnonzero(world.fold == 1)
    a, b = (world.run(3.0, seed, rows=rows, planned=[1]) for seed in (1, 2))
    document = kit("blend", a.id, b.id, "--method", "weights", "--json").json
    assert document["score"]["ids"] == len(rows)
    values = [world.values(3.0, seed)[0][rows] for seed in (1, 2)]
    everything = fit_weights(world.target[rows], values, np.zeros(len(rows), int))[1]
    fitted = roc_auc_score(world.target[rows], combine("weights", values, BINARY, rows, everything))
    assert estimates(document)["weights"] != fitted
    assert [row["folds"] for row in kit("runs", "--json").json["runs"]][-1] == "1/3"


def test_blends_blend_again_and_have_no_network(kit, monkeypatch):
    world = World("binary", monkeypatch)
    a, b, c = (world.run(3.0, seed) for seed in (1, 2, 3))
    first = kit("blend", a.id, b.id, "--method", "mean", "--json").json["run"]
    document = kit("blend", first, c.id, "--method", "mean", "--json").json
    va, vb, vc = (world.values(3.0, seed)[0] for seed in (1, 2, 3))
    assert estimates(document)["mean"] == pytest.approx(roc_auc_score(world.target, (va + vb) / 2 + vc))
    for words in (
        ("predict", first),
        ("evaluate", first),
        ("evaluate", first, "--fold", 0),
        ("train", "--resume", first),
    ):
        said = kit(*words, code=2).err
        assert f"run {first} is a blend of {a.id}, {b.id}, which has no network of its own" in said


def test_people_see_the_table_and_where_nothing_is_gained(kit, monkeypatch):
    world = World("binary", monkeypatch)
    good, bad = world.run(0.1, 1), world.run(50.0, 2)
    done = kit("blend", good.id, bad.id)
    assert f"no gain: {good.id} alone has 1.0000" in done.err
    assert all(word in done.out for word in (good.id, bad.id, "roc_auc", "rank", "logit", "weights", "kit submit"))
    assert "no gain" not in kit("blend", world.run(3.0, 3).id, world.run(3.0, 4).id, world.run(3.0, 5).id).err


def test_the_line_with_a_blend_in_it(kit, tmp_path):
    kit("download", "histo", "--miniature")
    for seed in (0, 1):
        run = kit("train", "histo", "--folds", 2, "--epochs", 1, "--size", 32, "--seed", seed, "--json").json["run"]
        kit("predict", run)
    runs = [row["run"] for row in kit("runs", "--json").json["runs"]]
    blended = kit("blend", *runs, "--json").json
    submitted = kit("submit", blended["run"], "--dry-run", "--json").json
    assert submitted["valid"]
    assert submitted["cross_validated"] == blended["score"]
    assert "blend" in kit("log", "histo").out
    csv = pd.read_csv(submitted["path"], dtype={"id": str})
    test = read(blended["run"], "test.npz", tmp_path / "runs").reorder(csv["id"].to_numpy())
    assert csv["label"].to_numpy() == pytest.approx(test.values[:, 0], abs=1e-6)
