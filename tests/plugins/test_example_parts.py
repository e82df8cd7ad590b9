"""The examples of a head and of a step: what they add is right, and works with the rest."""

import importlib.util

import numpy as np
import pytest
import torch

from helpers import ROOT
from helpers.warp_cases import config, pictures
from kit.hooks import registry as registries
from kit.hooks.manager import load_plugins
from kit.hooks.registry import Registry
from kit.model.network import HeadName
from kit.pixels.steps import DeviceSteps, apply, chosen_steps


@pytest.fixture
def registry():
    plugins, before = load_plugins(), registries.shared()
    for name in ("kit-gem", "kit-stain"):
        path = ROOT / "examples" / name / f"{name.replace('-', '_')}.py"
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        plugins.add(module, name, name, "0.1.0")
    registries.share(Registry(plugins))
    yield registries.installed()
    registries._shared.set(before)


def test_the_head_is_a_generalised_mean_with_an_exponent_for_each_channel(registry):
    features = torch.rand(2, 4, 3, 3) * 6e4
    head = HeadName(registry.heads.get("gem_channels")).build(4, 3, 1)
    powers = torch.tensor([1.0, 2.0, 3.0, 8.0])
    head.p.data.copy_(powers)
    expected = (features.double() ** powers[:, None, None]).mean((2, 3)) ** (1 / powers.double())
    output = head(features.half(), torch.ones(2, 1))
    torch.testing.assert_close(output.embedding[:, :4].double(), expected, rtol=2e-3, atol=1e-6)
    output.logits.sum().backward()
    assert head.p.grad.isfinite().all()


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_the_step_scales_densities_alike_in_both_forms(registry, channels):
    (step,) = chosen_steps(config(steps={"density": 0.5}), registry)
    images, drawn = pictures(4, 16, channels, noise=True), step.draw(np.arange(4), 16, channels)
    ours = np.stack([apply([drawn], image, place) for place, image in enumerate(images)])
    given = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    theirs = DeviceSteps([step], 16, channels)(given, torch.from_numpy(drawn.packed)).permute(0, 2, 3, 1).numpy()
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    with np.errstate(divide="ignore"):
        density = -np.log10(images / 255) * drawn.values[:, None, None, :]
    assert np.abs(np.rint(255 * 10**-density) - ours).max() <= 1
    assert drawn.text(0).startswith("density x ")
