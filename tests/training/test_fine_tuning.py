"""Plates, cell types and wells in training: normalisation by what belongs together, a common network as a start."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.recursion_data import write
from kit.config import TrainConfig
from kit.console import Console
from kit.data.store import Store
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.inference.nearest import SCALE, Centres, embedding
from kit.model.checkpoint import Checkpoints
from kit.model.network import Output
from kit.pixels.batches import Loader, Normalize
from kit.pixels.pack import packs_for
from kit.pixels.samples import samples_of
from kit.pixels.statistics import row_statistics
from kit.runs import find_run
from kit.scoring.predictions import Predictions
from kit.task import BINARY, MULTICLASS, MULTILABEL

QUIET = Console(json=True)
COMMON = (
    "--folds",
    2,
    "--epochs",
    1,
    "--size",
    16,
    "--model",
    "small_cnn",
    "--no-pretrained",
    "--batch-size",
    8,
    "--set",
    "loss=cross_entropy",
    "--set",
    "cutmix=0",
    "--set",
    "accumulate=1",
)


@pytest.fixture
def store() -> Any:
    found = Store.of(Registry(), "recursion")
    write(found.root)
    found.set_origin("archive", "made here")
    return found


def settings(way: str, pack: bool = True, size: int = 16) -> TrainConfig:
    return TrainConfig(competition="recursion", dataset="recursion", loss="x", size=size, normalize=way, pack=pack)


def moments(store: Any, frame: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of all pixels of some samples together, by numpy in float64."""
    images = [store.dataset.read(tuple(store.root / name for name in files)) for files in frame["files"]]
    pixels = np.concatenate([image.reshape(-1, 6) for image in images]) / 255
    return pixels.mean(0), pixels.std(0)


@pytest.mark.parametrize("pack", [True, False])
def test_each_image_is_normalised_by_what_belongs_to_it(store, pack):
    index = store.index()
    everything = [index.train, index.test, index.controls]
    for way, part in (("image", "train"), ("plate", "train"), ("experiment", "test"), ("control", "train")):
        statistics = row_statistics(store, index, part, settings(way, pack), QUIET)
        frame = getattr(index, part)
        for place in (0, 7, len(frame) - 1):
            row = frame.iloc[place]
            if way == "image":
                own = [frame.iloc[[place]]]
            elif way == "control":
                own = [index.controls[index.controls["negative"] & (index.controls["plate"] == row["plate"])]]
            else:
                own = [each[each[way] == row[way]] for each in everything]
            mean, std = moments(store, pd.concat(own))
            np.testing.assert_allclose(statistics.mean[place], mean, atol=1e-6)
            np.testing.assert_allclose(statistics.std[place], std, atol=1e-6)
    assert row_statistics(store, index, "train", settings("channels"), QUIET) is None


def test_the_batches_are_the_formula_in_float64_on_both_paths(store):
    index = store.index()
    config = settings("image")
    samples = samples_of(store, index, "train", config, QUIET)(index.train.iloc[4:20])
    assert samples.pack is not None
    for on_device in (False, True):
        loader = Loader(samples, None, 0, torch.device("cpu"), Normalize((0.5,) * 6, (0.1,) * 6))
        loader.on_device = on_device
        batch = next(iter(loader.batches([(np.array([3, 0]), np.zeros(2, int))])))
        for place, row in enumerate((3, 0)):
            image = samples.image(row).astype(np.float64) / 255
            flat = image.reshape(-1, 6)
            expected = (image - flat.mean(0)) / flat.std(0)
            np.testing.assert_allclose(batch.images[place].permute(1, 2, 0).numpy(), expected, atol=2e-4)


def test_levels_are_measured_once_and_kept(store, monkeypatch):
    index = store.index()
    first = row_statistics(store, index, "train", settings("plate"), QUIET)
    packs_for(store, index, "train", settings("plate"), [16], QUIET)
    monkeypatch.setattr("kit.pixels.statistics._measured", lambda *_: pytest.fail("measured again"))
    again = row_statistics(store, index, "train", settings("plate"), QUIET)
    np.testing.assert_array_equal(first.mean, again.mean)


