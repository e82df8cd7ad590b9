"""Grades and numbers, from a miniature to the checked csv: the two examples, as their authors would use them."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.dummy import DummyRegressor
from sklearn.metrics import cohen_kappa_score, r2_score, root_mean_squared_error

from helpers import ROOT
from helpers.strangers import use
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.task import ORDINAL

BIOMASS, RETINA = ("clover", "grass"), 5
KNOWN = 'frames[1].drop(columns="target")'


@pytest.fixture
def example(monkeypatch, tmp_path, kit):
    """Make an example's plugin known, draw its miniature and return its folder."""

    def make(name: str):
        code = (ROOT / "examples" / f"kit-{name}" / f"kit_{name}.py").read_text(encoding="utf-8")
        assert KNOWN in code
        code = code.replace(KNOWN, "frames[1]")  # a test frame with targets serves as well
        use(monkeypatch, tmp_path / "plugin", code, name, f"kit_{name}")
        kit("download", name, "--miniature")
        return tmp_path / "data" / name

    return make


def only_run(tmp_path) -> Run:
    (path,) = (path for path in (tmp_path / "runs").iterdir() if not path.name.startswith("."))
    return Run.open(path)


@pytest.mark.parametrize("loss", ["coral", pytest.param("ordinal_mse", marks=pytest.mark.slow)])
def test_grades_from_miniature_to_csv(kit, tmp_path, example, loss):
    root = example("retina")
    kit("train", "retina", "--folds", "2", "--epochs", "3", "--set", f"loss={loss}", "--set", "ema=0.8")
    run = only_run(tmp_path)
    oof = Predictions.load(run.path / "oof.npz")
    np.testing.assert_allclose(oof.values.sum(1), 1, atol=1e-5)
    grades = pd.read_csv(root / "train.csv").set_index("id_code")["diagnosis"].loc[oof.ids]
    own = cohen_kappa_score(grades, np.floor(oof.values @ np.arange(RETINA) + 0.5), weights="quadratic")
    assert run.score["value"] == pytest.approx(own)
    assert own > 0.4
    # The loss's own weights are loaded with the network's.
    evaluated = kit("evaluate", "--json").json
    assert evaluated["difference"] < 1e-6
    assert evaluated["metrics"]["quadratic_kappa"] == pytest.approx(own)
    kit("predict", "--tta", "2")
    submitted = kit("submit", "--dry-run", "--json").json
    assert submitted["valid"]
    table = pd.read_csv(submitted["path"])
    assert table["id_code"].tolist() == pd.read_csv(root / "sample_submission.csv")["id_code"].tolist()
    found = Predictions.load(run.path / "test.npz").reorder(table["id_code"].tolist())
    assert table["diagnosis"].tolist() == ORDINAL.predicted(found.values).tolist()
    shown = ("models", "small_cnn", "--layers", "--competition", "retina", "--json", "--set")
    logits = {name: kit(*shown, f"loss={name}").json["outputs"] for name in ("cross_entropy", "coral", "corn")}
    assert logits == {"cross_entropy": RETINA, "coral": 1, "corn": RETINA - 1}
    # A rule's grades are what is written then.
    kit("thresholds", "--method", "tuned")
    tuned = pd.read_csv(kit("submit", "--dry-run", "--json").json["path"])["diagnosis"]
    assert set(tuned) <= set(range(RETINA))


def test_numbers_from_check_to_csv(kit, tmp_path, example):
    root = example("biomass")
    checked = kit("check", "biomass", "--json").json
    truth = pd.read_csv(root / "train.csv").set_index("id")
    assert checked["classes"] == {}
    assert checked["targets"]["grass"]["median"] == pytest.approx(truth["grass"].median(), rel=1e-6)
    assert kit("info", "biomass", "--json").json["data"]["targets"] == checked["targets"]
    said = kit("info", "biomass").out + kit("check", "biomass").out + kit("folds", "biomass", "--folds", "2").out
    assert "class" not in said
    kit("train", "biomass", "--folds", "2", "--epochs", "5")
    run = only_run(tmp_path)
    oof = Predictions.load(run.path / "oof.npz")
    truth = truth.loc[oof.ids].to_numpy()
    # History and predictions are in grams; nobody else sees the scale.
    history = pd.read_csv(run.path / "fold-0" / "history.csv")
    fold = pd.read_csv(run.path / "folds.csv", header=0).set_index("id").iloc[:, 0].loc[oof.ids].to_numpy()
    own = fold == 0
    errors = root_mean_squared_error(truth[own], oof.values[own], multioutput="raw_values")
    assert history["RMSE"].iloc[-1] == pytest.approx(errors.mean(), rel=1e-4)
    assert run.score["value"] == pytest.approx(r2_score(truth.ravel(), oof.values.ravel()), rel=1e-5)
    # Better than the mean of what each fold has learned from.
    for number in (0, 1):
        own = fold == number
        mean = DummyRegressor().fit(np.zeros((sum(~own), 1)), truth[~own]).predict(np.zeros((sum(own), 1)))
        ours, theirs = (
            root_mean_squared_error(truth[own], values, multioutput="raw_values") for values in (oof.values[own], mean)
        )
        assert (ours < 0.8 * theirs).all()
    # The scale is saved with the weights.
    evaluated = kit("evaluate", "--json").json
    assert evaluated["difference"] < 1e-3
    assert evaluated["metrics"]["weighted_r2"] == pytest.approx(run.score["value"], rel=1e-5)
    kit("predict", "--tta", "2")
    submitted = kit("submit", "--dry-run", "--json").json
    assert submitted["valid"]
    table = pd.read_csv(submitted["path"])
    assert list(table) == ["id", *BIOMASS]
    found = Predictions.load(run.path / "test.npz").reorder(table["id"].tolist())
    np.testing.assert_allclose(table[list(BIOMASS)], found.values.clip(0), rtol=1e-4)
    # Each image has its own prediction, though the test frame has targets too: the redder, the more clover.
    red = [np.asarray(Image.open(root / "test" / f"{name}.jpg"))[..., 0].mean() for name in table["id"]]
    assert np.corrcoef(red, table["clover"])[0, 1] > 0.9
    start = ("train", "biomass", "--folds", "2", "--set", f"init={run.id}")
    assert "bounds must be the same" in kit(*start, "--set", "bounds=0..900", code=2).err
    assert "predicts numbers" in kit("pseudo-label", "--out", tmp_path / "p.csv", code=2).err
    assert "no nearest class" in kit("predict", "--nearest", code=2).err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["sampler=balanced"], "sampler is for classes, and a regression predicts numbers: --set sampler=uniform"),
        (["class_weights=balanced"], "--set class_weights=none"),
        (["bounds=0..10"], "outside the bounds 0..10"),
        (["loss=focal"], "loss focal is for binary, multilabel, multiclass, ordinal tasks"),
    ],
)
def test_what_makes_no_sense_for_numbers_is_one_line_and_leaves_nothing(kit, tmp_path, example, settings, message):
    example("biomass")
    done = kit("train", "biomass", *(word for each in settings for word in ("--set", each)), code=2)
    assert message in done.err
    assert done.err.count("error:") == 1
    assert not list((tmp_path / "runs").glob("[!.]*"))
