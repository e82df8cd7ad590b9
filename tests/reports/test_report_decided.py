"""One run, one number: page, terminal, lists and explanations show what rules decide that have not seen the image."""

import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from helpers.report_runs import METRIC, Leaves
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.decision.answers import Answers
from kit.decision.rule import nesting_folds
from kit.decision.thresholds import nested
from kit.files import write_json
from kit.hooks.registry import Registry
from kit.reports.page.document import document_of, subjects_of
from kit.run import Run
from kit.scoring.apart import apart
from kit.scoring.predictions import Predictions

SILENT = Console(silent=True)


def of_one_fold(leaves: Leaves, run: Run, values: np.ndarray) -> np.ndarray:
    """Leave only fold 0 of a run; return which rows it predicted."""
    own = leaves.fold == 0
    with run.writing("oof.npz") as path:
        Predictions(leaves.ids[own], leaves.index.output_names, values[own]).save(path)
    for fold in (1, 2):
        (run.fold_dir(fold) / "result.json").unlink()
    run.update(planned=[0])
    return own


def test_a_run_of_one_fold_shows_the_nested_number_everywhere(kit, tmp_path, monkeypatch):
    leaves = Leaves("multilabel", list("abcd"), 240, tmp_path, monkeypatch)
    values = leaves.values(6.0)
    run = leaves.run(values)
    own = of_one_fold(leaves, run, values)
    tuned = kit("thresholds", run.id, "--method", "per-class", "--json").json
    parts = nesting_folds(np.zeros(own.sum(), int), np.arange(own.sum()))
    by_hand = nested("per-class", leaves.hot[own], values[own], parts)
    estimate = f1_score(leaves.hot[own], by_hand, average="macro", zero_division=0)
    assert tuned["methods"]["per-class"]["fitted"] > estimate + 0.01, "or the test could not fail"
    report = kit("report", run.id, "--text", "--json").json["runs"][0]
    shown = [report["headline"]["value"], report["decision"]["value"], report["summary"]["f1"]]
    assert [*shown, report["folds"][0]["score"], report["mean_over_folds"]] == pytest.approx([estimate] * 5)
    assert [row["predicted"] for row in report["by_class"]] == by_hand.sum(0).tolist()
    assert report["notes"] == []
    assert kit("report", run.id, "--text").out.count(f"{estimate:.4f}") >= 3
    assert kit("runs", "--json").json["runs"][0]["score"] == pytest.approx(estimate)


def test_a_rule_that_has_seen_the_rows_is_said(kit, tmp_path, monkeypatch):
    leaves = Leaves("multilabel", list("abcd"), 240, tmp_path, monkeypatch)
    values = leaves.values(6.0)
    run = leaves.run(values)
    of_one_fold(leaves, run, values)
    kit("thresholds", run.id)
    path = run.path / "thresholds.json"
    document = json.loads(path.read_text())
    write_json(path, {**{key: document[key] for key in ("oof", "decision", "rule")}, "by_fold": {}})  # an earlier kit's
    (note,) = kit("report", run.id, "--text", "--json").json["runs"][0]["notes"]
    assert "tuned on the very rows" in note
    assert f"kit thresholds {run.id}" in note
    assert note in " ".join(kit("report", run.id, "--text").out.split())


@pytest.mark.parametrize(("task", "method"), [("multilabel", "share"), ("multilabel", "one"), ("binary", "f-beta")])
@pytest.mark.parametrize("folds", [1, 3])
def test_single_images_have_the_answer_of_the_report(kit, tmp_path, monkeypatch, task, method, folds):
    classes = ["no", "yes"] if task == "binary" else list("abcd")
    leaves = Leaves(task, classes, 240, tmp_path, monkeypatch)
    values = leaves.values(6.0)
    run = leaves.run(values)
    own = of_one_fold(leaves, run, values) if folds == 1 else np.ones(240, bool)
    kit("thresholds", run.id, "--method", method)
    (subject,) = subjects_of(Registry(), [run], SILENT)
    answers = Answers(OpenRun(Registry(), run))
    rows = np.flatnonzero(own)[::7]  # a rule by share must not look at these alone
    for fold in np.unique(leaves.fold[rows]).tolist():
        some = rows[leaves.fold[rows] == fold]
        ids, places = leaves.ids[some].tolist(), [subject.scored.row_of[id_] for id_ in leaves.ids[some]]
        by_class = leaves.index.task.by_class(values[some])
        assert answers.of(ids, fold, by_class).tolist() == subject.scored.predicted[places].tolist()


