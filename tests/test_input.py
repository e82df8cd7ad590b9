"""The network's input: plans, normalisation, augmentation, views."""

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from kit.config import TrainConfig
from kit.data.pixels import read_rgb, resize
from kit.errors import KitError
from kit.inference.predict import view
from kit.model.batches import Loader, Normalize, Samples, ordered_plan, training_plan
from kit.plugin.specs import DatasetSpec
from kit.training.augment import Pipeline, load_pipeline, make_augment


def config(**values) -> TrainConfig:
    return TrainConfig(competition="c", dataset="d", loss="bce", flip=False, **values)


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (9, 4), (1, 4), (33, 32), (64, 32)])
def test_a_plan_holds_every_row_once_and_no_batch_of_one(count, batch_size):
    plan = [batch for step in training_plan(count, batch_size, (0, 1, 2)) for batch in step]
    assert sorted(np.concatenate([rows for rows, _ in plan]).tolist()) == list(range(count))
    assert count == 1 or min(len(rows) for rows, _ in plan) > 1
    assert np.concatenate([rows for rows, _ in ordered_plan(count, batch_size)]).tolist() == list(range(count))


def test_plans_depend_on_the_seed_alone():
    first, again, other = (np.concatenate([step[0][0] for step in training_plan(50, 8, (s, 0, 0))]) for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_normalisation_is_the_formula_in_float64():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 4), np.uint8)
    mean, std = [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]
    expected = (images.astype(np.float64) / 255 - mean) / std
    result = Normalize(mean, std)(torch.from_numpy(images))
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_eight_views_are_the_flips_and_turns_of_numpy():
    image = np.arange(12).reshape(3, 4)[:3, :3].copy()
    expected = {np.rot90(side, turns).tobytes() for side in (image, image[:, ::-1]) for turns in range(4)}
    ours = {view(torch.from_numpy(image)[None, None], n)[0, 0].numpy().copy().tobytes() for n in range(8)}
    assert ours == expected
    assert len(ours) == 8
    assert torch.equal(view(torch.from_numpy(image)[None, None], 0)[0, 0], torch.from_numpy(image))


@pytest.fixture
def samples(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for number in range(6):
        paths.append((tmp_path / f"{number}.png",))
        cv2.imwrite(str(paths[-1][0]), random.integers(0, 256, (20, 24, 3), np.uint8))
    spec = DatasetSpec("d", 3, index=lambda root: None, read=lambda files: read_rgb(files[0]))
    return Samples(paths, np.arange(6, dtype=np.float32)[:, None], np.zeros((6, 0), np.float32), spec, 16)


def test_worker_processes_change_nothing(samples):
    augment = make_augment(config(size=16, rot90=True, rotate=30, brightness=0.2), None)
    plan = [step[0] for step in training_plan(6, 2, (0, 0, 0))]
    inline = list(Loader(samples, augment, 0, torch.device("cpu")).batches(plan))
    loader = Loader(samples, augment, 2, torch.device("cpu"))
    for epoch in range(2):
        spread = list(loader.batches(plan))
        assert len(spread) == 3
        for ours, theirs in zip(inline, spread, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), epoch


def test_channels_come_as_rgb(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 200
    cv2.imwrite(str(tmp_path / "red.png"), red)
    assert read_rgb(tmp_path / "red.png")[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_resizing_keeps_any_number_of_channels(channels):
    image = np.random.default_rng(0).integers(0, 256, (32, 48, channels), np.uint8)
    assert resize(image, 16).shape == (16, 16, channels)
    # Halving by area is the mean of blocks.
    square = image[:, :32]
    blocks = square.reshape(16, 2, 16, 2, channels).mean((1, 3))
    assert np.abs(resize(square, 16) - blocks).max() <= 0.5


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_augmentation_repeats_by_seed_and_keeps_the_shape(channels):
    augment = make_augment(config(size=32, rot90=True, rotate=20, zoom=0.2, shift=0.1, shear=5, brightness=0.3), None)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, channels), np.uint8)
    first = augment(image, 7)
    assert first.shape == image.shape
    assert (first == augment(image, 7)).all()
    assert any((augment(image, seed) != first).any() for seed in range(8, 12))


def test_flips_and_turns_move_pixels_without_changing_any():
    augment = make_augment(config(size=8, rot90=True).model_copy(update={"flip": True}), None)
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    seen = {augment(image, seed).tobytes() for seed in range(100)}
    every = {np.rot90(side, turns).tobytes() for side in (image, image[:, ::-1]) for turns in range(4)}
    assert seen == every


def test_no_steps_mean_no_augmentation():
    assert make_augment(config(), None) is None


def test_a_saved_pipeline_is_the_persons_own(tmp_path):
    pipeline = A.Compose([A.VerticalFlip(p=1), A.InvertImg(p=1)])
    A.save(pipeline, tmp_path / "mine.json", data_format="json")
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    augment = make_augment(config(size=16, augment="mine.json"), tmp_path)
    assert (augment(image, 0) == 255 - image[::-1]).all()


def test_a_pipeline_that_changes_size_or_type_is_named():
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(KitError, match=r"Resize\(16, 16\)"):
        Pipeline(A.Compose([A.CenterCrop(8, 8)]))(image, 0)
    with pytest.raises(KitError, match="leave Normalize"):
        Pipeline(A.Compose([A.Normalize()]))(image, 0)


def test_files_that_are_no_pipeline_are_named(tmp_path):
    with pytest.raises(KitError, match=r"albumentations\.save"):
        load_pipeline(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text('{"a": 1}')
    with pytest.raises(KitError, match="no saved albumentations pipeline"):
        load_pipeline(tmp_path / "broken.json")
