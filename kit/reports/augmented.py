"""A picture of what augmentation makes of training images: each before, then after it several times."""

from pathlib import Path
from typing import Any

import numpy as np

from kit.config import TrainConfig
from kit.console import Console
from kit.data.images import read_sample, resize
from kit.data.index import Index
from kit.errors import KitError
from kit.hooks.specs import DatasetSpec
from kit.pixels.augment import make_augment
from kit.pixels.draw import draw_steps
from kit.pixels.pack import stored_side
from kit.pixels.warp import cropped, parameters_of, warp_batch
from kit.reports import figures

IMAGES, TIMES = 6, 5  # images drawn, and how often each is augmented
SIDE, LONGEST = 2.2, 24  # of an image in inches, of an id in letters


def write_augmented(
    dataset: DatasetSpec, index: Index, config: TrainConfig, folder: Path, console: Console
) -> tuple[list[tuple[Path, str]], list[dict[str, Any]]]:
    """Write `augmented.png` to `folder`: rows of an image and what training may make of it, with what was drawn.

    Images and draws come from the configuration's seed, so an equal configuration gives an equal picture. The images
    are those that training sees before they are normalised, as the competition shows them to people.

    Returns:
        The path with its caption, and for each augmented image its id, its seed and what was drawn for it.
    """
    if make_augment(config, Path()) is None and config.crop == 1:
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
            after, texts = _augmented(config, whole, seeds)
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


def _augmented(config: TrainConfig, whole: np.ndarray, seeds: np.ndarray) -> tuple[list[np.ndarray], list[str]]:
    """Augment one image with each of these seeds, size x size x C uint8; return also what was drawn."""
    source, many = (whole.shape[0], whole.shape[1]), np.zeros(len(seeds), np.intp)
    augment = make_augment(config, Path())
    if callable(augment):
        images = np.stack([augment(whole, int(seed)) for seed in seeds])
        images = warp_batch(
            images, np.arange(len(seeds)), cropped(len(seeds), config.crop, source, config.size), config.size
        )
        return list(images), [f"seed {seed}" for seed in seeds]
    drawn = draw_steps(config, seeds, config.size)
    images = warp_batch(whole[None], many, parameters_of(drawn, config.crop, source, config.size), config.size)
    return list(images), [drawn.text(place) for place in range(len(seeds))]
