"""Further steps of augmentation on their way from the configuration to batches, those of strangers too."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.leaf_images import Leaves
from helpers.strangers import registry_of, shown
from helpers.warp_cases import EVERY, config, pictures
from kit.config import validate
from kit.errors import KitError, PluginError
from kit.hooks.hookspecs import hookimpl
from kit.hooks.learning import AugmentationSpec
from kit.hooks.manager import load_plugins
from kit.hooks.registry import Registry
from kit.pixels.augment import make_augment
from kit.pixels.batches import Loader, Normalize
from kit.pixels.steps import DeviceSteps, Step, apply, chosen_steps
from kit.pixels.warp import draw, steps_of, warp_batch, warp_normalized
from kit.resolve import parse_settings

ALL = {"hue": 0.1, "saturation": 0.5, "stain": 0.1, "cutout": 0.3, "blur": 1.0, "noise": 0.1}


def batches(samples, settings, workers: int = 0, on_device: bool = False) -> list[torch.Tensor]:
    augment = make_augment(settings, None, Registry())
    loader = Loader(samples, augment, workers, torch.device("cpu"), Normalize([0.0] * 3, [1.0] * 3))
    loader.on_device = on_device
    plan = [(np.array([0, 1, 2]), np.array([7, 8, 9])), (np.array([5, 0]), np.array([1, 2]))]
    return [batch.images.clone() for batch in loader.batches(plan)]


@pytest.mark.parametrize("values", [{"steps": ALL}, {"steps": ALL, **EVERY, "probabilities": {"stain": 0.5}}])
def test_a_batch_is_the_same_from_files_from_workers_from_a_pack_and_within_a_level_beside_a_device(tmp_path, values):
    made, settings = Leaves(tmp_path), config(size=20, **values)
    plain = batches(made.samples(20, pack=False), settings)
    for other in (
        batches(made.samples(20, pack=False), settings, workers=2),
        batches(made.samples(20, pack=True), settings),
    ):
        assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))
    beside = batches(made.samples(20, pack=True), settings, on_device=True)
    for ours, theirs in zip(plain, beside, strict=True):
        difference = 255 * (ours - theirs).abs()
        # The warps themselves differ by some levels on this noise, and steps may double that.
        assert difference.max() <= (1.01 if "rotate" not in values else 9)
        assert difference.mean() < 0.3
    assert all(
        (a != b).any() for a, b in zip(plain, batches(made.samples(20, pack=True), config(size=20)), strict=True)
    )


def test_an_image_comes_from_its_seed_alone_and_a_step_more_leaves_the_other_draws_alone():
    images, registry = pictures(12, 24, 3), Registry()
    steps = make_augment(config(steps=ALL, **EVERY), None, registry)

    def made(rows: np.ndarray, threads: int) -> np.ndarray:
        parameters = steps_of(steps, rows * 3, len(rows), 1, (24, 24, 3), 24)
        return warp_batch(images, rows, parameters, 24, threads=threads)

    whole = made(np.arange(12), 1)
    assert (made(np.array([5, 2]), 2) == whole[[5, 2]]).all()
    # After the moves and shades, in the configuration's order; normalised as ever.
    parameters = steps_of(steps, np.arange(12) * 3, 12, 1, (24, 24, 3), 24)
    by_hand = warp_batch(images, np.arange(12), draw(steps.config, np.arange(12) * 3, (24, 24), 24), 24)
    assert (np.stack([apply(parameters.further, each, place) for place, each in enumerate(by_hand)]) == whole).all()
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    floats = warp_normalized(images, np.arange(12), parameters, 24, mean, std)
    expected = Normalize(mean, std)(torch.from_numpy(whole).permute(0, 3, 1, 2).float())
    assert torch.equal(floats, expected)
    less = chosen_steps(config(steps={"stain": 0.1}), registry)[0].draw(np.arange(9), 24, 3)
    more = next(each for each in parameters.further if each.step.spec.name == "stain")
    assert np.array_equal(less.values[::3], more.values[:3])


def test_a_step_is_applied_as_often_as_asked():
    (step,) = chosen_steps(config(steps={"noise": 0.2}, probabilities={"noise": 0.3}), Registry())
    drawn = step.draw(np.arange(4000), 8, 1)
    assert drawn.applied.mean() == pytest.approx(0.3, abs=0.03)
    assert [bool(drawn.text(place)) for place in range(50)] == drawn.applied[:50].tolist()
    images = pictures(4000, 8, 1)
    changed = [(apply([drawn], image, place) != image).any() for place, image in enumerate(images)]
    assert np.mean(changed == drawn.applied) > 0.99
    given = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    found = DeviceSteps([step], 8, 1)(given, torch.from_numpy(drawn.packed))
    assert torch.equal(found[~drawn.applied], given[~drawn.applied])
    # A strength that changes nothing leaves the step out.
    assert chosen_steps(config(steps={"noise": 0}), Registry()) == ()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("steps=stian=0.2", "no augmentation is called 'stian': did you mean stain"),
        ("steps=hue=0.7", r"steps: hue = 0.7 is out of 0\.\.0\.5 .*: --set steps=hue=\.\.\."),
        ("steps=hue=-0.1", "hue = -0.1 is out of"),
        ("steps=hue", "steps = '': Input should be a valid number"),
        ("steps=hue=nan", "steps"),
        ("steps=rotate=20", "steps: rotate is a key of its own: --set rotate="),
        ("probabilities=stain=0.2", "probabilities: this configuration has no step 'stain'"),
        ("probabilities=rotat=0.2", "no step 'rotat': did you mean rotate"),
    ],
)
def test_what_can_not_be_is_refused_by_name(settings, said):
    with pytest.raises(KitError, match=said):
        chosen_steps(
            validate({"competition": "c", "dataset": "d", "loss": "bce"} | parse_settings([settings])), Registry()
        )


def stranger(name: str = "fade", **parts) -> Registry:
    """A registry with a step of a stranger, which lets the image fade, or goes wrong."""

    def draw(request):
        return request.strength * request.uniform(1)

    given = {
        "draw": draw,
        "array": lambda image, values: image * (1 - values[0]),
        "tensor": lambda images, values: images * (1 - values[:, :1, None, None]),
    }
    plugins = load_plugins()
    spec = AugmentationSpec(name, **given | parts)
    plugins.add(SimpleNamespace(kit_augmentations=hookimpl(lambda: [spec])), "own", "kit-own", "1")
    return Registry(plugins)


@pytest.mark.parametrize("of_the_docs", [False, True])
def test_a_step_of_a_stranger_is_worked_with_and_told(tmp_path, of_the_docs):
    registry = registry_of(tmp_path, shown("kit_fade")) if of_the_docs else stranger()
    (step,) = chosen_steps(config(steps={"fade": 0.5}), registry)
    drawn = step.draw(np.arange(4), 8, 2)
    images = pictures(4, 8, 2)
    expected = np.rint(images * (1 - drawn.values[:, :, None, None]))
    assert np.abs(np.stack([apply([drawn], each, place) for place, each in enumerate(images)]) - expected).max() == 0
    assert drawn.text(0).startswith("fade 0.")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"array": lambda image, values: image[:4]}, r"array of augmentation fade \(plugin own of kit-own\) returned"),
        ({"array": lambda image, values: None}, "array of augmentation fade .* returned None"),
        ({"array": lambda image, values: 1 / 0}, "array of augmentation fade .* failed at .*ZeroDivisionError"),
        ({"tensor": lambda images, values: images.mean(1)}, "tensor of augmentation fade .* returned torch.float32 of"),
        ({"draw": lambda request: request.uniform(1)[:, 0]}, "draw of augmentation fade .* not 3xP"),
        ({"draw": lambda request: np.zeros((1, 1))}, "draw of augmentation fade .* for 3 images"),
    ],
)
def test_a_step_that_goes_wrong_is_named_with_its_plugin(parts, said):
    (step,) = chosen_steps(config(steps={"fade": 0.5}), stranger(**parts))

    def work() -> None:
        drawn = step.draw(np.arange(3), 8, 3)
        apply([drawn], pictures(1, 8, 3)[0], 0)
        DeviceSteps([step], 8, 3)(torch.zeros(3, 3, 8, 8), torch.from_numpy(drawn.packed))

    with pytest.raises(PluginError, match=said):
        work()


@pytest.mark.parametrize(("name", "said"), [("rotate", "is that of a step that kit has itself"), ("a=b", "separates")])
def test_a_name_that_could_not_be_asked_for_breaks_its_plugin(name, said):
    registry = stranger(name)
    plugins, _ = registry.problems()
    (own,) = (plugin for plugin in plugins if plugin.distribution == "kit-own")
    assert said in own.error


def test_a_step_draws_for_each_image_from_its_row_alone():
    step = Step(next(iter(Registry().augmentations)), 0.5, 1)
    assert np.array_equal(step.draw(np.array([3]), 8, 3).values[0], step.draw(np.arange(9), 8, 3).values[3])
