"""Draw what to do to each image, from its seed alone: which flip and turn, how far, how bright.

Steps, ranges and probabilities are the configuration's, distributions are albumentations'. `kit.pixels.warp` does it.
"""

from dataclasses import dataclass

import numpy as np

from kit.config import TrainConfig
from kit.hooks.learning import FUSED_STEPS, FusedStep

# What the elements of `kit.pixels.warp.GROUP` do.
ELEMENTS = (
    "",
    "turned 90°",
    "turned 180°",
    "turned 270°",
    "mirrored up-down",
    "mirrored along /",
    "mirrored left-right",
    "mirrored along \\",
)


@dataclass(frozen=True)
class Drawn:
    """What was drawn for each of B images, in the units that people set.

    Args:
        element: index into `kit.pixels.warp.GROUP`: which flip and quarter turn.
        degrees: counter-clockwise.
        scale, shift, shear: Bx2, in x and y: factors, output pixels, degrees.
        factor, light, contrast: brightness as a factor, brightness as a share of white, contrast as a factor.
    """

    element: np.ndarray
    degrees: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    shear: np.ndarray
    factor: np.ndarray
    light: np.ndarray
    contrast: np.ndarray

    def text(self, place: int) -> str:
        """Say for people what was drawn for one image; only what changes it, so empty where nothing does."""
        (x, y), (right, down), (across, along) = (each[place] for each in (self.scale, self.shift + 0.0, self.shear))
        told = (
            (self.element[place] != 0, ELEMENTS[self.element[place]]),
            (self.degrees[place] != 0, f"turned {self.degrees[place]:.0f}°"),
            ((x, y) != (1, 1), f"zoom {x:.2f} {y:.2f}"),
            ((right, down) != (0, 0), f"shift {right:+.0f} {down:+.0f} px"),
            ((across, along) != (0, 0), f"shear {across:.0f}° {along:.0f}°"),
            (self.factor[place] != 1, f"brightness x {self.factor[place]:.2f}"),
            (self.light[place] != 0, f"brightness {self.light[place]:+.2f}"),
            (self.contrast[place] != 1, f"contrast x {self.contrast[place]:.2f}"),
        )
        return ", ".join(text for applies, text in told if applies)


def varies(config: TrainConfig) -> bool:
    """Return whether a configuration's steps change an image."""
    return moves(config) or shades(config)


def moves(config: TrainConfig) -> bool:
    """Return whether steps of a configuration move pixels."""
    return any(getattr(config, step) for step in ("flip", "flip_vertical", "rot90", "rotate", "zoom", "shift", "shear"))


def shades(config: TrainConfig) -> bool:
    """Return whether steps of a configuration change grey levels."""
    return bool(config.brightness or config.contrast or config.brightness_range)


def draw_steps(config: TrainConfig, seeds: np.ndarray, size: int) -> Drawn:
    """Draw what to do to B images from their B integer seeds: to each from its own seed alone, in any batch.

    Every number has a stream of its own, so a step more, or one that is applied less often, changes no other.
    """
    # New streams come after the present ones, whose numbers must not change.
    element, degrees, zoom_x, zoom_y, shift_x, shift_y, shear_x, shear_y, light, contrast, factor, *more = uniform(
        seeds, 13 + len(FUSED_STEPS)
    )
    upside, quarter, *lots = more
    applied = {step: lot < config.probabilities.get(step, 1) for step, lot in zip(FUSED_STEPS, lots, strict=True)}

    def between(step: FusedStep, *unit: np.ndarray) -> np.ndarray:
        return np.where(applied[step][:, None], getattr(config, step) * (2 * np.stack(unit, -1) - 1), 0)

    low, high = config.brightness_range or (1.0, 1.0)
    return Drawn(
        _elements(config, element, upside, quarter, applied["rot90"]),
        between("rotate", degrees)[:, 0],
        1 + between("zoom", zoom_x, zoom_y),
        # albumentations shifts by whole pixels, truncated towards zero.
        np.trunc(between("shift", shift_x, shift_y) * size),
        between("shear", shear_x, shear_y),
        np.where(applied["brightness_range"], low + (high - low) * factor, 1),
        between("brightness", light)[:, 0],
        1 + between("contrast", contrast)[:, 0],
    )


def _elements(
    config: TrainConfig, element: np.ndarray, upside: np.ndarray, quarter: np.ndarray, turned: np.ndarray
) -> np.ndarray:
    """Return B indices into `kit.pixels.warp.GROUP` from numbers in [0, 1), and which images may be turned."""
    mirrors = config.flip or config.flip_vertical
    if config.rot90 and mirrors and not config.probabilities.keys() & {"flip", "flip_vertical", "rot90"}:
        return (element * 8).astype(np.intp)  # turns and mirrors at even chances: each of the eight
    across = (element < config.probabilities.get("flip", 0.5)) & config.flip
    down = (upside < config.probabilities.get("flip_vertical", 0.5)) & config.flip_vertical
    turns = np.where(turned & config.rot90, (4 * (quarter if mirrors else element)).astype(np.intp), 0)
    # An element of the second half is v after turns; h is v after two of them.
    return 4 * (across ^ down) + (2 * across + turns) % 4


def uniform(seeds: np.ndarray, streams: int) -> np.ndarray:
    """Return streams x B numbers in [0, 1): splitmix64 of (seed, stream), https://prng.di.unimi.it/splitmix64.c."""
    step = np.uint64(0x9E3779B97F4A7C15)

    def mixed(z: np.ndarray) -> np.ndarray:
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    states = mixed(seeds.astype(np.uint64) + step) + np.arange(1, streams + 1, dtype=np.uint64)[:, None] * step
    return (mixed(states) >> np.uint64(11)) * 2.0**-53
