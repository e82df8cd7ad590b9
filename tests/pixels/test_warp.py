"""The one warp: against albumentations, against OpenCV's resizing, against a hand-written float64 reference."""

import multiprocessing

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from albumentations.augmentations.geometric.functional import d4
from PIL import Image, ImageEnhance

from helpers.warp_cases import EVERY, config, fixed, off, pictures
from kit.pixels.batches import Normalize
from kit.pixels.warp import GROUP, DeviceWarp, Parameters, cropped, draw, gather, warp_batch, warp_normalized

CHANNELS = (1, 2, 3, 4, 6)


def affine(degrees=0.0, scale=(1.0, 1.0), shift=(0, 0), shear=(0.0, 0.0)) -> A.Affine:
    """albumentations' own step with these values."""

    def pair(values):
        return {"x": (values[0], values[0]), "y": (values[1], values[1])}

    return A.Affine(
        rotate=(degrees, degrees),
        scale=pair(scale),
        translate_px=pair(shift),
        shear=pair(shear),
        interpolation=cv2.INTER_LINEAR,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1,
    )


def one(image: np.ndarray, parameters: Parameters | None, size: int) -> np.ndarray:
    return warp_batch(image[None], np.array([0]), parameters, size, threads=1)[0]


def on_device(images: np.ndarray, parameters: Parameters | None, size: int, **values) -> np.ndarray:
    """What a training device makes of it, BxSxSxC."""
    packed = None if parameters is None else torch.from_numpy(parameters.packed())
    result = DeviceWarp(config(**values), size, values.get("crop", 1.0))(torch.from_numpy(images), packed)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result, result.round())
    return result.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("side", [31, 32])
@pytest.mark.parametrize("element", GROUP)
def test_flips_and_turns_are_those_of_albumentations_to_the_bit(element, side, channels):
    image = pictures(1, side, channels, noise=True)[0]
    parameters = fixed(side, side, element)
    expected = d4(image, element).reshape(image.shape)
    assert (one(image, parameters, side) == expected).all()
    assert (on_device(image[None], parameters, side, flip=True)[0] == expected).all()


@pytest.mark.parametrize("channels", [5, 7, 8, 9, 11])
@pytest.mark.parametrize("element", GROUP)
def test_images_of_any_number_of_channels_are_turned(element, channels):
    image = pictures(1, 16, channels, noise=True)[0]
    expected = np.dstack([d4(np.ascontiguousarray(image[..., channel]), element) for channel in range(channels)])
    assert (one(image, fixed(16, 16, element), 16) == expected).all()


STEPS = {
    "rotate": {"degrees": 23.0},
    "zoom in": {"scale": (1.3, 1.1)},
    "zoom out": {"scale": (0.7, 0.9)},
    "shift": {"shift": (5, -3)},
    "shear": {"shear": (9.0, -6.0)},
    "all": {"degrees": -17.0, "scale": (0.8, 1.2), "shift": (-4, 6), "shear": (5.0, 7.0)},
    "far": {"degrees": 170.0, "scale": (0.12, 0.1), "shift": (60, 60)},
}


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("side", [63, 64])
@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_that_of_albumentations(step, side, channels):
    for noise in (False, True):
        image = pictures(1, side, channels, noise)[0]
        expected = affine(**STEPS[step])(image=image)["image"].reshape(image.shape)
        mean, largest = off(one(image, fixed(side, side, **STEPS[step]), side), expected)
        # Both end in cv2.warpAffine, whose two-channel path alone rounds coordinates to 1/32 pixel.
        coarse = channels == 2
        assert mean < (1.5 if noise else 0.5) if coarse else mean < 0.02, (step, noise)
        assert largest <= (10 if noise else 2), (step, noise)


@pytest.mark.parametrize("channels", [3, 4, 6])
@pytest.mark.parametrize("element", GROUP)
def test_all_steps_together_are_albumentations_pipeline(element, channels):
    image = pictures(1, 64, channels)[0]
    steps = [affine(**STEPS["all"]), A.RandomBrightnessContrast((-0.1, -0.1), (0.2, 0.2), p=1)]
    expected = A.Compose(steps)(image=d4(image, element))["image"]
    parameters = fixed(64, 64, element, alpha=1.2, beta=-25.5, **STEPS["all"])
    mean, largest = off(one(image, parameters, 64), expected)
    assert mean < 0.02
    assert largest <= 2


