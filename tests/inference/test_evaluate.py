"""`kit evaluate`: a metric stands under its own name, and labels that changed are said."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

from helpers.training_runs import made_once
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.decision.tune import Wish, tune_run
from kit.hooks.registry import Registry
from kit.hooks.specs import MetricSpec
from kit.inference.evaluate import evaluate
from kit.run import Run
from kit.runs import all_runs
from kit.scoring.predictions import Predictions

SILENT = Console(silent=True)
SEVENTH = 1 / 7  # what no figure of kit's own is


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Data and a run of two folds, made once."""
    return made_once(tmp_path_factory.mktemp("made"), "epochs=1")


@pytest.fixture
def run(made, tmp_path) -> Run:
    """A copy of it for one test."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return all_runs()[-1]


@pytest.mark.parametrize("name", ["f2", "f1", "recall", "precision", "specificity", "sensitivity"])
def test_a_metric_stands_under_its_own_name(kit, run, monkeypatch, name):
    own = MetricSpec(name, True, lambda target, prediction: SEVENTH)
    monkeypatch.setattr(OpenRun, "metric", own)
    document = evaluate(OpenRun(Registry(), run), None, None, 2.0, SILENT)
    assert document[name] == document["metrics"][name] == SEVENTH
    assert document["table"][name] != SEVENTH
    assert set(document["folds"].values()) == {SEVENTH}
    printed = kit("evaluate", run.id).out
    assert f"{document['table'][name]:.4f}" in printed.split("of the predicted classes")[1]
    assert f"{SEVENTH:.4f}" in printed.split("of the predicted classes")[0]


@pytest.mark.parametrize("name", ["run", "ids", "metrics", "table", "report", "confusion", "folds", "difference"])
def test_a_metric_that_is_called_like_a_part_of_the_document_is_among_the_metrics(run, monkeypatch, name):
    monkeypatch.setattr(OpenRun, "metric", MetricSpec(name, True, lambda target, prediction: SEVENTH))
    document = evaluate(OpenRun(Registry(), run), None, None, 2.0, SILENT)
    assert document["metrics"][name] == SEVENTH
    assert document[name] != SEVENTH


def test_a_cut_decides_metrics_of_classes_and_leaves_those_of_ranks(kit, run):
    oof = Predictions.load(run.path / "oof.npz")
    opened = OpenRun(Registry(), run)
    target = opened.index.targets_of(oof.ids)[:, 0] > 0
    before = kit("evaluate", run.id, "--metrics", "macro_f1,log_loss", "--json").json
    document = tune_run(opened, Wish(at="tumor=0.35"), SILENT)
    after = kit("evaluate", run.id, "--metrics", "macro_f1,log_loss", "--json").json
    predicted = oof.values[:, 0] >= 0.35
    assert after["f2"] == pytest.approx(fbeta_score(target, predicted, beta=2))
    assert after["macro_f1"] == after["f1"] == pytest.approx(document["estimate"]["value"])
    assert after["accuracy"] == after["table"]["accuracy"] == pytest.approx(np.mean(target == predicted))
    for name in ("roc_auc", "log_loss"):
        assert after[name] == before[name]
    at = kit("evaluate", run.id, "--metrics", "macro_f1", "--threshold", 0.35, "--json").json
    assert (at["macro_f1"], at["accuracy"]) == (after["macro_f1"], after["accuracy"])
    assert "did you mean log_loss" in kit("evaluate", run.id, "--metrics", "logloss", code=2).err


def test_labels_that_changed_after_the_run_are_said(kit, run, tmp_path):
    assert kit("evaluate", run.id, "--json").json["changed"] is None
    labels = next((tmp_path / "data").glob("*/train_labels.csv"))
    rows = labels.read_text().splitlines()
    rows[1] = rows[1][:-1] + str(1 - int(rows[1][-1]))
    labels.write_text("\n".join(rows) + "\n")
    kit("verify", "histo", "--accept", code=0)
    said = f"are not those that run {run.id} learned from"
    done = kit("evaluate", run.id, "--json")
    assert said in done.json["changed"]
    assert said in done.err
    report = kit("report", run.id, "--json")
    assert said in report.json["runs"][0]["notes"][0]
    assert said in report.err
    assert said in (run.path / "report.html").read_text()
    assert said in " ".join(kit("report", run.id, "--text").out.split())
