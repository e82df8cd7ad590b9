"""Folds against scikit-learn, and their proofs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from helpers.hand_made_runs import hand_made_run
from kit.data.check import _labels
from kit.data.folds import counts_by_fold, groups_spanning_folds, make_folds, read_folds
from kit.data.index import Index, odd_labels
from kit.data.open_run import OpenRun
from kit.errors import KitError
from kit.hooks.registry import Registry


def index_of(targets: list, task: str = "binary", classes: int = 2, groups: list | None = None) -> Index:
    frame = pd.DataFrame({"id": [f"i{n:06d}" for n in range(len(targets))], "target": targets})
    frame["files"] = [(f"{name}.tif",) for name in frame["id"]]
    if groups is not None:
        frame["group"] = groups
    names = tuple(f"class {n}" for n in range(classes))
    return Index(Path(), task, names, frame, frame[["id", "files"]], grouped_by="" if groups is None else "slide")


def test_without_groups_folds_are_those_of_stratified_k_fold():
    targets = np.random.default_rng(0).integers(0, 2, 503).tolist()
    folds = make_folds(index_of(targets), 4, seed=7)
    splitter = StratifiedKFold(4, shuffle=True, random_state=7)
    for number, (_, held_out) in enumerate(splitter.split(np.zeros(503), targets)):
        assert (folds.table["fold"].to_numpy()[held_out] == number).all()


def test_grouped_folds_keep_groups_and_balance_as_well_as_scikit_learn():
    ours, theirs = [], []
    for seed in range(8):
        random = np.random.default_rng(seed)
        weights = random.pareto(1.5, 150) + 0.2 if seed % 2 else np.ones(150)
        groups = random.choice(150, 4000, p=weights / weights.sum())
        targets = (random.random(4000) < 0.2 + 0.5 * (groups % 3 == 0)).astype(int)
        index = index_of(targets.tolist(), groups=[f"s{g}" for g in groups])
        folds = make_folds(index, 5, seed=0)
        assert groups_spanning_folds(index, folds) == 0

        def imbalance(fold: np.ndarray, targets: np.ndarray = targets) -> float:
            counts = np.array([np.bincount(targets[fold == k], minlength=2) for k in range(5)])
            return float(np.abs(counts / counts.mean(0) - 1).max())

        ours.append(imbalance(folds.table["fold"].to_numpy()))
        fold = np.empty(4000, int)
        for number, (_, held_out) in enumerate(StratifiedGroupKFold(5).split(targets, targets, groups)):
            fold[held_out] = number
        theirs.append(imbalance(fold))
    assert np.mean(ours) <= np.mean(theirs)


def test_rare_labels_of_a_multilabel_task_stand_in_every_fold():
    random = np.random.default_rng(2)
    targets = [
        tuple(sorted({int(n) for n in random.choice(5, 2, p=[0.6, 0.3, 0.08, 0.015, 0.005])})) for _ in range(2000)
    ]
    index = index_of(targets, "multilabel", 5)
    rows = counts_by_fold(index, make_folds(index, 4, seed=0))
    totals = index.class_counts()
    for name, total in totals.items():
        shares = [row["labels"][name] for row in rows]
        assert sum(shares) == total
        assert max(shares) - min(shares) <= max(2, 0.02 * total)


def test_samples_of_one_id_share_its_fold_and_missing_groups_stand_alone():
    frame = pd.DataFrame(
        {"id": ["a", "a", "b", "c", "d", "e"], "target": [1, 1, 0, 1, 0, 1], "group": ["g", "g", "g", None, None, "h"]}
    )
    frame["files"] = [("x",)] * 6
    index = Index(Path(), "binary", ("n", "p"), frame, frame[["id", "files"]], grouped_by="slide")
    folds = make_folds(index, 2, seed=0)
    fold = dict(zip(folds.table["id"], folds.table["fold"], strict=True))
    assert len(folds.table) == 5
    assert fold["a"] == fold["b"]
    assert groups_spanning_folds(index, folds) == 0


def test_spanning_groups_are_counted():
    index = index_of([0, 1] * 10, groups=["a", "a"] + [f"g{n}" for n in range(18)])
    folds = make_folds(index, 2, seed=0)
    broken = folds.table.assign(fold=np.arange(20) % 2)
    assert groups_spanning_folds(index, type(folds)(broken, 2, 0, "slide")) == 1


def test_digest_ignores_order_and_the_csv_round_trips(tmp_path):
    folds = make_folds(index_of([0, 1] * 30), 3, seed=5)
    shuffled = type(folds)(folds.table.sample(frac=1, random_state=0), 3, 5, "")
    assert shuffled.digest == folds.digest
    assert make_folds(index_of([0, 1] * 30), 3, seed=6).digest != folds.digest
    (tmp_path / "folds.csv").write_bytes(folds.csv())
    assert read_folds(tmp_path / "folds.csv", folds.facts).digest == folds.digest


def test_folds_of_other_data_are_refused():
    folds = make_folds(index_of([0, 1] * 30), 3, seed=5)
    with pytest.raises(KitError, match="kit folds"):
        folds.of(index_of([0, 1] * 40).train)
    with pytest.raises(KitError, match=r"the saved folds do not fit the data \(20 ids, .* kit folds"):
        folds.of(index_of([0, 1] * 20).train)
    own = replace(folds, run="leaves-1")
    with pytest.raises(KitError, match=r"the folds of run leaves-1 .* gone from the data\): restore .* kit train"):
        own.of(index_of([0, 1] * 20).train)


@pytest.mark.parametrize(
    ("targets", "groups", "count", "said"),
    [
        ([0, 1] * 3, None, 7, "6 training ids can't make 7 folds: give --folds 6 or fewer"),
        ([0, 1], None, 3, "2 training ids can't make 3 folds: give --folds 2"),
        ([1], None, 2, "1 training id can't make 2 folds: more are needed"),
        ([], None, 2, "0 training ids can't make 2 folds: more are needed"),
        ([0, 1] * 6, ["a", "b", "c"] * 4, 4, "3 groups can't make 4 folds: give --folds 3 or fewer"),
        ([0, 1] * 6, ["a"] * 12, 2, "1 group can't make 2 folds: --ignore-groups"),
    ],
)
def test_too_many_folds_are_refused_with_what_helps(targets, groups, count, said):
    with pytest.raises(KitError) as refused:
        make_folds(index_of(targets, groups=groups), count, seed=0)
    assert said in str(refused.value)


def test_the_command_groups_by_a_file_and_training_takes_its_folds(kit, tmp_path):
    kit("download", "histo", "--miniature")
    labels = pd.read_csv(tmp_path / "data/histopathologic-cancer-detection/train_labels.csv")
    slides = tmp_path / "slides.csv"
    labels.assign(wsi=[f"patient_{n % 20}" for n in range(len(labels))])[["id", "wsi"]].to_csv(slides, index=False)
    done = kit("folds", "histo", "--folds", "4", "--group", slides, "--json").json
    assert done["groups_spanning_folds"] == 0
    assert done["grouped_by"] == "slides.csv"
    assert [row["groups"] for row in done["folds"]] == [5, 5, 5, 5]
    plain = kit("folds", "histo", "--folds", "4", "--json").json
    assert plain["grouped_by"] is None
    assert plain["digest"] != done["digest"]


@pytest.mark.parametrize("change", ["gone", "new"])
def test_a_run_names_the_id_that_differs_and_what_mends_it(kit, tmp_path, change):
    """Its folds are its own, so kit folds can't help; that the table has changed must not hide which id it is."""
    kit("download", "histo", "--miniature")
    run = hand_made_run("histo", 0)
    table = tmp_path / "data/histopathologic-cancer-detection/train_labels.csv"
    *lines, last = table.read_text().splitlines()
    id_ = last.split(",")[0] if change == "gone" else "new"
    if change == "new":
        lines += [last, "new,0"]
        (table.parent / "train" / "new.tif").touch()
    table.write_text("\n".join(lines) + "\n")
    for step in ("as it is", "accepted"):
        with pytest.raises(KitError) as refused:  # noqa: PT012
            opened = OpenRun(Registry(), run)
            opened.folds.of(opened.index.train)
        said = str(refused.value)
        assert f"the folds of run {run.id} (its own folds.csv) do not fit the data ({id_} is " in said
        assert "restore the tables" in said, step
        assert "kit folds" not in said
        kit("verify", "histo", "--accept")


@pytest.mark.parametrize(
    ("task", "targets", "said"),
    [
        ("binary", [0, 1, 1], []),
        ("binary", [1, 1, 1], ["every training id is class 1: there is nothing to tell apart"]),
        ("multiclass", [2, 2], ["every training id is class 2: there is nothing to tell apart"]),
        ("multilabel", [(0,), (1, 2)], []),
        ("multilabel", [(0,), (), (2,), ()], ["2 of 4 training ids have no label, such as i000001: right where"]),
    ],
)
def test_odd_labels_are_said(task, targets, said):
    index = index_of(targets, task, 2 if task == "binary" else 3)
    found = odd_labels(index)
    assert len(found) == len(said)
    assert all(each.startswith(start) for each, start in zip(found, said, strict=True))
    check = _labels(index)
    assert all(each in check.result for each in found)
    assert check.ok == (not any("tell apart" in each for each in found))
