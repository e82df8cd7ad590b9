"""Further steps of augmentation, those of plugins: chosen by the configuration, drawn from each image's seed, applied.

They come after the moves and shades of `kit.pixels.warp`, in the configuration's order: on the CPU image by image in
the warp's threads, beside a GPU batch by batch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from kit.config import TrainConfig
from kit.errors import KitError
from kit.hooks.foreign import Foreign, faulty
from kit.hooks.learning import AugmentationRequest, AugmentationSpec
from kit.hooks.registry import Registry
from kit.hooks.returns import shown
from kit.pixels.draw import uniform


@dataclass(frozen=True)
class Step:
    """A step of a plugin as a run uses it.

    Args:
        spec: what it does.
        strength: how much of it.
        probability: how often it is applied to an image.
    """

    spec: AugmentationSpec
    strength: float
    probability: float

    def draw(self, seeds: np.ndarray, size: int, channels: int) -> "DrawnStep":
        """Draw what to do to B images of SxSxC from their seeds; every step has random numbers of its own."""
        own = seeds.astype(np.uint64) ^ _key(self.spec.name)
        request = AugmentationRequest(self.strength, lambda count: uniform(own, 1 + count)[1:].T, size, channels)
        values = np.asarray(self.spec.draw(request), np.float32)
        if values.ndim != 2 or len(values) != len(seeds):
            raise _wrong(self.spec.draw, f"returned {shown(values)} for {len(seeds)} images, not {len(seeds)}xP")
        return DrawnStep(self, uniform(own, 1)[0] < self.probability, values)


@dataclass(frozen=True)
class DrawnStep:
    """What a step does to each of B images.

    Args:
        step: the step.
        applied: B bool.
        values: its parameters, BxP float32.
    """

    step: Step
    applied: np.ndarray
    values: np.ndarray

    @cached_property
    def packed(self) -> np.ndarray:
        """Bx(1 + P) float32: whether it is applied, and its parameters."""
        return np.column_stack([self.applied, self.values]).astype(np.float32)

    def text(self, place: int) -> str:
        """Say for people what was drawn for an image; empty if it is left alone."""
        if not self.applied[place]:
            return ""
        spec, values = self.step.spec, self.values[place]
        return f"{spec.name} {' '.join(f'{each:.2g}' for each in values)}" if spec.text is None else spec.text(values)

    def apply(self, image: np.ndarray, place: int) -> np.ndarray:
        """Return an image HxWxC uint8 with the step applied as drawn for this place in the batch."""
        if not self.applied[place]:
            return image
        array = self.step.spec.array
        done = array(image, self.values[place])
        if not isinstance(done, np.ndarray) or done.shape != image.shape:
            raise _wrong(array, f"returned {shown(done)} for {'x'.join(map(str, image.shape))}")
        return done if done.dtype == np.uint8 else np.clip(np.rint(done), 0, 255).astype(np.uint8)


class DeviceSteps(nn.Module):
    """Apply steps to a batch on its device, always in float32; nothing waits for the device."""

    def __init__(self, steps: Sequence[Step], size: int, channels: int) -> None:
        super().__init__()
        self.steps = steps
        # How many parameters a step has is told by a trial.
        self._widths = [step.draw(np.zeros(1, np.int64), size, channels).packed.shape[1] for step in steps]

    def forward(self, images: Tensor, packed: Tensor) -> Tensor:
        """BxCxSxS float32 of whole grey levels, and the steps' `DrawnStep.packed` side by side -> the same form."""
        if not self.steps:
            return images
        with torch.autocast(images.device.type, enabled=False):
            for step, own in zip(self.steps, packed.split(self._widths, 1), strict=True):
                done = step.spec.tensor(images, own[:, 1:])
                if not isinstance(done, Tensor) or done.shape != images.shape:
                    raise _wrong(step.spec.tensor, f"returned {shown(done)} for {'x'.join(map(str, images.shape))}")
                done = done.float().round().clamp(0, 255)
                images = done if step.probability == 1 else torch.where(own[:, :1, None, None] > 0, done, images)
            return images.contiguous(memory_format=torch.channels_last)


def chosen_steps(config: TrainConfig, registry: Registry) -> tuple[Step, ...]:
    """Return the further steps of a configuration; raise `KitError` for unknown names and strengths out of range."""
    chosen = []
    for name, strength in config.steps.items():
        spec = registry.augmentations.get(name)
        if not spec.low <= strength <= spec.high:
            meaning = f" ({spec.description})" if spec.description else ""
            raise KitError(
                f"steps: {name} = {strength:g} is out of {spec.low:g}..{spec.high:g}{meaning}: --set steps={name}=..."
            )
        if strength != spec.low:
            chosen.append(Step(spec, strength, config.probabilities.get(name, 1)))
    return tuple(chosen)


def apply(drawn: Sequence[DrawnStep], image: np.ndarray, place: int) -> np.ndarray:
    """Apply what was drawn for a place in the batch to its image, HxWxC uint8."""
    for step in drawn:
        image = step.apply(image, place)
    return image


@lru_cache
def _key(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def _wrong(function: object, what: str) -> Exception:
    return faulty(function, what) if isinstance(function, Foreign) else ValueError(what)
