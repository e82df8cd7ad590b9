"""What a card makes of packed pixels is what the CPU makes of them."""

import numpy as np
import pytest
import torch

from helpers.device_runs import CPU, config_of, loader_of, made, with_own_statistics
from helpers.warp_cases import EVERY, config, off, pictures
from kit.hooks.registry import Registry
from kit.pixels.batches import Loader, Normalize
from kit.pixels.sampler import training_plan
from kit.pixels.steps import DeviceSteps, Step, apply
from kit.pixels.warp import DeviceWarp, Steps, cropped, draw, warp_batch, warp_normalized

pytestmark = pytest.mark.gpu

ALONE = {name: {name: value} for name, value in EVERY.items()} | {
    "flip_vertical": {"flip_vertical": True},
    "brightness_range": {"brightness_range": (0.2, 1.2)},
    "nothing": {},
    "all": EVERY | {"flip_vertical": True, "brightness_range": (0.2, 1.2)},
}
CHANNELS = (3, 4, 6)
WARPED = ("rotate", "zoom", "shift", "shear", "all")


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("side", "size", "crop"), [(48, 48, 1.0), (49, 49, 1.0), (48, 97, 1.0), (64, 96, 0.75)])
@pytest.mark.parametrize("steps", ALONE)
def test_the_card_warps_as_the_cpu_does(device, steps, side, size, crop, channels):
    images, values = pictures(16, side, channels), ALONE[steps] | {"crop": crop}
    parameters = draw(config(**values), np.arange(16), (side, side), size)
    packed = torch.from_numpy(parameters.packed()).to(device)
    found = DeviceWarp(config(**values), size, crop).to(device)(torch.from_numpy(images).to(device), packed)
    assert found.device.type == device.type
    assert found.is_contiguous(memory_format=torch.channels_last)
    expected = warp_batch(images, np.arange(16), parameters, size)
    mean, largest = off(found.permute(0, 2, 3, 1).cpu().numpy(), expected)
    if side == size and steps in ("flip", "flip_vertical", "rot90", "nothing"):
        assert largest == 0
    # Enlarging alone is cv2.resize on the CPU, whose weights are rounded otherwise than those of its warp.
    assert mean < (0.2 if size > side and steps not in WARPED else 0.1)
    assert largest <= 3  # a level of the warp counts alpha times and may move past the cut


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("side", "size", "crop"), [(48, 48, 1.0), (40, 75, 1.0), (64, 48, 0.75)])
def test_the_card_crops_and_enlarges_as_the_cpu_does(device, side, size, crop, channels):
    images = pictures(8, side, channels)
    parameters = None if crop == 1 else cropped(8, crop, (side, side), size)
    packed = None if parameters is None else torch.from_numpy(parameters.packed()).to(device)
    found = DeviceWarp(None, size, crop)(torch.from_numpy(images).to(device), packed)
    expected = warp_batch(images, np.arange(8), parameters, size)
    assert off(found.permute(0, 2, 3, 1).cpu().numpy(), expected)[1] <= 1


@pytest.mark.parametrize("channels", [1, *CHANNELS])
@pytest.mark.parametrize("spec", Registry().augmentations, ids=lambda spec: spec.name)
def test_further_steps_on_the_card_are_those_of_the_cpu(device, spec, channels):
    images = pictures(16, 48, channels)
    for share in (0.2, 1):
        step = Step(spec, share * spec.high, 0.7)
        drawn = step.draw(np.arange(16), 48, channels)
        expected = np.stack([apply([drawn], image, place) for place, image in enumerate(images)])
        given = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
        found = DeviceSteps([step], 48, channels)(given, torch.from_numpy(drawn.packed).to(device))
        mean, largest = off(found.permute(0, 2, 3, 1).cpu().numpy(), expected)
        assert mean < 0.01
        assert largest <= 1


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("own", [False, True], ids=["one mean and std", "each row's own"])
def test_the_card_normalises_as_the_cpu_does(device, own, channels):
    images, rows = pictures(9, 32, channels), np.array([8, 0, 3, 3])
    random = np.random.default_rng(0)
    shape = (4, channels) if own else (channels,)
    mean, std = (random.uniform(low, low + 0.3, shape).astype(np.float32) for low in (0.3, 0.1))
    parameters = draw(config(**EVERY), rows, (32, 32), 45)
    expected = warp_normalized(images, rows, parameters, 45, mean, std)
    warp = DeviceWarp(config(**EVERY), 45)
    grey = warp(torch.from_numpy(images[rows]).to(device), torch.from_numpy(parameters.packed()).to(device))
    normalize = Normalize(np.zeros(channels) if own else mean, np.ones(channels) if own else std).to(device)
    found = normalize(grey, *(torch.from_numpy(each).to(device) for each in (mean, std) if own)).cpu()
    step = torch.from_numpy(1 / (255 * std)).reshape(-1, channels, 1, 1)  # what one grey level is
    difference = (found - expected).abs() / step
    assert difference.mean() < 0.1
    assert difference.max() < 3.01


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("own", [False, True], ids=["one mean and std", "each row's own"])
@pytest.mark.parametrize("augment", [{}, EVERY], ids=["as they are", "augmented"])
def test_the_loader_of_the_card_is_that_of_the_cpu(tmp_path, device, augment, own, channels):
    data = made(tmp_path, 50, channels=channels)
    samples = with_own_statistics(data.samples) if own else data.samples
    settings, numbers = config_of(**augment), ([0.4] * channels, [0.25] * channels)
    plan = [batch for step in training_plan(50, 16, (0,)) for batch in step]
    theirs = Loader(samples, Steps(settings) if augment else None, 0, CPU, Normalize(*numbers))
    ours = loader_of(samples, settings if augment else None, device, Normalize(*numbers).to(device))
    for found, expected in zip(ours.batches(plan), theirs.batches(plan), strict=True):
        assert found.images.device.type == found.target.device.type == found.metadata.device.type == device.type
        assert torch.equal(found.target.cpu(), expected.target)
        assert torch.equal(found.metadata.cpu(), expected.metadata)
        assert torch.equal(found.rows, expected.rows)
        width = 0.1 if own else 0.25  # the smallest std, of pixels in 0..1
        difference = (found.images.cpu() - expected.images).abs() * 255 * width
        assert difference.mean() < 0.1
        assert difference.max() < 4.01  # noise: neighbours lie a hundred levels apart
