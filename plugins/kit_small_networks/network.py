"""Small networks from scratch. `small_cnn` is plain; `coord_cnn` gets pixel positions and has a narrow view."""

import torch
from torch import Tensor, nn

from kit.errors import KitError
from kit.plugin import ModelRequest
from kit.plugin.network import Network

WIDTHS = (24, 48, 96, 160)


def small_cnn(request: ModelRequest) -> nn.Module:
    """Build four stages of two convolutions with batch norm and ReLU, stride 16 in all; no pretrained weights exist.

    The first convolution of a stage is 4x4 with stride 2: unlike 3x3 it keeps the feature map centred on the image. A
    position of the last map sees 106 pixels.
    """
    _from_scratch(request)
    layers: list[nn.Module] = []
    channels = request.channels
    for width in WIDTHS:
        layers += [*_convolution(channels, width, 4, 2, 1), *_convolution(width, width, 3, 1, 1)]
        channels = width
    return Network(nn.Sequential(*layers), channels, request.outputs, request.head, request.metadata)


def coord_cnn(request: ModelRequest) -> nn.Module:
    """Build four stages like those of `small_cnn`, with each pixel's distance from the centre as a further channel.

    The channel follows CoordConv (Liu et al. 2018). A position of the last map sees 26 pixels, so what it finds lies
    there.
    """
    _from_scratch(request)
    channels = request.channels + 1
    layers: list[nn.Module] = [FromCentre()]
    # The first convolution of each stage (kernel, padding; stride 2) and the second (kernel, padding; stride 1).
    for width, first, second in zip(
        WIDTHS, ((4, 1), (4, 1), (2, 0), (2, 0)), ((3, 1), (1, 0), (1, 0), (1, 0)), strict=True
    ):
        layers += [*_convolution(channels, width, first[0], 2, first[1])]
        layers += [*_convolution(width, width, second[0], 1, second[1])]
        channels = width
    return Network(nn.Sequential(*layers), channels, request.outputs, request.head, request.metadata)


class FromCentre(nn.Module):
    """Appends a channel: the distance from the centre in half sides, along the farther axis, times 2."""

    def forward(self, images: Tensor) -> Tensor:
        """BxCxHxW -> Bx(C+1)xHxW."""
        down, across = (torch.linspace(-2, 2, side, device=images.device).abs() for side in images.shape[2:])
        distance = torch.maximum(down[:, None], across).to(images.dtype)
        return torch.cat([images, distance.expand(len(images), 1, -1, -1)], 1)


def _convolution(channels: int, width: int, kernel: int, stride: int, padding: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
    return convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)


def _from_scratch(request: ModelRequest) -> None:
    if request.pretrained:
        raise KitError(
            f"{request.name} has no pretrained weights: give --no-pretrained, or another --model (kit models)"
        )