def test_a_plate_without_a_negative_control_is_named(store):
    for path in (store.root / "train/RPE-02/Plate1").glob("B02_*"):
        path.unlink()
    with pytest.raises(KitError, match="no image of a negative control for 1 values of plate, the first is RPE-02_1"):
        row_statistics(store, store.index(), "train", settings("control"), QUIET)


def test_unknown_ways_and_rows_are_refused_before_a_run_exists(store, kit, tmp_path):
    def refused(*settings: str) -> str:
        words = [word for setting in settings for word in ("--set", setting)]
        return str(kit("train", "recursion", *COMMON, *words, code=2).err)

    assert "normalize = 'plates' is not one of channels, image, control" in refused("normalize=plates")
    assert "no training row has that cell_type: did you mean HUVEC" in refused("only=cell_type=HUVECS")
    assert "the data has no column 'cell'" in refused("only=cell=HUVEC")
    assert "no run 'nothing'" in refused("init=nothing")
    assert not (tmp_path / "runs").exists()


def test_the_whole_path_from_a_common_network_to_one_joined_run(store, kit):
    """Common network with the cell type as input, fine-tuned for each cell type, joined, corrected by the plates."""
    common = kit(
        "train", "recursion", *COMMON, "--set", "metadata=true", "--set", "normalize=experiment", "--json"
    ).json
    assert common["score"]["ids"] == 24
    parts = []
    for name in ("HEPG2", "HUVEC", "RPE"):
        one = kit(
            "train",
            "recursion",
            *COMMON,
            "--set",
            "metadata=true",
            "--set",
            "normalize=experiment",
            "--set",
            f"init={common['run']}",
            "--set",
            f"only=cell_type={name}",
            "--json",
        ).json
        assert one["score"]["ids"] == 8
        parts.append(one["run"])
        if name != "HUVEC":  # of which there is no test experiment
            kit("predict", one["run"], "--tta", 1)
    started = find_run(common["run"])
    tuned = find_run(parts[0])
    assert tuned.config.init == str(started.path.absolute())
    assert "kit predict" in kit("join", *parts, code=2).err
    joined = kit("join", parts[0], parts[2], "--json").json
    assert joined["score"]["ids"] == 16
    test = Predictions.load(Path(joined["path"]) / "test.npz")
    assert len(test.ids) == 8
    assert "both predict" in kit("join", parts[0], joined["run"], code=2).err
    submitted = kit("submit", joined["run"], "--postprocess", "--dry-run", "--json").json
    assert submitted["valid"]
    assert "name two runs" in kit("join", parts[0], code=2).err


def test_fine_tuning_starts_at_the_weights_of_the_same_fold(store, kit):
    start = find_run(kit("train", "recursion", *COMMON, "--json").json["run"])
    still = find_run(
        kit(
            "train",
            "recursion",
            *COMMON,
            "--set",
            f"init={start.id}",
            "--lr",
            "1e-12",
            "--set",
            "weight_decay=0",
            "--json",
        ).json["run"]
    )
    for fold in (0, 1):
        before, after = (Checkpoints(run.fold_dir(fold)).weights("last") for run in (start, still))
        for name in before:
            if "running" not in name and "batches" not in name:
                torch.testing.assert_close(before[name], after[name], atol=1e-6, rtol=0)
    kit("folds", "recursion", "--folds", 2, "--seed", 5)
    assert "was trained on other folds" in kit("train", "recursion", *COMMON, "--set", f"init={start.id}", code=2).err


def test_random_folds_are_made_on_purpose_and_said(store, kit):
    done = kit("folds", "recursion", "--folds", 2, "--ignore-groups", "--json").json
    assert (done["grouped_by"], done["ignores"]) == (None, "experiment")
    assert done["groups_spanning_folds"] > 0
    trained = kit("train", "recursion", *COMMON, "--json")
    assert "the folds ignore experiment" in trained.err
    assert find_run(trained.json["run"]).record["folds"]["ignores"] == "experiment"


