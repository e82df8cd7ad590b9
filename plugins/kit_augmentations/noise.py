"""Gaussian noise that is a function of an image's own number and of the place, so that it is the same everywhere.

A hash of 32 bits (C. Wellons, lowbias32, https://github.com/skeeto/hash-prospector) of place and number gives two
numbers of 16 bits, which Box and Muller's transform makes normal.
"""

import numpy as np
import torch
from torch import Tensor

from kit.plugin import AugmentationRequest

FACTORS = (0x7FEB352D, 0x846CA68B)
SHIFTS = (16, 15, 16)
HALF = 1 << 16
WHITE = 255


def draw_noise(request: AugmentationRequest) -> np.ndarray:
    """Return sigma in grey levels, and the two halves of the image's number: Bx3."""
    drawn = request.uniform(3)
    return np.column_stack([request.strength * WHITE * drawn[:, 0], np.floor(drawn[:, 1:] * HALF)])


def array_noise(image: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Add a normal number to each value."""
    sigma, high, low = parameters
    number = np.uint32(int(high) * HALF + int(low))
    bits = _hashed(_hashed(np.arange(image.size, dtype=np.uint32)) ^ number).reshape(image.shape)
    first, second = ((each & np.uint32(HALF - 1)).astype(np.float32) for each in (bits >> np.uint32(16), bits))
    length = np.sqrt(-2 * np.log((first + np.float32(0.5)) / HALF))
    noise: np.ndarray = image + sigma * length * np.cos(second * np.float32(2 * np.pi / HALF))
    return noise


def _hashed(bits: np.ndarray) -> np.ndarray:
    """Hash uint32."""
    for shift, factor in zip(SHIFTS, (*FACTORS, 1), strict=True):
        bits = (bits ^ (bits >> np.uint32(shift))) * np.uint32(factor)
    return bits


def tensor_noise(images: Tensor, parameters: Tensor) -> Tensor:
    """Do the same."""
    channels, height, width = images.shape[1:]
    places = torch.arange(height * width * channels, dtype=torch.int32, device=images.device)
    sigma, high, low = parameters[:, :, None, None, None].unbind(1)
    # In halves, as 32 bits would be too many for float32.
    number = (high.int() << 16) | low.int()
    ordered = _hashed_tensor(places).view(height, width, channels).permute(2, 0, 1)
    bits = _hashed_tensor(ordered ^ number)
    length = (_shifted(bits, 16) + 0.5).div_(HALF).log_().mul_(-2).sqrt_()
    return images + sigma * length * (bits & (HALF - 1)).mul(2 * np.pi / HALF).cos_()


def _hashed_tensor(bits: Tensor) -> Tensor:
    """Hash int32, whose products wrap like those of uint32."""
    for shift, factor in zip(SHIFTS, (*FACTORS, 1), strict=True):
        signed = factor - (1 << 32) if factor >= 1 << 31 else factor
        bits = (bits ^ _shifted(bits, shift)) * signed
    return bits


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shift to the right, with zeros from the left."""
    return (bits >> by) & ((1 << (32 - by)) - 1)


def text_noise(parameters: np.ndarray) -> str:
    """Say how much."""
    return f"noise {parameters[0]:.1f} levels"
