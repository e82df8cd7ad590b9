"""Augment training images: by steps (`kit.pixels.warp`, `kit.pixels.steps`) or by the user's own albumentations."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.config import TrainConfig
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.pixels.batches import Augment
from kit.pixels.draw import varies
from kit.pixels.steps import chosen_steps
from kit.pixels.warp import Steps

if TYPE_CHECKING:
    import albumentations as A


class Pipeline:
    """An albumentations pipeline as (image, seed) -> image; equal seeds give equal images."""

    def __init__(self, compose: "A.Compose") -> None:
        self.compose = compose

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Augment an image: HxWxC uint8 -> HxWxC uint8."""
        self.compose.set_random_seed(seed)
        result: np.ndarray = self.compose(image=image)["image"]
        if not isinstance(result, np.ndarray) or result.dtype != np.uint8 or result.shape != image.shape:
            got = f"{getattr(result, 'dtype', type(result).__name__)} {tuple(getattr(result, 'shape', ()))}"
            raise KitError(
                f"the augmentation returns {got}, training needs uint8 {image.shape}: end the pipeline with "
                f"Resize({image.shape[0]}, {image.shape[1]}) and leave Normalize and ToTensor to kit"
            )
        return result


def load_pipeline(path: Path) -> "A.Compose":
    """Load a pipeline that `albumentations.save` wrote as JSON."""
    _need_albumentations(path)
    if not path.is_file():
        raise KitError(f"no pipeline at {path}: albumentations.save(pipeline, 'FILE.json') writes one")
    # Without this, importing albumentations asks a package registry for a newer version.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    try:
        pipeline = A.load(path, data_format="json")
    except Exception as error:
        # Depending on the content of the file, albumentations raises almost anything.
        raise KitError(f"{path} is not a saved albumentations pipeline ({type(error).__name__}: {error})") from None
    return pipeline if isinstance(pipeline, A.Compose) else A.Compose([pipeline])


def _need_albumentations(path: Path) -> None:
    if find_spec("albumentations") is None:
        raise KitError(
            f"{path} needs albumentations, which is not installed: pip install 'albumentations>=2.0.8,<3', "
            "or drop --augment"
        )


def make_augment(config: TrainConfig, folder: Path, registry: Registry) -> Augment | None:
    """Return a run's augmentation or None; a pipeline file lies in the run's `folder` under its configured name."""
    if config.augment is not None:
        return Pipeline(load_pipeline(folder / config.augment))
    further = chosen_steps(config, registry)
    return Steps(config, further) if further or varies(config) else None
