"""The page of grades and of numbers: each figure against scikit-learn or numpy; what makes no sense is not there."""

import json

import numpy as np
import pytest
from scipy.stats import median_abs_deviation
from sklearn.metrics import cohen_kappa_score, confusion_matrix, mean_absolute_error, r2_score, root_mean_squared_error

from helpers.report_runs import Leaves
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.decision.answers import Answers
from kit.hooks.registry import Registry
from kit.reports.page.document import document_of, subjects_of
from kit.reports.page.gallery import EACH, picked
from kit.run import Run

GRADES = ["No DR", "Mild", "Moderate", "Severe", "Proliferative"]
OF_CLASSES = {"curves", "by_class", "confusion", "calibration", "grades"}


def report_of(run: Run) -> dict:
    return document_of(subjects_of(Registry(), [run], Console(json=True)), Console(json=True))["runs"][0]


def test_grades_are_decided_by_the_cuts_everywhere(kit, tmp_path, monkeypatch):
    leaves = Leaves("ordinal", GRADES, 1200, tmp_path, monkeypatch)
    values = leaves.values(0.7)
    run = leaves.run(values)
    rounded = np.floor(values.astype(float) @ np.arange(5) + 0.5).astype(int)
    plain = report_of(run)
    assert plain["confusion"]["counts"] == confusion_matrix(leaves.target, rounded).tolist()
    assert plain["grades"]["cuts"] == [0.5, 1.5, 2.5, 3.5]
    document = kit("thresholds", run.id, "--method", "tuned", "--json").json
    found = report_of(Run.open(run.path))
    assert found["headline"]["value"] == document["estimate"]["value"]
    assert found["summary"]["quadratic_kappa"] == pytest.approx(document["estimate"]["value"])
    assert found["grades"]["cuts"] == document["methods"]["tuned"]["cuts"]
    decided = Answers(OpenRun(Registry(), Run.open(run.path))).answers.argmax(1)
    assert found["confusion"]["counts"] == confusion_matrix(leaves.target, decided).tolist()
    assert cohen_kappa_score(leaves.target, decided, weights="quadratic") == pytest.approx(found["headline"]["value"])
    assert found["summary"]["grades_off"] == pytest.approx(mean_absolute_error(leaves.target, decided))
    assert [sum(row) for row in found["grades"]["counts"]] == np.bincount(leaves.target, minlength=5).tolist()
    assert "Mild from" in kit("report", run.id, "--text").out


def test_of_grades_decided_by_argmax_there_are_no_cuts(kit, tmp_path, monkeypatch):
    leaves = Leaves("ordinal", GRADES, 300, tmp_path, monkeypatch)
    values = leaves.values(0.7)
    run = leaves.run(values)
    kit("thresholds", run.id, "--method", "argmax")
    found = report_of(Run.open(run.path))
    assert found["grades"]["cuts"] is None
    assert found["confusion"]["counts"] == confusion_matrix(leaves.target, values.argmax(1)).tolist()
    assert "grades by the expected grade" not in kit("report", run.id, "--text").out


