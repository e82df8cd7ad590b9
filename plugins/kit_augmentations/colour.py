"""Hue and saturation for any number of channels: both mix the channels linearly and leave grey as it is."""

import numpy as np
import torch
from torch import Tensor

from kit.plugin import AugmentationRequest

COLOURS = 3  # with fewer channels there is no plane of colours to turn


def draw_hue(request: AugmentationRequest) -> np.ndarray:
    """Return the angle in degrees, and the weights W (C) of each channel's neighbours: Bx(1 + C).

    Channels lie on a circle. The turn is a rotation in the plane of their first harmonic and leaves all else as it is;
    for three channels that is the rotation of RGB about the grey axis, which takes red to green in a third of a turn.
    """
    angle = 2 * np.pi * request.strength * (2 * request.uniform(1)[:, 0] - 1)
    around = 2 * np.pi * np.arange(request.channels) / request.channels
    weights = 2 / request.channels * (np.cos(angle[:, None] - around) - np.cos(around))
    return np.column_stack([np.degrees(angle), weights * (request.channels >= COLOURS)])


def array_hue(image: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Add to each channel what its neighbours on the circle weigh."""
    channels = np.arange(image.shape[2])
    return _mixed(image, parameters[1:][channels - channels[:, None]] + np.eye(len(channels), dtype=np.float32))


def tensor_hue(images: Tensor, parameters: Tensor) -> Tensor:
    """Do the same. Not a matrix product, which loses digits where TensorFloat-32 is allowed."""
    turned = images
    for distance in range(images.shape[1]):
        turned = torch.addcmul(turned, parameters[:, 1 + distance, None, None, None], images.roll(distance, 1))
    return turned


def _mixed(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Mix the channels: HxWxC with CxC -> HxWxC float32."""
    mixed: np.ndarray = image.reshape(-1, image.shape[2]).astype(np.float32) @ matrix.astype(np.float32)
    return mixed.reshape(image.shape)


def text_hue(parameters: np.ndarray) -> str:
    """Say by how much."""
    return f"hue {parameters[0]:+.0f}°"


def draw_saturation(request: AugmentationRequest) -> np.ndarray:
    """Return the factor on the distance from grey, Bx1."""
    return 1 + request.strength * (2 * request.uniform(1) - 1)


def array_saturation(image: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Scale the distance of each channel from the mean of all."""
    channels, factor = image.shape[2], parameters[0]
    return _mixed(image, factor * np.eye(channels, dtype=np.float32) + (1 - factor) / channels)


def tensor_saturation(images: Tensor, parameters: Tensor) -> Tensor:
    """Do the same."""
    grey = images.mean(1, keepdim=True)
    return torch.addcmul(grey, images - grey, parameters[:, :1, None, None])


def text_saturation(parameters: np.ndarray) -> str:
    """Say by how much."""
    return f"saturation x {parameters[0]:.2f}"