@pytest.mark.parametrize("channels", [3, 4, 6])
def test_enlarging_first_is_close_to_albumentations_on_the_enlarged_image(channels):
    """Within one level inside; mirrored parts lie up to half a pixel apart, about the edge instead of a centre."""
    image = pictures(1, 48, channels)[0]
    large = cv2.resize(image, (112, 112), interpolation=cv2.INTER_LINEAR)
    expected = affine(**STEPS["all"])(image=d4(large, "r90"))["image"]
    ours = one(image, fixed(48, 112, "r90", **STEPS["all"]), 112)
    assert off(ours, expected)[0] < 1
    assert off(ours, expected)[1] <= 14
    inside = slice(40, 70)
    assert off(ours[inside, inside], expected[inside, inside])[0] < 0.3
    assert off(ours[inside, inside], expected[inside, inside])[1] <= 2


@pytest.mark.parametrize(("light", "contrast"), [(0.3, 0.4), (-0.45, 0.0), (0.0, -0.7), (0.9, 0.9), (-0.9, 0.2)])
def test_brightness_and_contrast_are_those_of_albumentations_to_the_bit(light, contrast):
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)
    expected = A.RandomBrightnessContrast((light, light), (contrast, contrast), p=1)(image=image)["image"]
    parameters = fixed(16, 16, alpha=1 + contrast, beta=255 * light)
    assert (one(image, parameters, 16) == expected).all()
    assert (on_device(image[None], parameters, 16, brightness=0.1)[0] == expected).all()
    assert expected.min() == 0 or expected.max() == 255 or contrast == -0.7


@pytest.mark.parametrize("factor", [0.2, 0.55, 0.999, 1.0, 1.2, 3.0])
def test_brightness_as_a_factor_is_that_of_keras_to_the_bit(factor):
    """Keras' `brightness_range` is Pillow's `ImageEnhance.Brightness` with a factor drawn from it."""
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)
    expected = np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor))
    values = {"brightness_range": (factor, factor)}
    parameters = draw(config(**values), np.arange(1), (16, 16), 16)
    assert (one(image, parameters, 16) == expected).all()
    assert (on_device(image[None], parameters, 16, **values)[0] == expected).all()


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("side", "size"), [(96, 48), (97, 49), (60, 54)])
def test_a_crop_comes_after_the_warp_as_albumentations_crops_the_centre(side, size, channels):
    """What lies outside of the crop is turned into it, not mirrored at its edge."""
    image = pictures(1, side, channels)[0]
    for element, steps in (("e", {}), ("r90", {"degrees": 31.0, "scale": (0.9, 1.1), "shift": (3, -2)})):
        whole = A.Compose([affine(**steps), A.CenterCrop(size, size)])(image=d4(image, element))["image"]
        parameters = fixed(side, size, element, crop=size / side, **steps)
        expected = whole.reshape(size, size, channels)
        coarse = channels == 2  # as in test_each_step_is_that_of_albumentations
        assert off(one(image, parameters, size), expected)[0] < (0.5 if coarse else 0.02)
        mean, largest = off(on_device(image[None], parameters, size, crop=size / side, flip=True)[0], expected)
        assert mean < 0.5
        assert largest <= 3


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("side", "size", "crop"), [(96, 48, 0.5), (64, 96, 0.75), (97, 60, 0.6)])
def test_the_device_crops_as_the_cpu_does(side, size, crop, channels):
    images, values = pictures(8, side, channels), EVERY | {"crop": crop, "brightness_range": (0.2, 1.2)}
    for parameters in (draw(config(**values), np.arange(8), (side, side), size), cropped(8, crop, (side, side), size)):
        ours = warp_batch(images, np.arange(8), parameters, size)
        mean, largest = off(on_device(images, parameters, size, **values), ours)
        assert mean < 0.1
        assert largest <= 3


