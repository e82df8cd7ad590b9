"""Warps for tests: configurations, pictures, fixed parameters."""

import cv2
import numpy as np

from kit.config import TrainConfig
from kit.pixels.warp import GROUP, Parameters, compose

EVERY = {
    "flip": True,
    "rot90": True,
    "rotate": 30,
    "zoom": 0.2,
    "shift": 0.1,
    "shear": 8,
    "brightness": 0.2,
    "contrast": 0.3,
}


def config(**values) -> TrainConfig:
    return TrainConfig(**{"competition": "c", "dataset": "d", "loss": "bce", "flip": False, **values})


def pictures(count: int, side: int, channels: int, noise: bool = False) -> np.ndarray:
    """Smooth pictures over the whole range of grey, or noise."""
    random = np.random.default_rng(side + channels)
    images = random.integers(0, 256, (count, side, side, channels), np.uint8)
    if noise:
        return images
    smooth = [cv2.GaussianBlur(image.astype(np.float32), (0, 0), side / 16).reshape(image.shape) for image in images]
    return np.stack([((s - s.min()) / (s.max() - s.min()) * 255).round().astype(np.uint8) for s in smooth])


def fixed(
    side: int,
    size: int,
    element="e",
    degrees=0.0,
    scale=(1.0, 1.0),
    shift=(0, 0),
    shear=(0.0, 0.0),
    alpha=1.0,
    beta=0.0,
    crop=1.0,
) -> Parameters:
    """The parameters of one image."""
    matrices = compose(
        np.array([GROUP.index(element)]),
        np.array([degrees]),
        np.array([scale]),
        np.array([shift]),
        np.array([shear]),
        (side, side),
        size,
        crop,
    )
    return Parameters(matrices, np.array([alpha], np.float32), np.array([beta], np.float32), crop)


def off(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Mean and largest difference in grey levels."""
    difference = np.abs(ours.astype(np.float64) - theirs)
    return float(difference.mean()), float(difference.max())
