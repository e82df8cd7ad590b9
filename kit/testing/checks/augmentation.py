"""Checks of a step of augmentation: its two forms, side by side."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from kit.hooks.learning import AugmentationRequest
from kit.hooks.leash import place_of, reason
from kit.hooks.returns import shown
from kit.testing.check import Broken, Skipped, check, need, suppose
from kit.testing.subject import Subject

CHANNELS, USUAL, SIDE, BATCH = (1, 3, 5), 3, 24, 6
NEAR, FEW = 1.0, 0.02  # grey levels by which the two forms may differ; share of pixels that may differ more
WIDER = 4.0  # grey levels by which their means may differ


@check("augmentation/strengths", "give low < high: low changes nothing")
def strengths(subject: Subject) -> None:
    """The strengths are in order."""
    need(subject.spec.low < subject.spec.high, f"low is {subject.spec.low}, high {subject.spec.high}")


@check("augmentation/draws", "return parameters BxP, finite numbers")
def draws(subject: Subject) -> None:
    """`draw` returns BxP finite numbers."""
    for channels in CHANNELS:
        found = subject.spec.draw(_request(subject.spec.high, channels))
        good = isinstance(found, np.ndarray) and found.ndim == 2 and len(found) == BATCH
        need(good, f"draw() of {channels} channels returns {shown(found)}, not BxP")
        need(np.isfinite(found).all(), "draw() returns numbers that are not finite")


@check("augmentation/draws-by-row", "draw each image's parameters from its own row of uniform numbers alone")
def draws_by_row(subject: Subject) -> None:
    """An image's parameters depend on its own row alone, and not on chance."""
    together, again = (np.asarray(subject.spec.draw(_request(subject.spec.high, 3))) for _ in range(2))
    need(np.array_equal(together, again), "draw() returns other parameters for the same uniform numbers")
    for row in range(BATCH):
        alone = np.asarray(subject.spec.draw(_request(subject.spec.high, 3, row)))
        need(np.allclose(alone[0], together[row]), "an image's parameters depend on the others of its batch")


@check("augmentation/array", "return numbers of the same shape, HxWxC")
def array(subject: Subject) -> None:
    """`array` returns finite numbers of HxWxC."""
    for channels in CHANNELS:
        image = _image(channels)
        found = subject.spec.array(image.copy(), _rows(subject, subject.spec.high, channels)[0])
        good = isinstance(found, np.ndarray) and found.shape == image.shape and found.dtype.kind in "uif"
        need(good, f"array() of {channels} channels returns {shown(found)}, not numbers of {SIDE}x{SIDE}x{channels}")
        need(np.isfinite(found).all(), "array() returns values that are not finite")
        need(np.ptp(found) > 1, "array() returns grey levels of 0 to 1, not of 0 to 255")


@check("augmentation/tensor", "return numbers of the same shape, BxCxHxW")
def tensor(subject: Subject) -> None:
    """`tensor` returns finite numbers of BxCxHxW."""
    for channels in CHANNELS:
        images = _batch(channels)
        found = subject.spec.tensor(images.clone(), torch.from_numpy(_rows(subject, subject.spec.high, channels)))
        good = isinstance(found, torch.Tensor) and found.shape == images.shape
        need(good, f"tensor() of {channels} channels returns {shown(found)}, not numbers of {tuple(images.shape)}")
        need(found.isfinite().all(), "tensor() returns values that are not finite")


@check("augmentation/any-channels", "treat every channel alike, or by its number, whatever their count")
def any_channels(subject: Subject) -> None:
    """Both forms take images of 1, 3 and 5 channels."""
    for channels in (USUAL, *CHANNELS):
        rows = _rows(subject, subject.spec.high, channels)
        for form, given in (("array", (_image(channels), rows[0])), ("tensor", (_batch(channels), torch.tensor(rows)))):
            try:
                getattr(subject.spec, form)(*given)
            except Exception as error:
                suppose(channels != USUAL, f"{form}() fails on {USUAL} too: see augmentation/{form}")
                text = f"{form}() of {channels} channels raises {reason(error)} at {place_of(error)}"
                raise Broken(text) from None


@check("augmentation/low-changes-nothing", "return the image as it is at the strength low")
def low_changes_nothing(subject: Subject) -> None:
    """At the strength `low` nothing changes."""
    for channels in CHANNELS:
        rows = _rows(subject, subject.spec.low, channels)
        image, images = _image(channels), _batch(channels)
        need(np.array_equal(image, _array(subject, image, rows[0])), f"array() changes an image at {subject.spec.low}")
        found = _tensor(subject, images, rows)
        need(torch.allclose(images, found, atol=0.5), f"tensor() changes images at {subject.spec.low}")


@check("augmentation/high-changes-something", "let the strength decide how much is done")
def high_changes_something(subject: Subject) -> None:
    """At the strength `high` most images change."""
    rows, image = _rows(subject, subject.spec.high), _image(3)
    same = [np.array_equal(image, _array(subject, image, row)) for row in rows]
    need(not all(same), f"no image changes at {subject.spec.high}")


