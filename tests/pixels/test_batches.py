"""The network's input: plans, normalisation, augmentation, views."""

import os
import signal
from types import SimpleNamespace

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from helpers.leaf_images import Leaves
from helpers.warp_cases import config
from kit.console import Console
from kit.data.images import read_rgb, resize
from kit.errors import DISK, KitError
from kit.hooks.registry import Registry
from kit.inference.tta import flip
from kit.pixels.augment import Pipeline, load_pipeline, make_augment
from kit.pixels.batches import Batch, Loader, Normalize
from kit.pixels.pack import packs_for
from kit.pixels.sampler import ordered_plan, training_plan
from kit.pixels.samples import Samples
from kit.pixels.warp import Steps


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (9, 4), (1, 4), (33, 32), (64, 32)])
def test_a_plan_holds_every_row_once_and_no_batch_of_one(count, batch_size):
    plan = [batch for step in training_plan(count, batch_size, (0, 1, 2)) for batch in step]
    assert sorted(np.concatenate([rows for rows, _ in plan]).tolist()) == list(range(count))
    assert count == 1 or min(len(rows) for rows, _ in plan) > 1
    assert np.concatenate([rows for rows, _ in ordered_plan(np.arange(count), batch_size)]).tolist() == list(
        range(count)
    )


def test_plans_depend_on_the_seed_alone():
    first, again, other = (np.concatenate([step[0][0] for step in training_plan(50, 8, (s, 0, 0))]) for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_normalisation_is_the_formula_in_float64():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 4), np.uint8)
    mean, std = [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]
    expected = (images.astype(np.float64) / 255 - mean) / std
    result = Normalize(mean, std)(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_eight_views_are_the_flips_and_turns_of_numpy():
    image = np.arange(12).reshape(3, 4)[:3, :3].copy()
    expected = {np.rot90(side, turns).tobytes() for side in (image, image[:, ::-1]) for turns in range(4)}
    ours = {flip(torch.from_numpy(image)[None, None], n)[0, 0].numpy().copy().tobytes() for n in range(8)}
    assert ours == expected
    assert len(ours) == 8
    assert torch.equal(flip(torch.from_numpy(image)[None, None], 0)[0, 0], torch.from_numpy(image))


@pytest.fixture
def made(tmp_path):
    return Leaves(tmp_path)


def batches(samples: Samples, augment, workers: int = 0, on_device: bool = False) -> list[Batch]:
    loader = Loader(samples, augment, workers, torch.device("cpu"), Normalize([0.5] * 3, [0.25] * 3))
    loader.on_device = on_device
    plan = [step[0] for step in training_plan(len(samples), 2, (0, 0, 0))]
    # Two rounds, since worker processes live on; a batch's memory is used again by the next.
    rounds = [[batch._replace(images=batch.images.clone()) for batch in loader.batches(plan)] for _ in range(2)]
    for first, second in zip(*rounds, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    return rounds[0]


STEPS = {"rot90": True, "rotate": 30, "zoom": 0.2, "shift": 0.1, "shear": 5, "brightness": 0.2, "contrast": 0.2}


@pytest.mark.parametrize("size", [16, 20])
@pytest.mark.parametrize("steps", [{}, STEPS])
def test_workers_and_packed_pixels_change_nothing(made, size, steps):
    augment = make_augment(config(size=size, **steps), None, Registry())
    plain = batches(made.samples(size, pack=False), augment)
    assert plain[0].images.shape == (2, 3, size, size)
    for others in (
        batches(made.samples(size, pack=False), augment, workers=2),
        batches(made.samples(size, pack=True), augment),
    ):
        for ours, theirs in zip(plain, others, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("pack", [False, True])
def test_a_persons_own_pipeline_sees_the_same_images(made, pack):
    seen = []

    def invert(image: np.ndarray, seed: int) -> np.ndarray:
        seen.append(image.shape)
        return 255 - image

    plain, inverted = (batches(made.samples(24, pack), augment) for augment in (None, invert))
    assert set(seen) == {(24, 24, 3)}
    for ours, theirs in zip(plain, inverted, strict=True):
        assert torch.allclose(ours.images + theirs.images, torch.zeros(()), atol=1e-5)


@pytest.mark.parametrize("size", [16, 20, 31])
@pytest.mark.parametrize("steps", [{}, STEPS])
@pytest.mark.parametrize("pack", [False, True])
def test_the_path_of_a_gpu_gives_the_same_batches(made, size, steps, pack):
    augment = make_augment(config(size=size, **steps), None, Registry())
    samples = made.samples(size, pack)
    level = 1 / 255 / 0.25
    for ours, theirs in zip(batches(samples, augment), batches(samples, augment, on_device=True), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours[1:], theirs[1:], strict=True))
        difference = (ours.images - theirs.images).abs() / level
        assert float(difference.max()) < 3.01
        assert float(difference.mean()) < 0.3


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize(("pack", "workers"), [(True, 0), (False, 0), (False, 2)])
def test_a_plan_begun_inside_another_takes_no_image_from_it(made, pack, workers, on_device):
    samples = made.samples(20, pack)
    loader = Loader(samples, None, workers, torch.device("cpu"), Normalize([0.0] * 3, [1.0] * 3))
    loader.on_device = on_device
    outer = loader.batches(ordered_plan(np.arange(6), 1))
    next(outer)
    inner = loader.batches(ordered_plan(np.arange(6)[::-1].copy(), 2))
    for number in (0, 1):
        batch = next(inner)
        assert batch.rows.tolist() == [5 - 2 * number, 4 - 2 * number]
        grey = (batch.images * 255).round().permute(0, 2, 3, 1).numpy()
        assert all((grey[place] == samples.image(row)).all() for place, row in enumerate(batch.rows.tolist()))
    if not pack:  # workers read one plan at a time
        with pytest.raises(ValueError, match=r"another plan|is shorter"):
            list(outer)
        return
    for batch in outer:
        grey = (batch.images * 255).round().permute(0, 2, 3, 1).numpy()
        assert (grey[0] == samples.image(int(batch.rows))).all()


def test_enlarged_pixels_are_those_of_the_files(made):
    packed, plain = made.samples(31, pack=True), made.samples(31, pack=False)
    assert packed.pack.size == 20
    assert all((packed.image(row) == plain.image(row)).all() for row in range(6))
    for ours, theirs in zip(batches(packed, None), batches(plain, None), strict=True):
        assert torch.equal(ours.images, theirs.images)


@pytest.mark.parametrize("pack", [False, True])
def test_a_crop_is_the_centre_of_the_file_in_training_validation_and_pictures(made, pack):
    """Ten pixels of twenty, with augmentation, without, on a device, and through a pipeline of one's own."""
    samples = made.samples(10, pack, crop=0.5)
    assert not pack or samples.pack.size == 20
    centres = [read_rgb(made.store.root / f"{row}.png")[5:15, 5:15] for row in range(6)]
    assert all((samples.image(row) == centres[row]).all() for row in range(6))
    black = Steps(config(size=10, crop=0.5, brightness_range="0..0"))
    for on_device in (False, True):
        for augment in (None, Steps(config(size=10, crop=0.5, shift=0.04)), lambda image, seed: image):
            for batch in batches(samples, augment, on_device=on_device):
                grey = ((batch.images * 0.25 + 0.5) * 255).round().permute(0, 2, 3, 1).numpy()
                assert all((grey[place] == centres[row]).all() for place, row in enumerate(batch.rows.tolist()))
        assert all((batch.images == -2).all() for batch in batches(samples, black, on_device=on_device))
        loader = Loader(samples, None, 0, torch.device("cpu"), Normalize([0.0] * 3, [1.0] * 3))
        loader.on_device = on_device
        for batch in loader.batches(ordered_plan(np.arange(6), 4)):  # of validation: no seeds
            grey = (batch.images * 255).round().permute(0, 2, 3, 1).numpy()
            assert all((grey[place] == centres[row]).all() for place, row in enumerate(batch.rows.tolist()))


@pytest.mark.parametrize("steps", [{}, STEPS | {"brightness_range": (0.2, 1.2), "probabilities": {"rotate": 0.5}}])
@pytest.mark.parametrize(("size", "crop"), [(16, 0.8), (12, 0.75), (9, 0.5)])
def test_cropped_batches_are_the_same_whatever_their_path(made, size, crop, steps):
    augment = make_augment(config(size=size, crop=crop, **steps), None, Registry())
    level = 1 / 255 / 0.25
    plain = batches(made.samples(size, False, crop), augment)
    for others in (
        batches(made.samples(size, True, crop), augment),
        batches(made.samples(size, True, crop), augment, on_device=True),
    ):
        for ours, theirs in zip(plain, others, strict=True):
            assert torch.equal(ours.rows, theirs.rows)
            difference = (ours.images - theirs.images).abs() / level
            assert float(difference.max()) < 3.01
            assert float(difference.mean()) < 0.3


def test_rows_of_a_fold_find_their_places_in_the_pack(made):
    packs = packs_for(made.store, made.index, "train", config(size=20), [20], Console(json=True))
    rows = made.index.train[[False, True, False, True, True, False]]
    samples = Samples.of(made.index, rows, made.store.dataset, 20, packs)
    for row, name in enumerate(rows["id"]):
        assert (samples.image(row) == read_rgb(made.store.root / name)).all()


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


def test_no_steps_mean_no_augmentation():
    assert make_augment(config(), None, Registry()) is None


def test_a_saved_pipeline_is_the_persons_own(tmp_path):
    pipeline = A.Compose([A.VerticalFlip(p=1), A.InvertImg(p=1)])
    A.save(pipeline, tmp_path / "mine.json", data_format="json")
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    augment = make_augment(config(size=16, augment="mine.json"), tmp_path, Registry())
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
    with pytest.raises(KitError, match="not a saved albumentations pipeline"):
        load_pipeline(tmp_path / "broken.json")


def test_workers_need_no_shared_memory_but_for_their_locks(made, monkeypatch):
    """Docker's /dev/shm is 64 MB: tensors of large batches would not pass through it, and reading would hang."""
    samples, plan = made.samples(8, pack=False), ordered_plan(np.arange(6), 4)
    for room, workers in ((1 << 20, 2), (1 << 14, 0)):
        disk = SimpleNamespace(f_bavail=room >> 12, f_frsize=1 << 12)
        monkeypatch.setattr("os.statvfs", lambda path, disk=disk: disk)
        reading = Loader(samples, None, 2, torch.device("cpu"), Normalize([0.5] * 3, [0.25] * 3))._reader
        assert reading._loader.num_workers == workers
        for (rows, _), images in zip(plan, reading.read(plan), strict=True):
            assert (images == np.stack([samples.image(row) for row in rows])).all()
        assert {type(images) for images in reading._loader} == {np.ndarray}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_worker_cant_read_is_named_in_one_line(made, workers):
    samples = made.samples(8, pack=False)
    (samples.root / samples.files[3][0]).write_bytes(b"%!PS")
    with pytest.raises(KitError, match=r"can't be read as an image \(not an image") as refused:
        batches(samples, None, workers)
    assert "Traceback" not in str(refused.value)


def test_a_worker_that_is_killed_is_one_line(made):
    def die(image: np.ndarray, seed: int) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        return image

    with pytest.raises(KitError, match=r"was killed \(out of memory\?\): free some, or .* --set workers=0") as refused:
        batches(made.samples(8, pack=False), die, 2)
    assert refused.value.code == DISK
