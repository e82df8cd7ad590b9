"""The numbers of `kit report`, against scikit-learn and against what was worked out by hand."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from helpers.report_runs import Leaves
from kit.console import Console
from kit.hooks.registry import Registry
from kit.reports.page.confusion import IMAGES, MOST, confusion
from kit.reports.page.curves import BINS, Ranked, calibration, class_curve, macro_roc, thinned
from kit.reports.page.document import document_of, subjects_of
from kit.reports.page.scored import Scored
from kit.reports.page.suspects import find_suspects
from kit.task import TASKS


def scored(task: str, truth: np.ndarray, probabilities: np.ndarray, decided: np.ndarray) -> Scored:
    rows, classes = truth.shape
    target = truth.astype(float) if task == "multilabel" else truth.argmax(1)
    values = probabilities[:, 1:] if task == "binary" else probabilities
    return Scored(
        TASKS[task],
        tuple(f"c{number}" for number in range(classes)),
        np.array([f"i{row}" for row in range(rows)], object),
        np.zeros(rows, int),
        truth,
        decided,
        probabilities,
        TASKS[task].losses(target, values),
    )


def single(rows: int, classes: int, seed: int = 0) -> Scored:
    """A multiclass task whose answer is the likeliest class."""
    random = np.random.default_rng(seed)
    truth = np.eye(classes, dtype=bool)[random.integers(0, classes, rows)]
    probabilities = random.dirichlet(np.ones(classes), rows) * 0.6 + truth * 0.4 * random.random((rows, 1))
    probabilities /= probabilities.sum(1, keepdims=True)
    return scored("multiclass", truth, probabilities, np.eye(classes, dtype=bool)[probabilities.argmax(1)])


@pytest.mark.parametrize("digits", [1, 2, 9])
@pytest.mark.parametrize("seed", range(4))
def test_areas_and_curves_are_scikit_learns(digits, seed):
    random = np.random.default_rng(seed)
    truth = random.random(300) < 0.3
    values = np.round(np.clip(truth * 0.2 + random.random(300) * 0.8, 0, 1), digits)  # few digits make ties
    ranked = Ranked.of(truth, values)
    assert ranked.auc == pytest.approx(metrics.roc_auc_score(truth, values), abs=1e-12)
    assert ranked.average_precision == pytest.approx(metrics.average_precision_score(truth, values), abs=1e-12)
    false, true = ranked.roc()
    assert metrics.auc(false, true) == pytest.approx(ranked.auc, abs=1e-12)
    theirs = zip(*metrics.roc_curve(truth, values, drop_intermediate=False)[:2], strict=True)
    assert set(zip(false.tolist(), true.tolist(), strict=True)) <= set(theirs)
    precision, recall, cuts = metrics.precision_recall_curve(truth, values)
    at = {cut: (r, p) for p, r, cut in zip(precision, recall, cuts, strict=False)}
    assert [at[cut] for cut in ranked.cuts] == list(zip(*ranked.precision_recall().tolist(), strict=True))


def test_counts_at_thresholds_are_those_of_a_comparison():
    values = np.array([0.0, 0.005, 0.25, 0.25, 0.5, 0.995, 1.0], np.float32)
    truth = np.array([0, 1, 0, 1, 1, 0, 1], bool)
    thresholds = np.arange(201) / 200
    found = class_curve(truth, values, thresholds, 200)
    for step, threshold in enumerate(thresholds):
        assert found["true"][step] == (values[truth] >= threshold).sum()
        assert found["false"][step] == (values[~truth] >= threshold).sum()
    assert (found["positives"], found["negatives"]) == (4, 3)


def test_a_class_without_positives_or_without_negatives_has_no_area():
    values, thresholds = np.array([0.2, 0.7]), np.array([0.5])
    none = class_curve(np.zeros(2, bool), values, thresholds, 9)
    assert (none["auc"], none["average_precision"], none["roc"], none["pr"]) == (None, None, None, None)
    assert (none["true"], none["false"]) == ([0], [1])
    every = class_curve(np.ones(2, bool), values, thresholds, 9)
    assert (every["auc"], every["roc"], every["average_precision"]) == (None, None, 1.0)


def test_a_thinned_curve_stays_within_a_hundredth():
    random = np.random.default_rng(0)
    truth = random.random(20_000) < 0.4
    ranked = Ranked.of(truth, truth * 0.3 + random.random(20_000))
    whole = ranked.roc()
    thin = thinned(whole, whole.sum(0), 200)
    assert thin.shape[1] <= 202
    assert (thin[:, 0] == 0).all()
    assert (thin[:, -1] == 1).all()
    rates = np.linspace(0, 1, 999)
    assert np.abs(np.interp(rates, *thin) - np.interp(rates, *whole)).max() < 0.011


def test_the_macro_curve_is_the_mean_of_the_classes():
    one, two = {"roc": [[0, 0, 1], [0, 1, 1]]}, {"roc": [[0, 1], [0, 1]]}
    rates, mean = macro_roc([one, two, {"roc": None}], 5)
    assert rates == [0, 0, 0.25, 0.5, 0.75, 1]
    assert mean == [0, 0.5, 0.625, 0.75, 0.875, 1]


def test_the_calibration_error_worked_by_hand():
    # (0.06, 0.04] lie in the first bin, 0.9 and 1.0 in the last two: |0.1 - 1| + |0.9 - 1| + |1 - 0| over 4 rows.
    found = calibration(np.array([0.04, 0.06, 0.9, 1.0]), np.array([True, False, True, False]))
    assert found["ece"] == pytest.approx((0.9 + 0.1 + 1.0) / 4)
    assert [(bin_["rows"], bin_["confidence"], bin_["right"]) for bin_ in found["bins"]] == [
        (2, pytest.approx(0.05), 0.5),
        (1, pytest.approx(0.9), 1.0),
        (1, pytest.approx(1.0), 0.0),
    ]
    assert calibration(np.array([0.0, 1 / BINS]), np.array([False, False]))["bins"][0]["rows"] == 2


def test_the_calibration_curve_is_scikit_learns():
    random = np.random.default_rng(1)
    values = random.random(2000)
    right = random.random(2000) < values**2
    theirs = calibration_curve(right, values, n_bins=BINS)
    ours = calibration(values, right)["bins"]
    assert [bin_["right"] for bin_ in ours] == pytest.approx(theirs[0])
    assert [bin_["confidence"] for bin_ in ours] == pytest.approx(theirs[1])


def test_suspects_worked_by_hand():
    # Rows labelled 0 have 0.9, 0.6 and 0.2 for it: 0.5667 on average; rows labelled 1 have 0.8 and 0.5: 0.65.
    one = np.array([0.1, 0.4, 0.8, 0.8, 0.5])
    truth = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]], bool)
    found = find_suspects(TASKS["binary"], truth, np.column_stack([1 - one, one]))
    # Only the third row is said to be of another class: the last one reaches neither mean.
    assert [suspect[:3] for suspect in found] == [(2, 0, 1)]
    assert found[0][3] == pytest.approx(0.6)
    # A class that no row is labelled as is no one's suspect, however likely.
    three = np.column_stack([1 - one, one, np.ones(5)])
    assert [suspect[:3] for suspect in find_suspects(TASKS["multiclass"], np.pad(truth, ((0, 0), (0, 1))), three)] == [
        (2, 0, 1)
    ]


def test_suspects_of_a_multilabel_task_are_asked_label_by_label():
    truth = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], bool)
    values = np.array([[0.9, 0.1], [0.1, 0.8], [0.2, 0.9], [0.3, 0.95]])
    found = find_suspects(TASKS["multilabel"], truth, values)
    assert [suspect[:3] for suspect in found] == [(3, 1, 1), (1, 0, 0)]
    assert [suspect[3] for suspect in found] == pytest.approx([0.9, 0.8])


def test_the_confusion_matrix_is_scikit_learns_and_its_cells_hold_the_worst_first():
    run = single(400, 4)
    found = confusion(run)
    theirs = metrics.confusion_matrix(run.truth.argmax(1), run.predicted.argmax(1))
    assert found["counts"] == theirs.tolist()
    assert found["support"] == theirs.sum(1).tolist()
    for row in range(4):
        for column in range(4):
            own = [n for n in range(400) if run.truth[n, row] and run.predicted[n, column]]
            own.sort(key=lambda n: -run.losses[n])
            assert found["cells"].get(f"{row},{column}", []) == [f"i{n}" for n in own[:IMAGES]]
    counts = [pair["count"] for pair in found["pairs"]]
    assert counts == sorted((theirs[r, c] for r in range(4) for c in range(4) if r != c and theirs[r, c]), reverse=True)


def test_the_confusion_of_many_classes_shows_those_that_are_most_confused():
    run = single(3000, 50)
    found = confusion(run)
    theirs = metrics.confusion_matrix(run.truth.argmax(1), run.predicted.argmax(1), labels=range(50))
    assert len(found["classes"]) == MOST == len(found["counts"])
    assert found["counts"] == theirs[np.ix_(found["classes"], found["classes"])].tolist()
    np.fill_diagonal(theirs, 0)
    most = np.unravel_index(theirs.argmax(), theirs.shape)
    assert (found["pairs"][0]["truth"], found["pairs"][0]["predicted"]) == most
    assert set(most) <= set(found["classes"])
    assert all(f"{pair['truth']},{pair['predicted']}" in found["cells"] for pair in found["pairs"])


def test_the_confusion_between_labels():
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool)
    decided = np.array([[0, 1, 0], [1, 1, 0], [1, 0, 0]], bool)
    found = confusion(scored("multilabel", truth, np.full((3, 3), 0.5), decided))
    # i0 lacks label 0 and has 1 instead, i1 is right, i2 lacks label 2 and has 0 instead.
    assert found["counts"] == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert found["cells"] == {"0,0": ["i1"], "0,1": ["i0"], "1,1": ["i1"], "2,0": ["i2"]}


@pytest.mark.parametrize(
    ("task", "classes"), [("binary", ["no", "yes"]), ("multiclass", list("abc")), ("multilabel", list("abcd"))]
)
def test_the_table_of_classes_and_the_summary_are_scikit_learns(task, classes, tmp_path, monkeypatch):
    leaves = Leaves(task, classes, 300, tmp_path, monkeypatch)
    values = leaves.values(2.5)
    run = leaves.run(values)
    report = document_of(subjects_of(Registry(), [run], Console(json=True)), Console(json=True))["runs"][0]
    if task == "multiclass":
        target, answer = leaves.hot.argmax(1), values.argmax(1)
    else:
        target, answer = leaves.hot.astype(int), (values >= 0.5).astype(int)
        target, answer = (each[:, 0] if task == "binary" else each for each in (target, answer))
    theirs = metrics.classification_report(
        target, answer, labels=range(len(classes)), target_names=classes, output_dict=True, zero_division=0
    )
    for row in report["by_class"]:
        own, number = theirs[classes[row["class"]]], row["class"]
        assert (row["precision"] or 0, row["recall"], row["f1"]) == pytest.approx(
            (own["precision"], own["recall"], own["f1-score"])
        )
        assert row["support"] == own["support"]
        hot = leaves.hot[:, number] if task != "binary" else leaves.hot[:, 0] == number
        says = values[:, number] if task != "binary" else (values if number else 1 - values)[:, 0]
        assert row["auc"] == pytest.approx(metrics.roc_auc_score(hot, says))
        assert row["average_precision"] == pytest.approx(metrics.average_precision_score(hot, says))
    macro = theirs["yes"] if task == "binary" else theirs["macro avg"]
    assert [report["summary"][key] for key in ("precision", "recall", "f1")] == pytest.approx(
        [macro["precision"], macro["recall"], macro["f1-score"]]
    )
    assert report["summary"]["accuracy"] == pytest.approx(metrics.accuracy_score(target, answer))
    labels = None if task == "multilabel" else list(range(len(classes)))
    wide = np.column_stack([1 - values, values]) if task == "binary" else values
    loss = (
        metrics.log_loss(target, wide, labels=labels)
        if labels
        else np.mean([metrics.log_loss(leaves.hot[:, k], values[:, k]) for k in range(4)])
    )
    assert report["summary"]["cross_entropy"] == pytest.approx(loss, rel=1e-5)
    if task != "binary":
        assert report["curves"]["micro"]["auc"] == pytest.approx(
            metrics.roc_auc_score(leaves.hot, values, average="micro")
        )
        assert report["curves"]["macro"]["auc"] == pytest.approx(
            metrics.roc_auc_score(leaves.hot, values, average="macro")
        )
    # The operating point is that of the answers.
    for curve in report["curves"]["classes"]:
        row = report["by_class"][curve["class"]]
        assert curve["point"]["true"] + curve["point"]["false"] == row["predicted"]
        assert curve["point"]["true"] == pytest.approx(row["recall"] * row["support"])
    assert (
        report["top_losses"][0]
        == leaves.ids[np.argmax(TASKS[task].losses(leaves.hot if task != "multiclass" else target, values))]
    )