def test_answers_of_other_images_are_those_of_the_rule_of_all(kit, tmp_path, monkeypatch):
    leaves = Leaves("multilabel", list("abcd"), 240, tmp_path, monkeypatch)
    run = leaves.run(leaves.values(6.0))
    kit("thresholds", run.id, "--method", "share")
    cuts = kit("report", run.id, "--text", "--json").json["runs"][0]["by_class"]
    answers = Answers(OpenRun(Registry(), run))
    just = np.array([[row["threshold"] for row in cuts]])
    assert answers.of(["t1"], 0, just + 1e-6).tolist() == [[True] * 4]
    assert answers.of(["t1"], 0, np.array([[0, 0, 1e-9, 0]])).tolist() == [[False, False, True, False]]


def test_several_runs_on_a_page_show_each_run_s_own_number(kit, tmp_path, monkeypatch):
    leaves = Leaves("multilabel", list("abcd"), 240, tmp_path, monkeypatch)
    runs = [leaves.run(leaves.values(noise), seed=number) for number, noise in enumerate((5.0, 6.0))]
    kit("thresholds", runs[0].id)
    document = kit("report", *(run.id for run in runs), "--text", "--json").json
    comparison = document["comparison"]
    for number, report in enumerate(document["runs"]):
        assert comparison["score"][number]["value"] == report["headline"]["value"]
        assert comparison["means"][number] == report["mean_over_folds"]
        assert [comparison["folds"][str(fold)][number] for fold in range(3)] == [
            each["score"] for each in report["folds"]
        ]
    assert comparison["decided"] == [document["runs"][0]["decision"]["method"], None]
    listed = {row["run"]: row["score"] for row in kit("runs", "--json").json["runs"]}
    assert [listed[run.id] for run in runs] == [report["headline"]["value"] for report in document["runs"]]
    assert "decision rule" in kit("runs", "--compare", *(run.id for run in runs)).out


def test_a_cut_of_a_binary_run_changes_its_figures_and_not_its_score(kit, tmp_path, monkeypatch):
    leaves = Leaves("binary", ["no", "yes"], 240, tmp_path, monkeypatch)
    values = leaves.values(5.0)
    run = leaves.run(values)
    before = Run.open(run.path).score
    tuned = kit("thresholds", run.id, "--sensitivity", 0.9, "--json").json
    report = kit("report", run.id, "--text", "--json").json["runs"][0]
    assert report["headline"] == report["score"] == before
    assert report["decision"]["metric"] == "sensitivity"
    assert report["summary"]["recall"] == pytest.approx(tuned["estimate"]["value"])
    cut = tuned["methods"]["sensitivity"]["cut"]
    assert report["curves"]["classes"][0]["point"]["threshold"] == cut
    # The highest cut that finds nine of ten: every positive above it counts, and with one fewer there are not enough.
    hot = leaves.hot[:, 0] > 0
    assert (values[hot, 0] >= cut).mean() >= 0.9 > (values[hot, 0] > values[hot & (values[:, 0] >= cut)].min()).mean()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sensitivity", 0.9, "--cost", 5), "both choose the rule"),
        (("--sensitivity", 0.9, "--at", "yes=0.4"), "both choose the rule"),
        (("--method", "cost"), "--cost NUMBER"),
        (("--method", "share"), "does not fit leaves"),
        (("--at", "no=0.4"), "no class with a probability"),
        (("--at", "yes=2"), "above 0 and up to 1"),
        (("--at", "yes=x"), "above 0 and up to 1"),
        (("--at", "yes=0.3,yes=0.4"), "given twice"),
        (("--at", "yes"), "yes has no cut: write yes=0.3"),
        (("--at", "1.5"), "above 0 and up to 1"),
        (("--sensitivity", 1.5), "--sensitivity"),
    ],
)
def test_wrong_wishes_are_one_line(kit, tmp_path, monkeypatch, words, said):
    run = (leaves := Leaves("binary", ["no", "yes"], 90, tmp_path, monkeypatch)).run(leaves.values(3.0))
    err = kit("thresholds", run.id, *words, code=2).err
    assert said in err
    assert err.count("\n") == 1
    assert not (run.path / "thresholds.json").exists()


BY_HAND = {
    "binary": ("yes=0.3", lambda values: values[:, 0] >= np.float32(0.3)),
    "multilabel": ("a=0.3,c=0.7", lambda values: _with_most_likely(values, [0.3, 0.5, 0.7, 0.5])),
    "multiclass": ("a=0.2,b=0.5", lambda values: _first_that_reach(values)),
}


def _with_most_likely(values, cuts):
    predicted = values >= np.array(cuts, np.float32)
    return predicted | (~predicted.any(1, keepdims=True) & np.eye(4, dtype=bool)[values.argmax(1)])


