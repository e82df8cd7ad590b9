"""The configuration's augmentation as albumentations does it: what `kit.pixels.warp` is held against."""

from typing import Any

import albumentations as A
import cv2

from kit.config import TrainConfig


def standard_steps(config: TrainConfig) -> list[Any]:
    """The configuration's steps; all turns, zooms, shifts and shears are one warp, reflected at the border."""
    steps: list[Any] = []
    if config.flip and config.rot90:
        steps.append(A.D4(p=1))
    elif config.flip:
        steps.append(A.HorizontalFlip(p=0.5))
    elif config.rot90:
        steps.append(A.RandomRotate90(p=1))
    if config.rotate or config.zoom or config.shift or config.shear:
        warp = A.Affine(
            rotate=(-config.rotate, config.rotate),
            scale=(1 - config.zoom, 1 + config.zoom),
            translate_percent=(-config.shift, config.shift),
            shear=(-config.shear, config.shear),
            interpolation=cv2.INTER_LINEAR,
            border_mode=cv2.BORDER_REFLECT_101,
            p=1,
        )
        steps.append(warp)
    if config.brightness or config.contrast:
        steps.append(A.RandomBrightnessContrast(config.brightness, config.contrast, p=1))
    return steps