@check("augmentation/forms-agree", "write both by one formula, and round only at the end")
def forms_agree(subject: Subject) -> None:
    """`array` and `tensor` do the same: within a grey level, but for few pixels."""
    for channels in CHANNELS:
        for part in (0.3, 1.0):
            strength = subject.spec.low + part * (subject.spec.high - subject.spec.low)
            rows, images = _rows(subject, strength, channels), _batch(channels)
            found = _tensor(subject, images, rows).permute(0, 2, 3, 1).numpy()
            for number, row in enumerate(rows):
                image = images[number].permute(1, 2, 0).numpy().astype(np.uint8)
                apart = np.abs(_array(subject, image, row).astype(np.float32) - found[number])
                far = float((apart > NEAR + 0.51).mean())
                need(
                    far <= FEW and abs(float(apart.mean())) < WIDER,
                    f"of {channels} channels, at {strength:g}, array() and tensor() differ by {apart.mean():.1f} grey "
                    f"levels on average, {far:.0%} of the pixels by more than one",
                )


@check("augmentation/images-apart", "treat each image by its own parameters alone")
def images_apart(subject: Subject) -> None:
    """`tensor` does to an image what it would do to it alone."""
    rows, images = _rows(subject, subject.spec.high), _batch(3)
    together = _tensor(subject, images, rows)
    for number in range(BATCH):
        alone = _tensor(subject, images[number : number + 1], rows[number : number + 1])
        near = torch.allclose(alone[0], together[number], atol=0.5)
        need(near, "tensor() does something else to an image that is alone in its batch")


@check("augmentation/same-again", "draw all chance in draw(): the forms only apply it")
def same_again(subject: Subject) -> None:
    """The same parameters do the same."""
    rows, image, images = _rows(subject, subject.spec.high), _image(3), _batch(3)
    one, other = (_array(subject, image, rows[0]) for _ in range(2))
    need(np.array_equal(one, other), "array() does something else for the same parameters")
    first, second = (_tensor(subject, images, rows) for _ in range(2))
    need(torch.equal(first, second), "tensor() does something else for the same parameters")


@check("augmentation/leaves-its-inputs", "copy before changing: packed pixels serve the next epoch too")
def leaves_inputs(subject: Subject) -> None:
    """It changes neither image nor parameters in place."""
    rows, image = _rows(subject, subject.spec.high), _image(3)
    given, row = image.copy(), rows[0].copy()
    subject.spec.array(given, row)
    need(np.array_equal(given, image), "array() changes the image that it is given")
    need(np.array_equal(row, rows[0]), "array() changes its parameters")
    images, several = _batch(USUAL), torch.tensor(rows)
    subject.spec.tensor(images, several)
    need(torch.equal(images, _batch(USUAL)), "tensor() changes the images that it is given")
    need(np.array_equal(several, rows), "tensor() changes its parameters")


@check("augmentation/description", "give description=...: what the strength means", "advice")
def description(subject: Subject) -> None:
    """It says what its strength means."""
    need(subject.spec.description.strip(), "it has no description")


def _request(strength: float, channels: int, row: int | None = None) -> AugmentationRequest:
    """Return what to draw for a batch, or for one of its images alone."""

    def uniform(count: int) -> np.ndarray:
        rows = np.stack([np.random.default_rng(each).random(count) for each in range(BATCH)])
        return rows if row is None else rows[row : row + 1]

    return AugmentationRequest(strength, uniform, SIDE, channels)


def _rows(subject: Subject, strength: float, channels: int = 3) -> np.ndarray:
    """Return parameters as `draw` gives them; raise `Skipped` if it does not."""
    try:
        found = subject.spec.draw(_request(strength, channels))
    except Exception:
        raise Skipped("it draws no parameters: see augmentation/draws") from None
    suppose(isinstance(found, np.ndarray) and found.ndim == 2, "it draws no parameters: see augmentation/draws")
    return np.ascontiguousarray(found, np.float32)


def _image(channels: int) -> np.ndarray:
    """Return an image of smooth shapes and some noise."""
    return _batch(channels)[0].permute(1, 2, 0).numpy().astype(np.uint8)


def _batch(channels: int) -> torch.Tensor:
    random = np.random.default_rng(channels)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    phase = random.random((BATCH, channels, 2, 1, 1)) * 6
    waves = 128 + 60 * np.sin(6 * x + phase[:, :, 0]) + 50 * np.cos(5 * y + phase[:, :, 1])
    values = np.rint(np.clip(waves + random.normal(0, 4, waves.shape), 0, 255))
    return torch.from_numpy(values.astype(np.float32))


def _array(subject: Subject, image: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return what `array` makes, as kit rounds it."""
    found = _shaped(lambda: subject.spec.array(image.copy(), row.copy()), image.shape, "array")
    return np.clip(np.rint(np.asarray(found, np.float64)), 0, 255).astype(np.uint8)


def _tensor(subject: Subject, images: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Return what `tensor` makes, as kit rounds it."""
    call = lambda: subject.spec.tensor(images.clone(), torch.from_numpy(rows.copy()))  # noqa: E731
    found: torch.Tensor = _shaped(call, tuple(images.shape), "tensor")
    return found.float().round().clamp(0, 255)


def _shaped(call: Callable[[], Any], shape: tuple[int, ...], form: str) -> Any:
    """Return an image of this shape; raise `Skipped` for anything else, which another check names."""
    try:
        found = call()
    except Exception:
        raise Skipped(f"{form}() fails: see augmentation/any-channels") from None
    suppose(tuple(getattr(found, "shape", ())) == shape, f"{form}() gives no image: see augmentation/{form}")
    return found
