"""`kit explore --augmented`: what is shown is what training makes, and the numbers are those that were drawn."""

from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from PIL import Image

from kit.hooks.registry import Registry
from kit.pixels.augment import make_augment
from kit.pixels.batches import Loader, Normalize
from kit.pixels.draw import Drawn, draw_steps
from kit.pixels.samples import Samples
from kit.reports.augmented import IMAGES, TIMES, _augmented
from kit.resolve import resolve

STEPS = ["rotate=45", "rot90=true", "zoom=0.2", "shift=0.1", "brightness_range=0.2..1.2", "probabilities=rotate=0.5"]


def test_the_picture_shows_what_training_makes_of_these_images(store):
    for crop in (1, 0.5):
        settings = [*STEPS, f"crop={crop}", "size=40", "pack=false"]
        config, _ = resolve(store.competition, True, settings=settings)
        index = store.index()
        samples = Samples.of(index, index.train.head(1), store.dataset, 40, crop=config.crop)
        seeds = np.arange(5)
        augment, normalize = make_augment(config, None, Registry()), Normalize([0.0] * 3, [1.0] * 3)
        loader = Loader(samples, augment, 0, torch.device("cpu"), normalize)
        (batch,) = loader.batches([(np.zeros(5, np.intp), seeds)])
        trained = (batch.images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        images, _ = _augmented(augment, config, samples.whole(0), seeds)
        assert (np.stack(images) == trained).all()


def test_what_was_drawn_is_told():
    def pair(x: float, y: float) -> np.ndarray:
        return np.array([[x, y], [x, y]])

    ones, none = np.ones(2), np.zeros(2)
    drawn = Drawn(
        np.array([6, 0]),
        np.array([12.4, 0]),
        np.array([[1.05, 0.97], [1, 1]]),
        np.array([[3, -0.0], [0, 0]]),
        np.array([[2, -1], [0, 0]]),
        np.array([0.8, 1]),
        np.array([-0.05, 0]),
        np.array([1.1, 1]),
    )
    assert drawn.text(0) == (
        "mirrored left-right, turned 12°, zoom 1.05 0.97, shift +3 +0 px, shear 2° -1°, brightness x 0.80, "
        "brightness -0.05, contrast x 1.10"
    )
    assert drawn.text(1) == ""
    turned = Drawn(np.array([1, 5]), none, pair(1, 1), pair(0, 0), pair(0, 0), ones, none, ones)
    assert [turned.text(place) for place in (0, 1)] == ["turned 90°", "mirrored along /"]


@pytest.mark.parametrize("competition", ["histo", "ham10000"])
def test_the_command_writes_one_picture(kit, competition):
    kit("download", competition, "--miniature")
    settings = [word for step in STEPS for word in ("--set", step)]
    document = kit("explore", competition, "--augmented", *settings, "--json").json
    (picture,) = document["pictures"]
    assert [(each["seed"]) for each in document["drawn"]] == list(range(IMAGES * TIMES))
    config, _ = resolve_of(competition, STEPS)
    texts = draw_steps(config, np.arange(IMAGES * TIMES), config.size)
    assert [each["drawn"] for each in document["drawn"]] == [
        texts.text(n) or "unchanged" for n in range(IMAGES * TIMES)
    ]
    assert len({each["id"] for each in document["drawn"]}) == IMAGES
    with Image.open(picture["path"]) as image:
        image.load()
        assert min(image.size) > 1000


def resolve_of(competition, settings):
    return resolve(Registry().competitions.get(competition), True, settings=settings)


def test_ones_own_pipeline_is_shown_too(kit, store, tmp_path):
    A.save(A.Compose([A.InvertImg(p=1)]), tmp_path / "mine.json", data_format="json")
    config, _ = resolve(store.competition, True, settings=[f"augment={tmp_path}/mine.json", "size=32", "crop=0.5"])
    whole = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    images, texts = _augmented(make_augment(config, Path(), Registry()), config, whole, np.array([3, 4]))
    assert all((image == 255 - whole[16:48, 16:48]).all() for image in images)
    assert texts == ["seed 3", "seed 4"]
    assert kit("explore", "histo", "--augmented", "--set", f"augment={tmp_path}/mine.json").code == 0


def test_what_can_not_be_shown_is_one_line(kit, store):
    still = [word for step in ("flip", "rot90") for word in ("--set", f"{step}=false")]
    still += [word for step in ("rotate", "brightness", "contrast") for word in ("--set", f"{step}=0")]
    assert "augments nothing" in kit("explore", "histo", "--augmented", *still, code=2).err
    assert "--augmented" in kit("explore", "histo", "--set", "rotate=5", code=2).err
