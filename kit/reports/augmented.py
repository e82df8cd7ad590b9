"""A picture of what augmentation makes of training images: each before, then after it several times."""

from pathlib import Path
from typing import Any

import numpy as np

from kit.config import TrainConfig
from kit.console import Console
from kit.data.images import read_sample, resize, stored_side
from kit.data.index import Index
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.hooks.specs import DatasetSpec
from kit.pixels.augment import make_augment
from kit.pixels.batches import Augment
from kit.pixels.draw import draw_steps
from kit.pixels.warp import cropped, steps_of, warp_batch
from kit.reports import figures

IMAGES, TIMES = 6, 5  # images drawn, and how often each is augmented
SIDE, LONGEST = 2.2, 24  # of an image in inches, of an id in letters


def write_augmented(
    registry: Registry, dataset: DatasetSpec, index: Index, config: TrainConfig, folder: Path, console: Console
) -> tuple[list[tuple[Path, str]], list[dict[str, Any]]]:
    """Write `augmented.png` to `folder`: rows of an image and what training may make of it, with what was drawn.

    Images and draws come from the configuration's seed, so an equal configuration gives an equal picture. The images
    are those that training sees before they are normalised, as the competition shows them to people.

    Returns:
        The path with its caption, and for each augmented image its id, its seed and what was drawn for it.
    """
    augment = make_augment(config, Path(), registry)
    if augment is None and config.crop == 1:
        raise KitError("this configuration augments nothing: --set rotate=20, or another step of kit config")
    rows = np.random.default_rng(config.seed).permutation(len(index.train))[:IMAGES].tolist()
    if not rows:
        raise KitError("there are no training images to augment: kit check says what there is")
    images, titles, drawn = [], [], []
    with console.progress("augmenting", len(rows)) as bar:
        for number, row in enumerate(rows):
            id_, files = index.train["id"].iat[row], index.train["files"].iat[row]
            whole = resize(read_sample(dataset, index.root, files), stored_side(config.size, config.crop))
            seeds = config.seed + np.arange(TIMES) + TIMES * number
            after, texts = _augmented(augment, config, whole, seeds)
            images += [dataset.picture(image) for image in (whole, *after)]
            titles += [f"before: {id_[:LONGEST]}", *texts]
            drawn += [{"id": id_, "seed": int(s), "drawn": text} for s, text in zip(seeds, texts, strict=True)]
            bar.advance()
    text = f"{len(rows)} training images before and after augmentation, with what was drawn"
    if config.mixup or config.cutmix:
        text += "; mixup and CutMix, which mix the images of a batch, are not drawn"
    path = folder / "augmented.png"
    figures.save(figures.image_grid(images, titles, text, TIMES + 1, side=SIDE), path)
    return [(path, text)], drawn


def _augmented(
    augment: Augment | None, config: TrainConfig, whole: np.ndarray, seeds: np.ndarray
) -> tuple[list[np.ndarray], list[str]]:
    """Augment one image with each of these seeds, size x size x C uint8; return also what was drawn."""
    size, count = config.size, len(seeds)
    height, width, channels = whole.shape
    if callable(augment):
        images = np.stack([augment(whole, int(seed)) for seed in seeds])
        images = warp_batch(images, np.arange(count), cropped(count, config.crop, (height, width), size), size)
        return list(images), [f"seed {seed}" for seed in seeds]
    parameters = steps_of(augment, seeds, count, config.crop, (height, width, channels), size)
    images = warp_batch(whole[None], np.zeros(count, np.intp), parameters, size)
    drawn, further = draw_steps(config, seeds, size), () if parameters is None else parameters.further
    texts = [
        ", ".join(filter(None, [drawn.text(place), *(step.text(place) for step in further)])) for place in range(count)
    ]
    return list(images), [text or "unchanged" for text in texts]
