"""What the number of images costs: seconds and memory at the real size, and the compact forms that keep both low.

Per image every command keeps its id as text and a few numbers, 180 bytes in all. Commands that hold a network stay
within 10 % between 10,000 and 100,000 images; `check`, `folds` and `pack`, which start from 60 MB, grow by 16 MB.
"""

import hashlib
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from helpers import scale_data, scale_memory
from kit.console import Console
from kit.data.file_names import FileNames
from kit.data.folds import Folds
from kit.data.store import Store
from kit.hooks.registry import Registry
from kit.scoring.interval import bootstrap_interval
from kit.scoring.predictions import Predictions
from kit_metrics.classification import roc_auc

TENTH = (22_003, 5_746)
FULL = (scale_data.TRAIN, scale_data.TEST)
NO_PIXELS = (
    "list",
    "config histo",
    "runs",
    "log histo",
    "download histo",
    "info histo",
    "folds histo --folds 3",
    "folds histo --folds 5 --group {slides}",
    "submit --dry-run",
)
TRAIN = "train histo --model small_cnn --no-pretrained --size 16 --folds 2 --fold 0 --epochs 1 --batch-size 256"


def frame() -> pd.DataFrame:
    names = [f"n{row}" for row in range(6)]
    return pd.DataFrame({"id": names, "files": FileNames(("a/{}_r.png", "a/{}_g.png"), names)})


def test_a_column_of_file_names_is_one_of_tuples():
    made = frame()
    first = ("a/n0_r.png", "a/n0_g.png")
    assert made["files"].iat[0] == made["files"].array[0] == next(iter(made["files"])) == first
    assert made["files"].to_numpy()[-1] == made["files"].tolist()[5] == ("a/n5_r.png", "a/n5_g.png")
    kept = made[made["id"] > "n3"].reset_index(drop=True)
    assert kept["files"].map(lambda files: files[1]).tolist() == ["a/n4_g.png", "a/n5_g.png"]
    assert made.iloc[[4, 1]]["files"].array[1] == ("a/n1_r.png", "a/n1_g.png")
    assert made["files"].array[1:3].tolist() == made["files"].tolist()[1:3]
    assert (made["files"].array == made["files"].tolist()).all()
    assert (made["files"] == made["files"].shift(0)).all()
    assert (made["files"].array == first).tolist() == [True] + [False] * 5
    assert "a/n0_r.png" in repr(made)


def test_columns_of_file_names_are_joined_and_aligned():
    made = frame()
    assert pd.concat([made, made])["files"].tolist() == made["files"].tolist() * 2
    other = made.assign(files=FileNames(("b/{}.png",), made["id"]))
    assert pd.concat([made, other])["files"].iloc[6] == ("b/n0.png",)
    aligned = made.reindex([5, 99])["files"]
    assert aligned.isna().tolist() == [False, True]
    assert aligned.iloc[0] == ("a/n5_r.png", "a/n5_g.png")
    with pytest.raises((TypeError, NotImplementedError)):
        made["files"].array[0] = ("c.png",)


@pytest.mark.parametrize("decimals", [1, 2, 9])
def test_the_area_is_scikit_learns(decimals):
    random = np.random.default_rng(decimals)
    for rows in (2, 3, 50, 5000):
        target = random.permutation(np.arange(rows) % 3 == 0).astype(np.float32)
        prediction = np.round(random.random(rows) * 0.7 + target * 0.3, decimals).astype(np.float32)
        assert roc_auc(target, prediction) == pytest.approx(roc_auc_score(target, prediction), abs=1e-12)
    assert np.isnan(roc_auc(np.empty(0), np.empty(0)))
    with pytest.raises(ValueError, match="NaN"):
        roc_auc(np.array([0, 1]), np.array([0.5, np.nan]))


def test_the_interval_draws_whole_groups_as_their_members_lie():
    random = np.random.default_rng(1)
    target, prediction = random.integers(0, 2, 300), random.random(300)
    groups = random.integers(0, 40, 300)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    again, scores = np.random.default_rng(0), []
    for _ in range(1000):
        drawn = again.integers(0, len(members), len(members))
        rows = np.concatenate([members[number] for number in drawn])
        scores.append(roc_auc(target[rows], prediction[rows]))
    metric = Registry().metrics.get("roc_auc")
    found = bootstrap_interval(metric, target, prediction, groups, Console(json=True))
    assert found == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=1e-12)


