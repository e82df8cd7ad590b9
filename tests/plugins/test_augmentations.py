"""The built-in steps of augmentation: both forms alike, and each against an independent reference in float64."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from scipy.spatial.transform import Rotation
from torchvision.transforms.v2 import functional as tv

from helpers.warp_cases import pictures
from kit.hooks.registry import Registry
from kit.pixels.steps import DeviceSteps, Step, apply

SPECS = {spec.name: spec for spec in Registry().augmentations}
COUNT, SIDE = 8, 40


def drawn(name: str, strength: float, channels: int, count: int = COUNT, side: int = SIDE):
    return Step(SPECS[name], strength, 1).draw(np.arange(count) * 7, side, channels)


def on_cpu(step, images: np.ndarray) -> np.ndarray:
    return np.stack([apply([step], image, place) for place, image in enumerate(images)])


def on_device(step, images: np.ndarray) -> np.ndarray:
    given = torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
    before = given.clone()
    device = DeviceSteps([step.step], images.shape[1], images.shape[3])
    found = device(given, torch.from_numpy(step.packed))
    assert torch.equal(given, before)
    return found.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("noise", [False, True])
def test_both_forms_of_a_step_agree_and_it_changes_the_image(name, channels, noise):
    spec, images = SPECS[name], pictures(COUNT, SIDE, channels, noise)
    for share in (0.1, 1):
        step = drawn(name, share * spec.high, channels)
        ours, theirs = on_cpu(step, images), on_device(step, images)
        assert np.abs(ours.astype(int) - theirs).max() <= 1
        assert (ours != theirs).mean() < 0.01
        colours = name in ("hue", "saturation")
        assert (ours != images).any() == (channels >= (3 if name == "hue" else 2 if colours else 1))


@pytest.mark.parametrize("name", SPECS)
def test_the_lowest_strength_changes_nothing_and_an_image_has_its_own_draw(name):
    images = pictures(COUNT, SIDE, 3)
    assert (on_cpu(drawn(name, SPECS[name].low, 3), images) == images).all()
    whole = drawn(name, SPECS[name].high, 3)
    part = Step(SPECS[name], SPECS[name].high, 1).draw(np.array([14, 7]), SIDE, 3)
    assert np.array_equal(part.values, whole.values[[2, 1]])
    assert all(whole.text(place).startswith(name) for place in range(COUNT))


def clipped(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255)


def test_hue_turns_rgb_about_the_grey_axis():
    images, step = pictures(COUNT, SIDE, 3, noise=True), drawn("hue", 0.5, 3)
    for image, ours, parameters in zip(images, on_cpu(step, images), step.values, strict=True):
        about = np.radians(float(parameters[0])) * np.ones(3) / 3**0.5
        assert np.abs(clipped(Rotation.from_rotvec(about).apply(image.reshape(-1, 3))) - ours.reshape(-1, 3)).max() <= 1
    for channels in (3, 4, 6):
        grey = np.repeat(pictures(COUNT, SIDE, 1), channels, 3)
        assert np.abs(on_cpu(drawn("hue", 0.5, channels), grey).astype(int) - grey).max() <= 1
        angles = drawn("hue", 0.5, channels, 4000).values[:, 0]
        assert stats.kstest(angles, stats.uniform(-180, 360).cdf).pvalue > 1e-3


def test_saturation_is_a_mix_with_the_mean_of_the_channels():
    for channels in (2, 3, 6):
        images, step = pictures(COUNT, SIDE, channels, noise=True), drawn("saturation", 0.8, channels)
        grey, factor = images.mean(3, keepdims=True), step.values[:, 0].astype(float)[:, None, None, None]
        assert np.abs(clipped(grey + factor * (images - grey)) - on_cpu(step, images)).max() <= 1


def test_stains_are_separated_scaled_shifted_and_put_together_again():
    haematoxylin, eosin, dab = [0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]
    basis = np.array([np.array(each) / np.linalg.norm(each) for each in (haematoxylin, eosin, dab)])
    images, step = pictures(COUNT, SIDE, 3, noise=True), drawn("stain", 0.2, 3)
    for image, ours, parameters in zip(images, on_cpu(step, images), step.values.astype(float), strict=True):
        density = -np.log10((image.astype(float) + 1) / 256)
        stains = np.linalg.solve(basis.T, density.reshape(-1, 3).T).T
        changed = (stains * parameters[:3] + parameters[3:6]) @ basis
        assert np.abs(clipped(256 * 10**-changed - 1) - ours.reshape(-1, 3)).max() <= 1
    # What is stained with one of them keeps its colour, and a shift of nothing else tints the white background.
    only = np.array([[[256 * 10.0 ** -(0.5 * basis[0, c]) - 1 for c in range(3)]]]).round().astype(np.uint8)
    factor = np.array([1.2, 1, 1, 0, 0, 0], np.float32)
    mixing = np.linalg.inv(basis) @ np.diag([1.2, 1, 1]) @ basis
    told = SPECS["stain"].array(only, np.concatenate([factor, mixing.ravel(), np.zeros(3)]).astype(np.float32))
    assert np.abs(told - (256 * 10.0 ** -(0.6 * basis[0]) - 1)).max() < 2
    images, step = pictures(COUNT, SIDE, 4, noise=True), drawn("stain", 0.2, 4)
    factors, shifts = step.values[:, None, None, :4].astype(float), step.values[:, None, None, 4:8].astype(float)
    changed = -np.log10((images.astype(float) + 1) / 256) * factors + shifts
    assert np.abs(clipped(256 * 10**-changed - 1) - on_cpu(step, images)).max() <= 1


def test_cutout_covers_one_square_that_lies_anywhere():
    images, step = np.zeros((400, 20, 20, 1), np.uint8), drawn("cutout", 0.3, 1, 400, 20)
    covered = on_cpu(step, images)[..., 0]
    assert set(np.unique(covered)) == {0, 128}
    tops = []
    for image, (left, top, right, bottom) in zip(covered, step.values.astype(int), strict=True):
        expected = tv.erase(torch.zeros(1, 20, 20), top, left, bottom - top, right - left, torch.tensor(128.0))
        assert np.array_equal(image, expected[0].numpy())
        assert right - left == 6 or left == 0 or right == 20
        tops.append(top)
    assert len(np.unique(tops)) > 12


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_blur_is_that_of_scipy(channels):
    images, step = pictures(COUNT, SIDE, channels, noise=True), drawn("blur", 3, channels)
    radius = step.values.shape[1] - 2
    for image, ours, parameters in zip(images, on_cpu(step, images), step.values, strict=True):
        sigma = max(float(parameters[0]), 1e-3)
        theirs = ndimage.gaussian_filter(image.astype(float), sigma, mode="mirror", radius=radius, axes=(0, 1))
        assert np.abs(clipped(theirs) - ours).max() <= 1
    assert drawn("blur", 16, 3, side=8).values.shape[1] - 2 == 7


def test_noise_is_normal_and_that_of_one_image_tells_nothing_of_another():
    step = drawn("noise", 0.3, 3, 40, 64)
    flat = np.full((40, 64, 64, 3), 128, np.uint8)
    raw = [SPECS["noise"].array(image, values) - 128 for image, values in zip(flat, step.values, strict=True)]
    unit = np.stack([each / values[0] for each, values in zip(raw, step.values, strict=True)]).reshape(40, -1)
    for each in unit:
        assert abs(each.mean()) < 5 / each.size**0.5
        assert abs(each.std() - 1) < 5 / (2 * each.size) ** 0.5
        assert stats.kstest(each, "norm").pvalue > 1e-4
    between = np.corrcoef(unit) - np.eye(40)
    assert np.abs(between).max() < 5.5 / unit.shape[1] ** 0.5
    for lag in (1, 3, 192):
        assert abs(np.mean(unit[:, lag:] * unit[:, :-lag])) < 5 / unit.size**0.5
    sigmas = drawn("noise", 0.3, 3, 4000).values[:, 0]
    assert stats.kstest(sigmas, stats.uniform(0, 0.3 * 255).cdf).pvalue > 1e-3