def _first_that_reach(values):
    answers = []
    for a, b, c, d in values:
        reached = {0: a / 0.2 if a >= np.float32(0.2) else 0, 1: b / 0.5 if b >= 0.5 else 0}
        answers.append(max(reached, key=reached.get) if any(reached.values()) else 2 + (d > c))
    return np.array(answers)


@pytest.mark.parametrize("task", BY_HAND)
def test_cuts_by_hand_are_scored_like_the_tuned_ones(kit, tmp_path, monkeypatch, task):
    classes = ["no", "yes"] if task == "binary" else list("abcd")
    leaves = Leaves(task, classes, 240, tmp_path, monkeypatch)
    leaves.store.competition.metric = {"multiclass": "balanced_accuracy"}.get(task, METRIC[task])
    values = leaves.values(6.0)
    run = leaves.run(values)
    text, predict = BY_HAND[task]
    tuned = kit("thresholds", run.id, "--at", text, "--json").json
    predicted = predict(values)
    if task == "binary":
        wanted = f1_score(leaves.hot[:, 0], predicted)
    elif task == "multilabel":
        wanted = f1_score(leaves.hot, predicted, average="macro", zero_division=0)
    else:
        wanted = balanced_accuracy_score(leaves.hot.argmax(1), predicted)
    assert tuned["chosen"] == "at"
    assert tuned["methods"]["at"]["fitted"] == pytest.approx(wanted), "nothing is tuned"
    assert tuned["estimate"]["value"] == pytest.approx(wanted)
    assert len(tuned["methods"]) > 1, "beside the tuned ones"
    (subject,) = subjects_of(Registry(), [Run.open(run.path)], SILENT)
    assert subject.scored.predicted.tolist() == leaves.index.task.one_hot(predicted, len(classes)).tolist()
    report = document_of([subject], SILENT)["runs"][0]
    assert report["notes"] == []
    assert (report["headline"].get("method") == "at") == (task != "binary"), "ROC AUC does not see a cut"


@pytest.mark.parametrize(
    ("name", "value", "folds", "said"),
    [
        ("roc_auc", 0.84, [1.0, 1.0], True),
        ("roc_auc", 0.84, [1.0, 0.8], True),  # below the mean
        ("roc_auc", 0.95, [0.96, 0.95], False),
        ("roc_auc", 0.84, [1.0], False),
        ("roc_auc", 0.84, [1.0, None], False),
        ("roc_auc", None, [1.0, 1.0], False),
        ("log_loss", 0.9, [0.2, 0.3], True),
        ("log_loss", 0.25, [0.2, 0.3], False),
        ("macro_f1", 0.6, [0.4, 0.5], False),  # a class that one fold lacks lowers that fold
    ],
)
def test_folds_calibrated_apart_are_said(name, value, folds, said):
    text = apart(Registry().metrics.get(name), value, folds)
    assert bool(text) == said
    if said:
        assert f"{value:.4f}" in text
        assert f"{np.mean(folds):.4f}" in text


def test_folds_calibrated_apart_are_on_the_page_and_the_mean_ranks_runs(kit, tmp_path, monkeypatch):
    leaves = Leaves("binary", ["no", "yes"], 90, tmp_path, monkeypatch)
    run = leaves.run(leaves.values(1.0))
    for fold in range(3):
        write_json(run.fold_dir(fold) / "result.json", {"metric": "roc_auc", "score": 1.0, "seconds": 1.0})
    run.update(score={**run.record["score"], "ranked_by": "folds"})
    report = kit("report", run.id, "--text", "--json").json["runs"][0]
    assert "calibrated apart" in report["notes"][0]
    assert (report["headline"]["value"], report["mean_over_folds"], report["ranking"]) == (0.8, 1.0, 1.0)
    other = leaves.run(leaves.values(1.0), seed=1)
    other.update(score={**other.record["score"], "ranked_by": "folds"})
    out = kit("runs", "--compare", run.id, other.id).out
    assert "-> mean over folds" in out
    assert "-> all out-of-fold" not in out


def test_further_metrics_are_computed_on_request(kit, tmp_path, monkeypatch):
    leaves = Leaves("binary", ["no", "yes"], 90, tmp_path, monkeypatch)
    values = leaves.values(2.0)
    run = leaves.run(values)
    report = kit("report", run.id, "--text", "--metrics", "log_loss,accuracy", "--json").json["runs"][0]
    assert report["metrics"]["accuracy"] == report["summary"]["accuracy"]
    assert report["metrics"]["log_loss"] == pytest.approx(report["summary"]["cross_entropy"], rel=1e-5)
    assert "did you mean log_loss" in kit("report", run.id, "--text", "--metrics", "logloss", code=2).err
    assert "does not fit the binary task" in kit("report", run.id, "--text", "--metrics", "top_2_accuracy", code=2).err