def test_ids_of_predictions_go_through_a_file_as_text(tmp_path):
    ids = np.array(["a", "größer", "c" * 40], dtype=object)
    made = Predictions(ids, ("yes",), np.zeros((3, 1), np.float32))
    made.save(tmp_path / "new.npz")
    assert Predictions.load(tmp_path / "new.npz").ids.tolist() == ids.tolist()
    np.savez(tmp_path / "old.npz", ids=ids.astype(np.str_), classes=np.array(["yes"]), values=made.values)
    old = Predictions.load(tmp_path / "old.npz")
    assert old.ids.tolist() == ids.tolist()
    assert all(type(name) is str for name in old.ids)
    empty = Predictions(ids[:0], ("yes",), made.values[:0])
    empty.save(tmp_path / "empty.npz")
    assert len(Predictions.load(tmp_path / "empty.npz").ids) == 0


def test_the_digest_of_folds_is_that_of_all_pairs_in_order():
    table = pd.DataFrame({"id": ["b", "ü", "a", "10"], "fold": [1, 0, 1, 0]})
    pairs = "".join(f"{name},{fold}\n" for name, fold in sorted(zip(table["id"], table["fold"], strict=True)))
    assert Folds(table, 2, 0, "").digest == hashlib.sha256(pairs.encode()).hexdigest()


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to the data and runs of a folder; where the competition's data lies."""
    monkeypatch.setenv("KIT_DATA", str(folder / "data"))
    monkeypatch.setenv("KIT_RUNS", str(folder / "runs"))
    return Store.of(Registry(), "histo").root


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """A tenth and the whole of histopathology."""
    folders = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("KIT_PLUGINS", "")
        for train, test in (TENTH, FULL):
            folders[train] = tmp_path_factory.mktemp(str(train))
            enter(folders[train], monkeypatch)
            scale_data.build(train, test, scale_data.drawn, grouped=False)
            scale_data.predicted(test)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("command", NO_PIXELS)
def test_commands_without_pixels_stay_under_ten_seconds(sizes, monkeypatch, command):
    root = enter(sizes[scale_data.TRAIN], monkeypatch)
    done = scale_memory.kit(*command.format(slides=root / scale_data.SLIDES_FILE).split())
    assert done.code == 0, done.output
    assert done.seconds < 10


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check histo", "folds histo --folds 3", "pack histo --size 32"])
def test_what_goes_through_all_images_is_linear(sizes, monkeypatch, command):
    seconds = []
    for train, _ in (TENTH, FULL):
        enter(sizes[train], monkeypatch)
        done = scale_memory.kit(*command.split())
        # Hard links are duplicates, of which `check` tells.
        assert done.code == (2 if command.startswith("check") else 0), done.output
        seconds.append(done.seconds)
    # On a machine that others use; what grows with the square would be at 10.
    assert seconds[1] / seconds[0] < 2 * FULL[0] / TENTH[0], seconds


@pytest.mark.slow
def test_scores_are_linear():
    random, seconds = np.random.default_rng(0), []
    metric = Registry().metrics.get("roc_auc")
    for rows in (TENTH[0], FULL[0]):
        target, prediction = random.integers(0, 2, rows), random.random(rows, np.float32)
        began = time.process_time()
        bootstrap_interval(metric, target, prediction, np.arange(rows) % scale_data.SLIDES, Console(json=True))
        seconds.append(time.process_time() - began)
    assert seconds[1] < 10
    # n log n, and a table that fits the processor's cache at a tenth of the size only.
    assert seconds[1] / seconds[0] < 3 * FULL[0] / TENTH[0], seconds


@pytest.mark.slow
def test_memory_of_training_and_prediction_does_not_grow_with_the_images(tmp_path, monkeypatch):
    peaks = {}
    for images in (10_000, 100_000):
        enter(tmp_path / str(images), monkeypatch)
        scale_data.build(images * 4 // 5, images // 5, scale_data.tiny, grouped=False)
        for command in (TRAIN, "evaluate", "predict", "submit --dry-run"):
            done = scale_memory.kit(*command.split())
            assert done.code == 0, done.output
            peaks[command, images] = done.peak
    for command in (TRAIN, "evaluate", "predict", "submit --dry-run"):
        assert peaks[command, 100_000] <= 1.1 * peaks[command, 10_000], peaks
