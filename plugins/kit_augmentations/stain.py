"""Jitter of stains in optical density (Tellez et al. 2018), for any number of channels.

Light passes a stain by 10^-density (Beer and Lambert), so densities add up. Of three channels, the densities of RGB are
separated into those of haematoxylin, eosin and DAB, by the colours that Ruifrok and Johnston (2001) measured; of any
other number, each channel is a stain of its own. The density of each stain is scaled by 1 - strength to 1 + strength
and shifted by up to the strength.
"""

import numpy as np
import torch
from torch import Tensor

from kit.plugin import AugmentationRequest

RGB = 3
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])  # densities of a stain in R, G, B
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)
DENSITY = -np.log10((np.arange(256) + 1) / 256).astype(np.float32)  # of a grey level


def draw_stain(request: AugmentationRequest) -> np.ndarray:
    """Return for each stain its factor and its shift, and what they are for densities: a matrix and a summand.

    With C channels, Bx(C + C + C*C + C); without the stains of RGB the matrix is diagonal, and only its diagonal is
    given: Bx(C + C + C + C).
    """
    count = request.channels
    drawn = request.strength * (2 * request.uniform(2 * count) - 1)
    factors, shifts = 1 + drawn[:, :count], drawn[:, count:]
    if count != RGB:
        return np.column_stack([factors, shifts, factors, shifts])
    # A row of densities is separated, scaled, shifted and put together again.
    matrices = np.linalg.inv(STAINS) @ (factors[:, :, None] * STAINS)
    return np.column_stack([factors, shifts, matrices.reshape(-1, RGB * RGB), shifts @ STAINS])


def array_stain(image: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Change the densities of all pixels."""
    channels = image.shape[2]
    mixing, shift = parameters[2 * channels : -channels], parameters[-channels:]
    density = DENSITY[image]
    if channels == RGB:
        changed = (density.reshape(-1, RGB) @ mixing.reshape(RGB, RGB)).reshape(image.shape) + shift
    else:
        changed = density * mixing + shift
    # Faster than a power of ten.
    light: np.ndarray = 256 * np.exp(changed * np.float32(-np.log(10))) - 1
    return light


def tensor_stain(images: Tensor, parameters: Tensor) -> Tensor:
    """Do the same. Not a matrix product, which loses digits where TensorFloat-32 is allowed."""
    channels = images.shape[1]
    own = parameters[:, :, None, None]
    mixing, changed = own[:, 2 * channels : -channels], own[:, -channels:]
    density = ((images + 1) / 256).log10().neg()
    if channels == RGB:
        for channel in range(RGB):
            changed = changed + density[:, channel, None] * mixing[:, RGB * channel : RGB * (channel + 1)]
    else:
        changed = torch.addcmul(changed, density, mixing)
    return 256 * (changed * -np.log(10)).exp() - 1


def text_stain(parameters: np.ndarray) -> str:
    """Say by how much each stain or channel is scaled and shifted."""
    channels = len(parameters) // 4 if len(parameters) % 4 == 0 else RGB
    each = zip(parameters[:channels], parameters[channels : 2 * channels], strict=True)
    return "stains " + " ".join(f"x {factor:.2f} {shift:+.2f}" for factor, shift in each)