def test_a_crop_enlarged_is_opencvs_resizing_of_it():
    image = pictures(1, 64, 3)[0]
    expected = cv2.resize(image, (128, 128), interpolation=cv2.INTER_LINEAR)[32:96, 32:96]
    assert off(one(image, cropped(1, 0.5, (64, 64), 64), 64), expected)[1] <= 1


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("side", "size"), [(31, 64), (32, 75), (48, 48)])
def test_enlarging_alone_is_opencvs_resizing(side, size, channels):
    """cv2.resize aligns the images' edges: pixel centres lie at halves."""
    images = pictures(2, side, channels, noise=True)
    expected = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR) for image in images])
    expected = expected.reshape(2, size, size, channels)
    still = draw(config(), np.arange(2), (side, side), size)
    assert (warp_batch(images, np.arange(2), None, size) == expected).all()
    assert off(warp_batch(images, np.arange(2), still, size), expected)[1] <= 1
    assert off(on_device(images, None, size), expected)[1] <= 1
    assert off(on_device(images, still, size), expected)[1] <= 1
    assert off(on_device(images, still, size, flip=True), expected)[1] <= 1


def test_shrinking_is_refused():
    image = pictures(1, 40, 3)
    with pytest.raises(ValueError, match="pack the images at 32"):
        one(image[0], None, 32)
    with pytest.raises(ValueError, match="pack the images at 32"):
        DeviceWarp(config(), 32)(torch.from_numpy(image), None)


@pytest.mark.parametrize(("side", "size"), [(40, 40), (41, 41), (40, 75)])
def test_a_warp_is_bilinear_interpolation_of_the_mirrored_image(side, size):
    """Written by hand in float64: inverse coordinates, mirroring, four neighbours."""
    image = pictures(1, side, 3)[0]
    parameters = draw(config(**EVERY | {"brightness": 0, "contrast": 0}), np.array([5]), (side, side), size)
    y, x = np.mgrid[:size, :size].astype(np.float64)
    u, v = np.einsum("rc,cyx->ryx", parameters.matrices[0], np.stack([x, y, np.ones_like(x)]))
    again = int(side != size)

    def pixel(column, row):
        mirrored = []
        for index in (column, row):
            index = index.astype(int) % (2 * (side - 1 + again))
            mirrored.append(np.where(index < side, index, 2 * (side - 1) + again - index))
        return image[mirrored[1], mirrored[0]].astype(np.float64)

    left, top = np.floor(u), np.floor(v)
    a, b = (u - left)[..., None], (v - top)[..., None]
    expected = (1 - b) * ((1 - a) * pixel(left, top) + a * pixel(left + 1, top))
    expected += b * ((1 - a) * pixel(left, top + 1) + a * pixel(left + 1, top + 1))
    for ours in (one(image, parameters, size), on_device(image[None], parameters, size, flip=True)[0]):
        mean, largest = off(ours, expected)
        assert mean < 0.5
        assert largest < 1.6


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("side", "size"), [(48, 48), (49, 49), (48, 97)])
def test_the_device_does_what_the_cpu_does(side, size, channels):
    images = pictures(16, side, channels)
    parameters = draw(config(**EVERY), np.arange(16), (side, side), size)
    ours = warp_batch(images, np.arange(16), parameters, size)
    mean, largest = off(on_device(images, parameters, size, **EVERY), ours)
    assert mean < 0.1
    # A level of the warp counts alpha times and may move past the cut.
    assert largest <= 3


def test_the_device_takes_float32_under_autocast():
    images = pictures(3, 40, 3)
    parameters = draw(config(**EVERY), np.arange(3), (40, 40), 40)
    expected = on_device(images, parameters, 40, **EVERY)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (on_device(images, parameters, 40, **EVERY) == expected).all()


@pytest.mark.parametrize("values", [EVERY, {"flip": True}, {"brightness": 0.3}, {}])
@pytest.mark.parametrize("channels", CHANNELS)
def test_the_normalised_batch_is_normalize_of_the_warped_one(values, channels):
    images = pictures(9, 32, channels, noise=True)
    rows, mean, std = np.array([8, 0, 3, 3]), [0.1, 0.5, 0.45, 0.7, 0.3, 0.2][:channels], [0.2, 0.25, 0.3, 0.4, 0.1, 1]
    for size in (32, 45):
        for parameters in (None, draw(config(**values), rows, (32, 32), size)):
            grey = torch.from_numpy(warp_batch(images, rows, parameters, size)).permute(0, 3, 1, 2).float()
            expected = Normalize(mean, std[:channels])(grey)
            memory = torch.empty((4, size, size, channels))
            ours = warp_normalized(images, rows, parameters, size, mean, std[:channels], memory)
            assert ours.data_ptr() == memory.data_ptr()
            assert torch.equal(warp_normalized(images, rows, parameters, size, mean, std[:channels]), ours)
            assert torch.equal(ours, expected)
            assert ours.stride() == expected.stride()


