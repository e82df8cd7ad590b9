"""Four strangers' competitions, from the check of the data to the checked csv: the score is the competition's own."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, fbeta_score, log_loss, roc_auc_score

from helpers.stranger_competitions import CODES, GRADES, TAGS, TEST, TRAIN, draw
from helpers.strangers import leaves, loaded, use
from kit.config import validate
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.task import ORDINAL


def truth(name: str, root: Path, ids: np.ndarray) -> np.ndarray:
    """The targets of training ids, read from the raw folder alone."""
    if name == "cactus":
        return pd.read_csv(root / "train.csv").set_index("id")["has_cactus"].loc[ids].to_numpy()
    if name == "animals":
        return np.array([("cat", "dog", "yak").index(id_.split("/")[0]) for id_ in ids])
    if name == "retina":
        return pd.read_csv(root / "train.csv").set_index("id_code")["diagnosis"].loc[ids].to_numpy()
    tags = pd.read_csv(root / "train_v2.csv").set_index("image_name")["tags"].loc[ids]
    return np.array([[tag in text.split() for tag in TAGS] for text in tags], int)


SCORES = {
    "cactus": ("area", "area", lambda target, p: roc_auc_score(target, p[:, 0])),
    "animals": ("surprise", "log loss", lambda target, p: log_loss(target, p / p.sum(1, keepdims=True))),
    "forest": ("mean_f2", "mean_f2", lambda target, p: fbeta_score(target, p >= 0.5, beta=2, average="samples")),
    "retina": (
        "kappa",
        "quadratic kappa",
        lambda target, p: cohen_kappa_score(target, ORDINAL.predicted(p), weights="quadratic"),
    ),
}
FILES = {
    "cactus": ["id", "has_cactus"],
    "animals": ["file", "cat", "dog", "yak"],
    "forest": ["image_name", "tags"],
    "retina": ["id_code", "diagnosis"],
}


@pytest.mark.parametrize("name", CODES)
def test_from_check_to_csv_with_the_competitions_own_score(kit, tmp_path, monkeypatch, name):
    metric, label, score = SCORES[name]
    use(monkeypatch, tmp_path / "plugin", CODES[name], name, f"kit_{name}")
    draw(name, tmp_path / "raw")
    shutil.make_archive(str(tmp_path / name), "zip", tmp_path / "raw")
    assert kit("download", name, "--from", tmp_path / f"{name}.zip", "--json").json["train"] == TRAIN
    checked = kit("check", name, "--json").json
    assert checked["ok"]
    assert checked["images"] == {"train": TRAIN, "test": TEST}
    trained = kit("train", name)
    run = Run.open(next(path for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")))
    oof = Predictions.load(run.path / "oof.npz")
    own = score(truth(name, tmp_path / "raw", oof.ids), oof.values.astype(np.float64))
    assert run.score["metric"] == metric
    assert run.score["value"] == pytest.approx(own, rel=1e-5)
    assert f"out-of-fold {metric}: {own:.4f}" in trained.out + trained.err
    evaluated = kit("evaluate", "--json").json
    assert evaluated["metric"] == metric
    assert evaluated.get("metrics", evaluated)[metric] == pytest.approx(own, rel=1e-4)
    listed = kit("runs", "--json").json["runs"][0]
    assert (listed["metric"], listed["score"]) == (metric, pytest.approx(own, rel=1e-5))
    text = kit("report", "--text").out
    assert metric in text or label in text
    assert f"{own:.4f}" in text
    if name == "forest":
        tuned = kit("thresholds", "--json").json
        assert tuned["metric"] == metric
        assert Run.open(run.path).score["metric"] == metric
    kit("predict")
    submitted = kit("submit", "--dry-run", "--json").json
    assert submitted["valid"]
    table = pd.read_csv(submitted["path"], dtype=str, keep_default_na=False)
    assert list(table) == FILES[name]
    assert len(table) == TEST
    if name == "retina":
        assert set(table["diagnosis"]) <= set(map(str, range(len(GRADES))))


def test_each_is_explored_and_says_what_of_its_classes_is_known(kit, tmp_path, monkeypatch):
    use(monkeypatch, tmp_path / "plugin", CODES["animals"], "animals", "kit_animals")
    draw("animals", tmp_path / "raw")
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "raw")
    kit("download", "animals", "--from", tmp_path / "a.zip")
    assert kit("info", "animals", "--json").json["data"]["class_counts"] == {"cat": 16, "dog": 16, "yak": 16}
    assert kit("folds", "animals", "--folds", "3", "--json").json["groups_spanning_folds"] == 0


def test_a_worker_of_ray_names_the_plugin_too(monkeypatch, tmp_path):
    from kit.training import on_ray

    plugins = loaded(tmp_path, leaves() + "\n\ndef forward():\n    raise KeyError('x')\n")
    monkeypatch.setattr(on_ray, "load_plugins", lambda: plugins)
    monkeypatch.setattr(on_ray, "_train", lambda *arguments: sys.modules["kit_leaves"].forward())
    config = validate({"competition": "leaves", "dataset": "leaves", "loss": "cross_entropy"})
    failure = on_ray._task(str(tmp_path), 0, 1, 0, "", [], config)
    assert "the plugin leaves of kit-leaves failed at" in failure["text"]
    assert failure["code"] == 2
    monkeypatch.setattr(on_ray, "_train", lambda *arguments: {}["a fault of kit's own"])
    with pytest.raises(KeyError):
        on_ray._task(str(tmp_path), 0, 1, 0, "", [], config)