@pytest.mark.parametrize("names", [["weight"], ["clover", "grass", "moss"]])
def test_figures_of_numbers_are_those_of_scikit_learn(kit, tmp_path, monkeypatch, names):
    leaves = Leaves("regression", names, 900, tmp_path, monkeypatch)
    values = leaves.values(0.4)
    found = report_of(leaves.run(values))
    assert not OF_CLASSES & set(found)
    truth = leaves.target.astype(np.float64)
    residual = values.astype(np.float64) - truth
    for place, row in enumerate(found["numbers"]):
        own, guess = truth[:, place], values[:, place].astype(np.float64)
        expected = {
            "rmse": root_mean_squared_error(own, guess),
            "mae": mean_absolute_error(own, guess),
            "r2": r2_score(own, guess),
            "bias": residual[:, place].mean(),
        }
        assert {key: row[key] for key in expected} == pytest.approx(expected)
        shares = np.quantile(residual[:, place], [0.05, 0.25, 0.5, 0.75, 0.95])
        assert list(row["quantiles"].values()) == pytest.approx(shares)
        for fold in range(3):
            rows = leaves.fold == fold
            assert row["folds"][str(fold)]["r2"] == pytest.approx(r2_score(own[rows], guess[rows]))
        assert sum(count for *_, count in row["fit"]["counts"]) == 900
        assert len(row["fit"]["counts"]) <= row["fit"]["cells"] ** 2
        assert sum(row["residuals"]["counts"]) == 900
        assert sum(part["rows"] for part in row["spread"]) == 900
        lowest = np.argsort(guess, kind="stable")[:90]
        assert row["spread"][0]["quantiles"][2] == pytest.approx(np.median(residual[lowest, place]))
    figures = {"r2": r2_score(truth, values)} if len(names) > 1 else {"rmse", "mae", "r2", "bias"}
    assert set(found["summary"]) == set(figures)
    assert found["summary"]["r2"] == pytest.approx(r2_score(truth, values))
    losses = (np.square(residual) / truth.std(0) ** 2).mean(1)
    assert found["top_losses"] == leaves.ids[np.argsort(-losses, kind="stable")[:24]].tolist()
    sample = found["samples"][found["top_losses"][0]]
    worst = losses.argmax()
    assert sample["truth"] == [[place, pytest.approx(number)] for place, number in enumerate(truth[worst].tolist())]
    assert sample["loss"] == pytest.approx(losses[worst], rel=1e-5)
    out = kit("report", "--text").out
    assert all(word in out for word in (*names, "RMSE", "quantiles of the residuals", "top losses"))
    assert not any(word in out for word in ("F1", "precision", "confused", "AUC"))


def test_labels_far_from_what_is_predicted_are_suspect(tmp_path, monkeypatch):
    leaves = Leaves("regression", ["weight", "height"], 400, tmp_path, monkeypatch)
    values = leaves.values(0.2)
    values[7, 1] += 40 * values[:, 1].std()
    values[100, 0] -= 30 * values[:, 0].std()
    found = report_of(leaves.run(values))["suspects"]
    assert [(each["id"], each["target"]) for each in found["shown"][:2]] == [("000007", 1), ("000100", 0)]
    residual = values.astype(np.float64) - leaves.target
    far = np.abs(residual - np.median(residual, 0)) / median_abs_deviation(residual, 0, scale="normal")
    assert found["shown"][0]["distance"] == pytest.approx(far[7, 1], rel=1e-3)
    assert (found["count"], found["of"]) == ((far >= 3.5).sum(), 800)


def test_the_page_is_no_larger_for_more_numbers(tmp_path, monkeypatch):
    sizes = []
    for rows in (2000, 20_000):
        leaves = Leaves("regression", ["weight"], rows, tmp_path, monkeypatch)
        sizes.append(len(json.dumps(report_of(leaves.run(leaves.values(0.5)))["numbers"])))
    assert sizes[1] < 1.5 * sizes[0]


def test_images_to_explain_are_those_of_the_largest_and_the_smallest_errors(tmp_path, monkeypatch):
    leaves = Leaves("regression", ["weight"], 60, tmp_path, monkeypatch)
    values = leaves.values(0.5)
    subject = subjects_of(Registry(), [leaves.run(values)], Console(json=True))[0]
    order = leaves.ids[np.argsort(-np.abs(values - leaves.target)[:, 0], kind="stable")].tolist()
    assert picked(subject.scored) == [*order[:EACH], *order[::-1][:EACH]]
    assert len(set(picked(subject.scored))) == 2 * EACH


@pytest.mark.parametrize(("task", "classes"), [("ordinal", GRADES), ("regression", ["weight"])])
def test_runs_of_grades_and_numbers_are_compared_and_logged(kit, tmp_path, monkeypatch, task, classes):
    leaves = Leaves(task, classes, 60, tmp_path, monkeypatch)
    one, two = (leaves.run(leaves.values(0.5), seed=seed) for seed in (1, 2))
    assert kit("runs", "--compare", one.id, two.id, "--json").json["comparable"]
    assert one.id in kit("runs").out
    document = kit("report", one.id, two.id, "--out", tmp_path / "both", "--json").json
    assert len(document["runs"]) == 2
    assert document["comparison"]["comparable"]
