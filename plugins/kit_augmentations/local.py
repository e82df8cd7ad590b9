"""Cutout (DeVries and Taylor 2017) and Gaussian blur."""

import cv2
import numpy as np
import torch
from torch import Tensor

from kit.plugin import AugmentationRequest

GREY = 128


def draw_cutout(request: AugmentationRequest) -> np.ndarray:
    """Return left, top, right and bottom of the square in pixels, Bx4; its centre is anywhere in the image."""
    side = max(int(request.strength > 0), round(request.strength * request.size))
    start = np.floor(request.uniform(2) * request.size) - side // 2
    return np.column_stack([start, start + side]).clip(0, request.size)


def array_cutout(image: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Cover the square with grey."""
    left, top, right, bottom = parameters.astype(int)
    covered = image.copy()
    covered[top:bottom, left:right] = GREY
    return covered


def tensor_cutout(images: Tensor, parameters: Tensor) -> Tensor:
    """Do the same."""
    left, top, right, bottom = parameters[:, :, None, None, None].unbind(1)
    down, across = (torch.arange(side, device=images.device) for side in images.shape[2:])
    inside = (down[:, None] >= top) & (down[:, None] < bottom) & (across >= left) & (across < right)
    return images.masked_fill(inside, GREY)


def text_cutout(parameters: np.ndarray) -> str:
    """Say where."""
    left, top, right, bottom = parameters
    return f"cutout {right - left:.0f}x{bottom - top:.0f} px at {left:.0f},{top:.0f}"


def draw_blur(request: AugmentationRequest) -> np.ndarray:
    """Return sigma in pixels, and the weights of a pixel and of its neighbours to one side: Bx(2 + R).

    R is three times the largest sigma, so the same for all images of a run.
    """
    sigma = request.strength * request.uniform(1)
    radius = min(int(np.ceil(3 * request.strength)), request.size - 1)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / np.maximum(sigma, 1e-3)) ** 2)
    return np.column_stack([sigma, weights / (2 * weights.sum(1, keepdims=True) - 1)])


def array_blur(image: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Average in x and y with these weights; the image is mirrored about its outermost pixels."""
    kernel = np.concatenate([parameters[:1:-1], parameters[1:]])
    blurred = cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    return blurred.reshape(image.shape)


def tensor_blur(images: Tensor, parameters: Tensor) -> Tensor:
    """Do the same, by adding up shifted images: each image has weights of its own."""
    weights, radius = parameters[:, 1:, None, None, None], parameters.shape[1] - 2
    for axis in (2, 3):
        pads = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        side, padded = images.shape[axis], torch.nn.functional.pad(images, pads, "reflect")
        images = padded.narrow(axis, radius, side) * weights[:, 0]
        for distance in range(1, radius + 1):
            both = padded.narrow(axis, radius - distance, side) + padded.narrow(axis, radius + distance, side)
            images = torch.addcmul(images, both, weights[:, distance])
    return images


def text_blur(parameters: np.ndarray) -> str:
    """Say by how much."""
    return f"blur {parameters[0]:.1f} px"
