"""`--external`: images for training alone, and none that is a near-duplicate of a validation image."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from kit.config import TrainConfig
from kit.console import Console
from kit.data.external import external_rows, left_out, with_external
from kit.data.folds import folds_of_run
from kit.data.store import Store
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.pixels.batches import Loader, Normalize
from kit.pixels.pack import packs_for
from kit.pixels.samples import Samples
from kit.plugin import ModelRequest
from kit.resolve import resolve
from kit.runs import find_run

QUIET = Console(json=True)
COLOURS = ("red", "green", "blue", "yellow")
COMMON = (
    "--folds",
    3,
    "--epochs",
    1,
    "--size",
    32,
    "--model",
    "small_cnn",
    "--no-pretrained",
    "--batch-size",
    8,
    "--set",
    "head=linear",
    "--set",
    "loss=bce",
)


def field(seed: int, side: int) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)


def write(folder: Path, images: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for id_, image in images.items():
        for colour, plane in zip(COLOURS, cv2.split(image), strict=True):
            cv2.imwrite(str(folder / f"{id_}_{colour}.png"), plane)


@pytest.fixture
def data(tmp_path: Path) -> Any:
    """Eighteen training and four test images; external: two new ones, one like a training image, one test image."""
    store = Store.of(Registry(), "protein")
    write(store.root / "train", {f"t{n:02d}": field(n, 40) for n in range(18)})
    write(store.root / "test", {f"x{n}": field(50 + n, 40) for n in range(4)})
    labels = "".join(f"t{n:02d},{n % 3}\n" for n in range(18))
    (store.root / "train.csv").write_text(f"Id,Target\n{labels}")
    (store.root / "sample_submission.csv").write_text("Id,Predicted\nx0,0\nx1,0\nx2,0\nx3,0\n")
    store.set_origin("archive", "made here")
    brighter = np.clip(field(7, 36).astype(int) + 9, 0, 255).astype(np.uint8)
    write(tmp_path / "external" / "images", {"e0": field(90, 48), "e1": brighter, "e2": field(92, 48)})
    (tmp_path / "external" / "more.csv").write_text("Id,Target\ne0,5\nx3,6 7\ne1,0\ne2,8\n")
    return SimpleNamespace(store=store, external=tmp_path / "external")


def test_only_what_is_like_a_validation_image_is_left_out_and_only_there(data, kit):
    trained = kit("train", "protein", *COMMON, "--external", data.external, "--json").json
    run = find_run(trained["run"])
    folds = folds_of_run(run)
    own = int(folds.table.set_index("id")["fold"]["t07"])
    index = with_external(data.store, data.store.index(), data.external, QUIET)
    assert index.external["id"].tolist() == ["e0", "x3", "e1", "e2"]
    expected = np.zeros((4, 3), bool)
    expected[2, own] = True
    assert (left_out(data.store, index, folds, QUIET) == expected).all()
    assert run.record["external"] == {"ids": 4, "left_out": expected.sum(0).tolist()}
    for fold in range(3):
        rows = external_rows(run, index, fold)["id"].tolist()
        assert rows == (["e0", "x3", "e2"] if fold == own else ["e0", "x3", "e1", "e2"])
        assert trained["folds"][str(fold)]["train_images"] == 12 + len(rows)
        assert trained["folds"][str(fold)]["valid_images"] == 6
    # What is predicted out of fold, and scored, is the competition's own data alone.
    assert trained["score"]["ids"] == 18
    assert run.config.external == str(data.external)
    assert kit("evaluate", "--json").json["difference"] < 1e-6


def test_it_changes_what_is_learned_and_repeats(data, kit):
    runs = [
        find_run(kit("train", "protein", *COMMON, "--fold", 0, *more, "--json").json["run"])
        for more in ((), ("--external", data.external), ("--external", data.external / "more.csv"))
    ]
    without, one, again = [(run.path / "fold-0" / "oof.npz").read_bytes() for run in runs]
    assert without != one
    assert one == again


def test_a_stopped_run_takes_the_same_again_and_nothing_else(data, kit):
    run = find_run(kit("train", "protein", *COMMON, "--fold", 0, "--external", data.external, "--json").json["run"])
    kit("train", "--resume", run.id, "--fold", 1)
    table = data.external / "more.csv"
    as_it_was = table.read_text()
    for changed in ("Id,Target\ne0,5\n", as_it_was.replace(",", ",9 ").replace("Id,9 ", "Id,")):
        assert changed != as_it_was
        table.write_text(changed)
        done = kit("train", "--resume", run.id, "--fold", 2, code=2)
        assert f"has changed since run {run.id} started" in done.err
    table.write_text(as_it_was)
    shutil.rmtree(data.external / "images")
    write(data.external / "images", {"e0": field(77, 48), "e1": field(7, 36), "e2": field(92, 48)})
    done = kit("train", "--resume", run.id, "--fold", 2, code=2)
    assert "the pixels of external 32 px are not those" in done.err


def test_packed_and_read_from_files_are_the_same_pixels(data):
    index = with_external(data.store, data.store.index(), data.external, QUIET)
    config = TrainConfig(competition="protein", dataset="protein", loss="bce", size=24)
    packs = packs_for(data.store, index, "train", config, [24], QUIET)
    further = packs_for(data.store, index, "external", config, [24], QUIET)
    rows, external = index.train.iloc[[3, 5]], index.external.iloc[[3, 0]]
    own = Samples.of(index, rows, data.store.dataset, 24, packs).with_external(index, external, further)
    plain = Samples.of(index, rows, data.store.dataset, 24).with_external(index, external, {})
    assert len(own) == 4
    for row, image in enumerate((field(3, 40), field(5, 40), field(92, 48), field(90, 48))):
        expected = cv2.resize(image, (24, 24), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(own.image(row), expected)
        np.testing.assert_array_equal(plain.image(row), expected)
    assert own.targets.argmax(1).tolist() == [0, 2, 8, 5]
    normalize = Normalize((0.0,) * 4, (1.0,) * 4)
    plan = [(np.array([2, 0, 3]), np.zeros(3, int))]
    batches = [
        next(iter(Loader(samples, None, 0, torch.device("cpu"), normalize).batches(plan))) for samples in (own, plain)
    ]
    assert torch.equal(batches[0].images, batches[1].images)
    assert batches[0].target.argmax(1).tolist() == [8, 0, 5]


def test_smaller_extra_images_are_enlarged_to_the_packs_side(data, tmp_path):
    write(tmp_path / "small" / "images", {"s0": field(3, 20)})
    (tmp_path / "small" / "s.csv").write_text("Id,Target\ns0,1\n")
    index = with_external(data.store, data.store.index(), tmp_path / "small", QUIET)
    config = TrainConfig(competition="protein", dataset="protein", loss="bce", size=32)
    packs = [packs_for(data.store, index, part, config, [32], QUIET) for part in ("train", "external")]
    samples = Samples.of(index, index.train.iloc[:1], data.store.dataset, 32, packs[0])
    samples = samples.with_external(index, index.external, packs[1])
    pixels, places = samples.stored(np.array([1, 0]))
    assert pixels.shape[1:] == (32, 32, 4)
    np.testing.assert_array_equal(pixels[places[0]], cv2.resize(field(3, 20), (32, 32)))


def test_what_can_not_be_used_is_refused_before_a_run_exists(data, kit, tmp_path):
    def refused(*arguments: object) -> str:
        return str(kit("train", *arguments, code=2).err)

    assert "no external training data at" in refused("protein", "--external", tmp_path / "nowhere")
    (data.external / "more.csv").write_text("Id,Target\nt01,5\n")
    assert "all 1 ids are already training ids of protein" in refused("protein", "--external", data.external)
    (data.external / "more.csv").write_text("Id,Target\nt01,5\ne0,5\n")
    index = with_external(data.store, data.store.index(), data.external, QUIET)
    assert index.external["id"].tolist() == ["e0"]
    without = replace(data.store, dataset=replace(data.store.dataset, external=None))
    with pytest.raises(KitError, match="protein takes no external training data"):
        with_external(without, data.store.index(), data.external, QUIET)
    (data.external / "more.csv").write_text("Id,Target\n")
    assert "lists no image" in refused("protein", "--external", data.external)
    (data.external / "._more.csv").write_bytes(b"\0\5\x16\7 Mac OS X")
    (data.external / "more.csv").rename(data.external / "more.CSV")
    assert "lists no image" in refused("protein", "--external", data.external), "litter is no second csv"
    assert not any((tmp_path / "runs").glob("*"))


def test_channel_statistics_are_those_of_all_pixels(data):
    from kit.model.build import normalization_of
    from kit.pixels.statistics import channel_statistics

    store = data.store
    mean, std = channel_statistics(store.dataset, store.index(), QUIET)
    pixels = np.concatenate([field(n, 40).reshape(-1, 4) for n in range(18)]) / 255
    np.testing.assert_allclose(mean, pixels.mean(0), atol=1e-6)
    np.testing.assert_allclose(std, pixels.std(0), atol=1e-6)
    config, _ = resolve(store.competition, False, settings=["mean=data", "std=none", "model=small_cnn"])
    found = normalization_of(config, Registry(), store.dataset, store.index(), QUIET)
    assert found == {"mean": mean, "std": [0.25] * 4}


def test_groups_of_near_duplicates_are_made_without_being_asked(data, kit):
    cv2.imwrite(str(data.store.root / "train" / "t09_green.png"), cv2.split(field(2, 40))[1])
    done = kit("folds", "protein", "--folds", 3, "--verify", "--json").json
    assert (done["grouped_by"], done["groups_spanning_folds"]) == ("near-duplicates", 0)
    assert (done["near_duplicate_pairs_spanning_folds"], done["rows_without_group"]) == (0, 16)
    table = pd.read_csv(done["path"]).set_index("id")
    assert table["fold"]["t02"] == table["fold"]["t09"]
    assert table["group"]["t02"] == table["group"]["t09"] == "t02"
    plain = kit("folds", "protein", "--folds", 3, "--no-near-duplicates", "--verify", "--json").json
    assert (plain["grouped_by"], plain["near_duplicate_pairs_spanning_folds"]) == (None, None)


def test_folds_that_leak_are_told(data, kit, monkeypatch):
    monkeypatch.setattr(
        "kit.data.folds.with_near_duplicates",
        lambda store, index, console: index.with_groups({"t00": "x"}, "near-duplicates"),
    )
    cv2.imwrite(str(data.store.root / "train" / "t09_green.png"), cv2.split(field(2, 40))[1])
    leaks = [kit("folds", "protein", "--folds", 3, "--seed", seed, "--json").json["digest"] for seed in range(4)]
    assert len(set(leaks)) > 1
    codes = []
    for seed in range(4):
        try:
            kit("folds", "protein", "--folds", 3, "--seed", seed, "--verify")
            codes.append(0)
        except AssertionError:
            codes.append(2)
    assert 2 in codes


def test_extra_that_changed_is_a_kit_error(data):
    run: Any = SimpleNamespace(
        id="r", config=SimpleNamespace(external="e"), reading=lambda name: data.external / "old.csv"
    )
    (data.external / "old.csv").write_text("id,left_out_of\ne0,1\n")
    index = with_external(data.store, data.store.index(), data.external / "more.csv", QUIET)
    with pytest.raises(KitError, match="restore it"):
        external_rows(run, index, 0)


@pytest.mark.parametrize("loss", ["bce", "focal", "focal+lovasz", "soft_f1"])
def test_four_channels_learn_by_every_loss(data, kit, loss):
    """From three-channel weights that lie on this disk, with balanced sampling."""
    run = kit(
        "train",
        "protein",
        "--folds",
        3,
        "--fold",
        0,
        "--epochs",
        1,
        "--size",
        32,
        "--batch-size",
        6,
        "--model",
        "efficientnet_lite0",
        "--set",
        f"loss={loss}",
        "--set",
        "sampler=balanced",
        "--json",
    ).json
    history = pd.read_csv(find_run(run["run"]).path / "fold-0" / "history.csv")
    assert np.isfinite(history[["train loss", "valid loss", "F1", "F1 tuned"]]).all(axis=None)


def test_the_stem_for_four_channels_keeps_what_was_learned_of_three():
    registry = Registry()
    three, four = (
        registry.models.get("efficientnet_lite0").build(
            ModelRequest("efficientnet_lite0", channels, 28, "linear", 0, pretrained=True)
        )
        for channels in (3, 4)
    )
    own, wide = (next(m for m in net.modules() if isinstance(m, torch.nn.Conv2d)).weight for net in (three, four))
    torch.testing.assert_close(wide[:, :3], own * 3 / 4)
    torch.testing.assert_close(wide[:, 3], own.mean(1) * 3 / 4)
    grey = torch.rand(2, 1, 64, 64)
    for net in (three, four):
        net.eval()
    with torch.no_grad():
        answers = [net.body(grey.expand(-1, channels, -1, -1)) for net, channels in ((three, 3), (four, 4))]
    torch.testing.assert_close(*answers, atol=1e-4, rtol=1e-3)