def test_equal_seeds_give_equal_images_in_any_batch_and_any_threads():
    images, rows = pictures(40, 32, 3), np.random.default_rng(0).permutation(40)
    seeds = np.random.default_rng(1).integers(0, 2**31, 40)

    def warped(part, threads=None):
        return warp_batch(images, rows[part], draw(config(**EVERY), seeds[part], (32, 32), 32), 32, threads=threads)

    everything = warped(slice(None))
    for threads in (1, 2, 3, 64):
        assert (warped(slice(None), threads) == everything).all()
    for part in (slice(0, 7), slice(30, 31), slice(None, None, -3)):
        assert (warped(part) == everything[part]).all()
    assert len({image.tobytes() for image in everything}) == 40


def test_a_memory_mapped_array_is_read_in_the_order_of_the_rows(tmp_path):
    images = pictures(10, 24, 3, noise=True)
    np.save(tmp_path / "packed.npy", images)
    mapped = np.load(tmp_path / "packed.npy", mmap_mode="r")
    rows = np.array([9, 0, 4, 4, 2])
    buffer = np.empty((5, 24, 24, 3), np.uint8)
    assert (warp_batch(mapped, rows, None, 24) == images[rows]).all()
    assert warp_batch(mapped, rows, draw(config(), rows, (24, 24), 24), 24, out=buffer) is buffer
    assert (buffer == images[rows]).all()
    assert (gather(mapped, rows) == images[rows]).all()
    assert gather(mapped, rows[::-1], buffer) is buffer
    assert (buffer == images[rows[::-1]]).all()
    for wrong in (warp_batch, gather):
        with pytest.raises(IndexError):
            wrong(mapped, np.array([1, 10]), *((None, 24) if wrong is warp_batch else ()))


@pytest.mark.parametrize("values", [{"zoom": 0.999999}, {"shear": 89.9}, {"shear": 45, "rotate": 180, "shift": 0.99}])
def test_extreme_ranges_end(values):
    images = pictures(8, 16, 3)
    parameters = draw(config(**values), np.arange(8), (16, 16), 16)
    assert np.isfinite(parameters.matrices).all()
    assert warp_batch(images, np.arange(8), parameters, 16).shape == images.shape
    assert np.isfinite(on_device(images, parameters, 16, **values)).all()


def _child(sender, images, parameters):
    sender.send(warp_batch(images, np.arange(len(images)), parameters, 32, threads=2))


def test_a_forked_process_has_threads_of_its_own():
    images = pictures(12, 32, 3)
    parameters = draw(config(**EVERY), np.arange(12), (32, 32), 32)
    expected = warp_batch(images, np.arange(12), parameters, 32, threads=2)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, images, parameters), daemon=True)
    child.start()
    try:
        assert receiver.poll(20), "the child waits for threads that it does not have"
        assert (receiver.recv() == expected).all()
        child.join(20)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_singular_warps_stay_finite():
    for values in ({"shear": (45.0, 45.0)}, {"scale": (1e-9, 1.0)}):
        parameters = fixed(16, 16, **values)
        assert np.abs(parameters.matrices).max() < 1e4
        assert one(pictures(1, 16, 3)[0], parameters, 16).shape == (16, 16, 3)


def test_what_does_not_fit_together_is_refused():
    images, rows = pictures(4, 16, 3), np.arange(4)
    with pytest.raises(ValueError, match="parameters of 3 images for 4 rows"):
        warp_batch(images, rows, draw(config(), np.arange(3), (16, 16), 16), 16)
    for out in (
        np.empty((5, 16, 16, 3), np.uint8),
        np.empty((4, 16, 16, 3)),
        np.empty((4, 16, 16, 6), np.uint8)[..., :3],
    ):
        with pytest.raises(ValueError, match="out is"):
            warp_batch(images, rows, None, 16, out)
    with pytest.raises(ValueError, match="out is"):
        warp_normalized(images, rows, None, 16, [0] * 3, [1] * 3, torch.empty((4, 16, 16, 3), dtype=torch.float64))


def test_nothing_is_warped_to_nothing():
    images = pictures(2, 16, 3)
    assert warp_batch(images, np.array([], int), None, 16).shape == (0, 16, 16, 3)