def test_plates_and_the_nearest_class_are_scored_beside_the_network(store, kit):
    run = kit("train", "recursion", *COMMON, "--set", "loss=0.5*cross_entropy+0.5*arcface", "--json").json
    evaluated = kit("evaluate", "--postprocess", "--json").json
    assert 0 <= evaluated["postprocessed"] <= 1
    assert "accuracy, post-processed" in kit("evaluate", "--postprocess").out
    nearest = kit("predict", "--nearest", "--tta", 2, "--json").json
    assert nearest["nearest"]["metric"] == "accuracy"
    assert "by the nearest class" in kit("predict", "--nearest").out
    plain = kit("submit", run["run"], "--dry-run", "--json").json
    assert plain["valid"]
    kit("download", "histo", "--miniature")
    histo = kit("train", "histo", "--folds", 2, "--epochs", 1, "--size", 32, "--json").json["run"]
    kit("predict", histo)
    said = kit("submit", histo, "--postprocess", "--dry-run", code=2).err
    assert "has no post-processing: drop --postprocess" in said
    assert "which has no nearest class" in kit("predict", histo, "--nearest", code=2).err


def test_the_nearest_class_is_that_of_numpy(store):
    random = np.random.default_rng(0)
    vectors, directions = random.normal(size=(5, 4)), random.normal(size=(3, 4))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    known = torch.tensor([True, False, True])
    output = Output(torch.zeros(5, 3), torch.from_numpy(vectors).float())
    found = Centres(torch.from_numpy(directions).float(), known).probabilities(output).numpy()
    cosine = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) @ directions.T
    powers = np.exp(SCALE * cosine) * [1, 0, 1]
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(embedding(output).norm(dim=1), 1, rtol=1e-6)


def test_pseudo_labels_go_from_one_run_into_the_next(store, kit, tmp_path):
    run = kit("train", "recursion", *COMMON, "--json").json["run"]
    kit("predict", run)
    assert "give a lower --min-confidence" in kit("pseudo-label", run, "--min-confidence", 1, code=2).err
    done = kit("pseudo-label", run, "--min-confidence", 0.2, "--out", tmp_path / "sure.csv", "--json").json
    test = Predictions.load(find_run(run).path / "test.npz")
    assert done["ids"] == (test.values.max(1) >= 0.2).sum() > 0
    lines = (tmp_path / "sure.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == ("id_code,sirna", done["ids"] + 1)
    given = dict(line.split(",") for line in lines[1:])
    for id_, row in zip(test.ids, test.values, strict=True):
        if id_ in given:
            assert given[id_] == test.classes[row.argmax()]
    following = find_run(kit("train", "recursion", *COMMON, "--external", tmp_path / "sure.csv", "--json").json["run"])
    assert following.record["external"]["ids"] == 2 * done["ids"]
    assert "pseudo-labels.csv" in kit("pseudo-label", run, "--min-confidence", 0.2, "--postprocess").out


def test_confidence_by_task():
    values = np.array([[0.9, 0.2], [0.5, 0.5]])
    assert MULTICLASS.confidence(values).tolist() == [0.9, 0.5]
    assert MULTILABEL.confidence(values).tolist() == [0.8, 0.5]
    assert BINARY.confidence(values[:, :1]).tolist() == [0.9, 0.5]


def test_controls_are_learned_from_and_never_predicted(store, kit):
    run = kit("train", "recursion", *COMMON, "--set", "dataset=recursion_controls", "--json").json
    assert find_run(run["run"]).record["classes"][-2:] == ["UNTREATED", "sirna_50"]
    assert run["score"]["ids"] == 24
    assert run["folds"]["0"]["train_images"] == 24 + 64
    kit("predict")
    path = kit("submit", "--postprocess", "--dry-run", "--json").json["path"]
    assert "sirna_50" not in Path(path).read_text()
