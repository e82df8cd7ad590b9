"""Read files into arrays: OpenCV decodes, once, into uint8."""

from pathlib import Path

import cv2
import numpy as np

from kit.data.checksums import Checksums, read_unchanged
from kit.data.verify import image_bytes, without_profile
from kit.errors import KitError
from kit.hooks.specs import DatasetSpec

# What is wrong with an image is said once, by the error that names it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_rgb(path: Path) -> np.ndarray:
    """Read a colour image as HxWx3 uint8 in RGB order; EXIF rotation is not applied."""
    return _decode(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def read_grey(path: Path) -> np.ndarray:
    """Read a one-channel image as HxW uint8.

    Sixteen bits are scaled by 255/65535. A coloured file (one stain, drawn in its colour) yields the brightest channel
    of each pixel.
    """
    image = _decode(path, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=255 / 65535)
    elif image.dtype != np.uint8:
        raise KitError(f"{path} holds {image.dtype}, not 8-bit or 16-bit integers: convert it")
    return image if image.ndim == 2 else image[..., :3].max(2)


def _decode(path: Path, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(without_profile(image_bytes(path)), np.uint8), flags)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise _unreadable(path, str(error)) from None
    except cv2.error:
        image = None
    if image is None:
        raise _unreadable(path, "it is damaged, or of a kind that OpenCV can't read")
    return image


def _unreadable(path: Path, why: str) -> KitError:
    return KitError(f"{path} can't be read as an image ({why}): kit check names all such files")


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize HxWxC to size x size x C, any C: by area averaging when it shrinks, bilinearly when it grows."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    shrinks = size < min(height, width)
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    # OpenCV averages at most four channels.
    chunks = [np.ascontiguousarray(image[..., first : first + 4]) for first in range(0, image.shape[2], 4)]
    resized = [cv2.resize(chunk, (size, size), interpolation=interpolation).reshape(size, size, -1) for chunk in chunks]
    return resized[0] if len(resized) == 1 else np.concatenate(resized, axis=2)


def checked_paths(root: Path, files: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the paths of a sample's files; raise `KitError` if one is not what was downloaded."""
    known = Checksums.of(root)
    for name in files:
        known.check_file(name)
    return tuple([root / name for name in files])


def read_sample(dataset: DatasetSpec, root: Path, files: tuple[str, ...]) -> np.ndarray:
    """Read one sample as HxWxC uint8 at its native size.

    Raises:
        KitError: a file, which it names, can't be read, is read as something else, or has changed since it came.
    """
    paths = tuple([root / name for name in files])
    image = read_unchanged(lambda: checked_paths(root, files), lambda: dataset.read(paths))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != dataset.channels:
        raise KitError(
            f"{root / files[0]}: read as {image.dtype} {image.shape}, dataset {dataset.name} promises "
            f"uint8 with {dataset.channels} channels: kit check names all such files"
        )
    return image
