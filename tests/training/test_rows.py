"""Which rows a run has: a limited number, and what is said of them before training."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.training_runs import begin, go
from kit.config import validate
from kit.console import Console
from kit.data.folds import Folds
from kit.data.index import Index
from kit.data.open_run import OpenRun
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.hooks.specs import MetricSpec
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.training.rows import check_rows, fold_rows, limited
from kit.training.start import idle_settings
from kit.training.train import forecast_of

QUIET = Console(json=True)
QUICK = ("--folds", 2, "--size", 32, "--model", "small_cnn", "--no-pretrained", "--batch-size", 8, "--epochs", 1)


def data(targets, folds, groups=None, rows=1):
    """An index of `rows` samples an id, and folds; targets and folds by id."""
    ids = [f"i{number}" for number in range(len(targets))]
    frame = pd.DataFrame({"id": np.repeat(ids, rows), "target": np.repeat(targets, rows)})
    frame["files"] = [(name,) for name in frame["id"]]
    frame["cell"] = ["ab"[number % 2] for number in range(len(frame))]
    table = pd.DataFrame({"id": ids, "fold": folds})
    if groups is not None:
        frame["group"], table["group"] = np.repeat(groups, rows), groups
    by = "" if groups is None else "slide"
    index = Index(".", "binary", ("no", "yes"), frame, frame[["id", "files"]][:0], grouped_by=by)
    return index, Folds(table, max(folds) + 1, 0, by)


def config(**values):
    return validate({"competition": "c", "dataset": "d", "loss": "bce", "batch_size": 8, "folds": 2, **values})


def auc(target, prediction):
    positives, negatives = prediction[target == 1], prediction[target == 0]
    return float((positives[:, None] > negatives).mean()) if len(positives) and len(negatives) else float("nan")


AUC = MetricSpec("auc", True, auc)
ACCURACY = MetricSpec("accuracy", True, lambda target, prediction: float(((prediction > 0.5) == target).mean()))


@pytest.mark.parametrize("limit", [10, 37, 100, 399])
def test_a_limit_draws_evenly_from_folds_and_classes(limit):
    random = np.random.default_rng(0)
    index, folds = data((random.uniform(size=400) < 0.2).astype(int), random.integers(0, 5, 400).tolist(), rows=2)
    own, chosen = limited(index, folds, config(limit=limit), QUIET)
    assert own.train["id"].nunique() == len(chosen.table) == limit
    assert len(own.train) == 2 * limit, "an id keeps its rows"
    assert (chosen.of_ids(chosen.table["id"]) == folds.of_ids(chosen.table["id"])).all(), "each id keeps its fold"
    everything = index.train.drop_duplicates("id").assign(fold=folds.of_ids(index.train["id"].unique()))
    drawn = own.train.drop_duplicates("id").assign(fold=chosen.table["fold"].to_numpy())
    for part, rows in everything.groupby(["fold", "target"]):
        count = int(((drawn["fold"] == part[0]) & (drawn["target"] == part[1])).sum())
        assert abs(count - limit * len(rows) / 400) <= 1.5
        assert count >= 1


def test_a_limit_depends_on_the_seed_alone():
    index, folds = data([0, 1] * 50, [0, 0, 1, 1] * 25)
    draws = [limited(index, folds, config(limit=20, seed=seed), QUIET)[1].table["id"].tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_each_fold_gets_an_id_of_the_rows_chosen_by_only():
    index, folds = data([0] * 40 + [1] * 40, [0] * 4 + [1] * 76)
    own, chosen = limited(index, folds, config(limit=3, only="cell=a"), QUIET)
    assert set(own.train["cell"]) == {"a"}
    assert set(chosen.table["fold"]) == {0, 1}


@pytest.mark.parametrize("limit", [None, 80, 1000])
def test_no_limit_changes_nothing(limit):
    index, folds = data([0, 1] * 40, [0, 1] * 40)
    assert limited(index, folds, config(limit=limit), QUIET) == (index, folds)


def test_a_limit_below_the_folds_is_refused():
    index, folds = data([0, 1] * 40, list(range(5)) * 16)
    with pytest.raises(KitError, match="--limit 10 or more"):
        limited(index, folds, config(limit=4), QUIET)


def test_a_limited_run_is_a_run_like_any(kit, store):
    done = kit("train", "histo", *QUICK, "--limit", 40, "--json")
    assert "limit: 40 of 240 training ids" in done.err
    assert done.json["score"]["ids"] == 40
    run = Run.open(Path(done.json["path"]))
    assert run.config.limit == 40
    assert len(Predictions.load(run.reading("oof.npz")).ids) == 40
    assert not list(store.own.glob("packed/*-train-*")), "the training images are read from their files"
    assert kit("evaluate", "--json").json["difference"] == 0
    assert kit("predict", "--json").json["ids"] == len(store.index().test)
    kit("submit", "--dry-run")
    kit("report", "--text")
    assert "limit" in kit("config", run.id).out
    # A pack of all images stays what it was.
    kit("pack", "histo", "--size", 32, "--split", "train")
    pack = sorted(store.own.glob("packed/*-train-*"))
    kit("train", "histo", *QUICK, "--limit", 20)
    assert sorted(store.own.glob("packed/*-train-*")) == pack


def test_a_limited_run_resumes(store):
    run = begin(store, "limit=40", "epochs=1")
    assert go(store, run)["score"]["ids"] == 40
    assert set(OpenRun(Registry(), Run.open(run.path)).index.train["id"]) == set(
        pd.read_csv(run.path / "folds.csv")["id"]
    )


def test_a_limit_can_t_be_given_to_a_run_that_exists(kit, store):
    run = begin(store, "limit=40", "epochs=1")
    assert "drop --limit" in kit("train", "--resume", run.id, "--limit", 20, code=2).err


# ------------------------------------------------------------------ what is said before training

REFUSED = {
    "two ids": ({"targets": [0, 1], "folds": [0, 1]}, {}, "1 image, .* 2 or more: add images"),
    "two groups": ({"targets": [0, 1, 1], "folds": [0, 1, 1], "groups": ["a", "b", "b"]}, {}, "fold 1 .*: add images"),
    "a third group": ({"targets": [0, 1, 1], "folds": [0, 1, 1]}, {}, "fold 1 .*: --folds 3"),
    "only": ({"targets": [0, 1] * 4, "folds": [0, 1, 1, 1] * 2}, {"only": "cell=a"}, None),
    "only few": ({"targets": [0, 1] * 2, "folds": [0, 1, 1, 0]}, {"only": "cell=a"}, "1 image.*: choose more rows"),
    "limit": ({"targets": [0, 1], "folds": [0, 1]}, {"limit": 2}, "1 image.*: --limit 4 or more"),
}


@pytest.mark.parametrize(("made", "values", "said"), REFUSED.values(), ids=REFUSED)
def test_a_training_part_of_one_image_is_refused(made, values, said):
    index, folds = data(**made)
    arguments = (index, folds, [0, 1], [0, 0], config(**values), ACCURACY, QUIET)
    if said is None:
        check_rows(*arguments)
    else:
        with pytest.raises(KitError, match=said):
            check_rows(*arguments)
        check_rows(index, folds, [0, 1], [1, 1], *arguments[4:])  # an external image beside it


ONE_CLASS = {
    "one id of the class": (
        {"targets": [1] + [0] * 7, "folds": [0, 1] * 4},
        {},
        "only one id has yes: add images",
    ),
    "one group": (
        {"targets": [1, 1] + [0] * 6, "folds": [0] * 4 + [1] * 4, "groups": list("aabbcccc")},
        {},
        "only one slide has yes",
    ),
    "fewer than folds": (
        {"targets": [1, 0, 1] + [0] * 6, "folds": [0, 1, 2] * 3},
        {},
        "only 2 ids have yes: give --folds 2",
    ),
    "unlucky folds": ({"targets": [1] * 4 + [0] * 6, "folds": [0] * 6 + [1] * 4}, {}, "kit folds c --folds 2 --seed 1"),
    "limit": ({"targets": [1] * 4 + [0] * 6, "folds": [0] * 6 + [1] * 4}, {"limit": 9}, "--limit 18 or more"),
    "one class in all": ({"targets": [0] * 8, "folds": [0, 1] * 4}, {}, "all rows are no"),
}


@pytest.mark.parametrize(("made", "values", "mend"), ONE_CLASS.values(), ids=ONE_CLASS)
def test_a_fold_of_one_class_is_reported_where_the_metric_needs_two(made, values, mend, capsys):
    index, folds = data(**made)
    check_rows(index, folds, [1], [0, 0, 0], config(**values), AUC, QUIET)
    said = capsys.readouterr().err
    assert "fold 1: it validates on one class alone (no), for which auc is undefined" in said
    assert mend in said
    check_rows(index, folds, [1], [0, 0, 0], config(**values), ACCURACY, QUIET)
    assert "validates" not in capsys.readouterr().err, "accuracy has a value for one class"


def test_a_fold_that_learns_one_class_is_reported(capsys):
    index, folds = data([1] * 4 + [0] * 6, [0] * 4 + [1] * 6)
    check_rows(index, folds, [0], [0, 0], config(), ACCURACY, QUIET)
    assert "fold 0 learns from one class alone (no)" in capsys.readouterr().err
    check_rows(index, folds, [0], [3, 3], config(), ACCURACY, QUIET)
    assert not capsys.readouterr().err, "external images may have the others"


def test_training_says_it_before_it_begins(kit, store):
    """One image of ten has a tumour, so one fold has none."""
    table = pd.read_csv(store.root / "train_labels.csv", dtype=str)
    kept = pd.concat([table[table["label"] == "0"].head(9), table[table["label"] == "1"].head(1)])
    kept.to_csv(store.root / "train_labels.csv", index=False)
    for path in (store.root / "train").glob("*.tif"):
        if path.stem not in set(kept["id"]):
            path.unlink()
    shutil.rmtree(store.own / "folds", ignore_errors=True)
    kit("verify", "histo", "--accept")
    done = kit("train", "histo", *QUICK, "--set", "patience=1", "--epochs", 4, "--json")
    assert "validates on one class alone (normal), for which roc_auc is undefined" in done.err
    undefined = next(fold for fold, result in done.json["folds"].items() if result["score"] is None)
    rows = Run.open(Path(done.json["path"])).history(int(undefined))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4], "an undefined metric does not end a fold"


@pytest.mark.parametrize("command", ["train", "lr-find"])
def test_a_batch_of_one_is_told_of_batch_norm(kit, store, command):
    settings = [f"--set={each}" for each in ("batch_size=1", "size=32", "model=small_cnn", "pretrained=false")]
    said = kit(command, "histo", *settings, code=2).err
    assert "batch norm can't learn from a batch of 1 image: --batch-size 2 or more" in said
    assert "process" not in said


# ------------------------------------------------------------------ the forecast


def test_the_forecast_counts_the_rows_that_only_selects(store, monkeypatch):
    run = begin(store, "epochs=3")
    opened = OpenRun(Registry(), run)
    whole = forecast_of(opened, opened.index, [0, 1], QUIET).images
    train, valid = (
        sum(len(part[which]) for part in (fold_rows(opened.index, opened.folds, fold, None) for fold in (0, 1)))
        for which in (0, 1)
    )
    assert whole == pytest.approx(3 * (train + valid / 3))
    half = opened.index.train.assign(side=["left", "right"] * 120)
    opened.__dict__["index"] = opened.index.__class__(**{**opened.index.__dict__, "train": half})
    opened.config = opened.config.model_copy(update={"only": "side=left"})
    assert forecast_of(opened, opened.index, [0, 1], QUIET).images == pytest.approx(whole / 2, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"probabilities": "rotate=0.5,zoom=0.3", "zoom": 0.1}, ["probabilities: rotate is off"]),
        ({"probabilities": "brightness_range=0.5"}, ["probabilities: brightness_range is off"]),
        ({"probabilities": "flip=0.5", "flip": True}, []),
        ({"track_network": True}, ["track_network shows nothing"]),
        ({"track_network": True, "trackers": ["tensorboard"]}, []),
        (
            {"pixels": "gpu", "graphs": True},
            ["graphs changes nothing, since", "pixels=gpu changes nothing, since"],
        ),
        ({"pixels": "host"}, []),
    ],
)
def test_a_setting_that_changes_nothing_is_named(settings, said):
    lines = idle_settings(validate({"competition": "x", "dataset": "x", "loss": "bce", **settings}))
    assert [line[: len(begin)] for line, begin in zip(lines, said, strict=True)] == said


@pytest.mark.parametrize("host", [{"pack": False}, {"limit": 9}, {"external": "x.csv"}, {"augment": "x.json"}])
def test_pixels_that_the_host_must_make_are_named(host, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    settings = {"competition": "x", "dataset": "x", "loss": "bce", "pixels": "gpu"}
    assert idle_settings(validate(settings)) == []
    (line,) = idle_settings(validate(settings | host))
    assert line.startswith("pixels=gpu changes nothing: with pack=false, limit, external or augment")
