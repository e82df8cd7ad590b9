"""The whole line of HAM10000: quickly on the miniature, as issue 8 judges it on the real images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from kit.scoring.predictions import Predictions
from kit_ham10000.miniature import test_truth as truth_of_sample

NAME = "skin-cancer-mnist-ham10000"


def test_the_line_with_json_everywhere(kit, tmp_path):
    assert kit("download", "ham", "--miniature", "--json").json["origin"] == "miniature"
    checked = kit("check", "ham10000", "--json").json
    assert checked["ok"]
    assert "of a random 5-fold split" in checked["checks"][0]["result"]
    pictures = {Path(row["path"]).stem for row in kit("explore", "ham10000", "--json").json["pictures"]}
    assert {
        "label-frequency",
        "images-per-lesion",
        "age-by-class",
        "site-by-class",
        "class-grids",
        "metadata-unknown",
    } <= pictures
    folds = kit("folds", "ham10000", "--folds", 3, "--verify", "--json").json
    assert (folds["grouped_by"], folds["groups_spanning_folds"]) == ("lesion", 0)
    trained = kit("train", "ham10000", "--folds", 3, "--epochs", 4, "--set", "metadata=true", "--json").json
    run = Path(trained["path"])
    header = (run / "fold-0" / "history.csv").read_text().splitlines()[0].split(",")
    assert {"balanced", "accuracy", "F1", "AUC", "top 2", "log loss"} <= set(header)
    warned = kit("predict", "--tta", 2, "--scales", "1,1.25")
    assert "metadata" in warned.err, "the test images have no metadata"
    first = kit("submit", "--dry-run", "--json").json
    assert (first["valid"], [finding["level"] for finding in first["findings"]]) == (True, ["warning"])
    tuned = kit("thresholds", "--json").json
    assert set(tuned["methods"]) == {"largest", "prior", "power", "weights"}
    assert tuned["estimate"]["value"] == max(way["estimate"] for way in tuned["methods"].values())
    assert kit("runs", "--json").json["runs"][0]["score"] == tuned["estimate"]["value"]
    evaluated = kit("evaluate", "--json").json
    # Each fold by the rule that has not seen it: the nested estimate itself.
    assert evaluated["balanced_accuracy"] == pytest.approx(tuned["estimate"]["value"], abs=1e-9)
    assert evaluated["recall"] == pytest.approx(tuned["estimate"]["value"], abs=1e-9)
    assert {"macro_f1", "roc_auc", "top_2_accuracy", "log_loss"} <= set(evaluated)
    assert evaluated["macro_f1"] == pytest.approx(evaluated["f1"], abs=1e-9), (
        "both of the classes that the rule decides"
    )
    assert "recall nested" in kit("thresholds", "--method", "prior").out
    submitted = kit("submit", "ham10000", "--json").json
    assert (submitted["sent"], submitted["valid"], submitted["findings"]) == (False, True, [])
    table = pd.read_csv(submitted["path"])
    truth = tmp_path / "truth.csv"
    truth_of_sample(0).to_csv(truth, index=False)
    graded = kit("grade", "ham10000", "--truth", truth, "--json").json
    known = pd.read_csv(truth).set_index("image_id")["dx"].str.upper().loc[table["image"]]
    answers = table.set_index("image").idxmax(axis="columns")
    assert graded["value"] == pytest.approx(balanced_accuracy_score(known, answers))
    assert f"official {graded['value']:.5g}" in kit("log", "ham10000").out
    predicted = Predictions.load(run / "test.npz").reorder(table["image"].to_numpy(object))
    counts = np.array([sum(row["labels"][name] for row in folds["folds"]) for name in predicted.classes])
    by_hand = predicted.values.astype(np.float64) / (counts / counts.sum())
    assert np.allclose(table.iloc[:, 1:].to_numpy(), by_hand / by_hand.sum(1, keepdims=True), atol=1e-5)


def test_grade_needs_a_csv_and_a_competition_that_has_a_truth(kit, tmp_path):
    truth = tmp_path / "truth.csv"
    assert "no run of ham10000 with a submission" in kit("grade", "ham10000", "--truth", truth, code=2).err
    assert "no csv at" in kit("grade", "ham10000", "--truth", truth, "--file", tmp_path / "no.csv", code=2).err
    (tmp_path / "some.csv").write_text("image\n")
    assert (
        "no ground truth at" in kit("grade", "ham10000", "--truth", truth, "--file", tmp_path / "some.csv", code=2).err
    )
    assert "give it with --truth" in kit("grade", "ham10000", "--file", tmp_path / "some.csv", code=2).err
    assert "exclude each other" in kit("grade", "ham10000", "--truth", truth, "--file", truth, "--run", "x", code=2).err


def test_the_patches_of_histopathology_are_graded_too(kit, tmp_path):
    pd.DataFrame({"id": list("abcd"), "label": [0.1, 0.4, 0.35, 0.8]}).to_csv(tmp_path / "given.csv", index=False)
    pd.DataFrame({"id": list("dcba"), "label": [1, 1, 0, 0]}).to_csv(tmp_path / "truth.csv", index=False)
    graded = kit("grade", "histo", "--truth", tmp_path / "truth.csv", "--file", tmp_path / "given.csv", "--json").json
    assert (graded["metric"], graded["value"], graded["scores"]["accuracy"]) == ("roc_auc", 0.75, 0.75)
    pd.DataFrame({"id": list("abc"), "label": [0, 1, 1]}).to_csv(tmp_path / "other.csv", index=False)
    assert (
        "do not list the same ids"
        in kit("grade", "histo", "--truth", tmp_path / "other.csv", "--file", tmp_path / "given.csv", code=2).err
    )


@pytest.mark.slow
def test_the_judged_line_on_the_real_images(kit, archives):
    """Issue 8: one network above fastai's `fine_tune` (.439 plain, .449 with TTA), and the estimate holds."""
    truth = archives / "answers" / "ISIC2018_Task3_Test_GroundTruth.csv"
    kit(
        "download", "ham10000", "--from", archives / f"{NAME}.zip", "--from", archives / "ISIC2018_Task3_Test_Input.zip"
    )
    assert kit("check", "ham10000", "--json").json["ok"]
    kit("train", "ham10000", "--folds", 5, "--model", "efficientnet_lite0", "--size", 128, "--epochs", 5)

    def score(*words: object) -> float:
        kit("predict", *words)
        assert kit("submit", "--dry-run", "--json").json["valid"]
        graded: float = kit("grade", "ham10000", "--truth", truth, "--json").json["value"]
        return graded

    one, one_tta, ensemble = score("--fold", 0, "--tta", 1), score("--fold", 0, "--tta", 8), score("--tta", 8)
    tuned = kit("thresholds", "--json").json["estimate"]
    decided = score("--tta", 8)
    print(
        f"one network {one:.4f}, with TTA {one_tta:.4f}; five {ensemble:.4f}, decided {decided:.4f}; "
        f"estimate {tuned['value']:.4f} [{tuned['low']:.4f}, {tuned['high']:.4f}]"
    )
    assert one > 0.439
    assert one_tta > 0.449
    assert ensemble > 0.449
    assert abs(decided - tuned["value"]) <= 0.05 or tuned["low"] <= decided <= tuned["high"]
