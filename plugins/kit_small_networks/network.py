"""`small_cnn`: pairs of 3x3 convolutions, each pair halving the side."""

from torch import nn

from kit.errors import KitError
from kit.model.network import Network
from kit.plugin import ModelRequest

WIDTHS = (24, 48, 96, 160)


def small_cnn(request: ModelRequest) -> nn.Module:
    """Four stages of two 3x3 convolutions with batch norm and ReLU, stride 16 in all; no pretrained weights exist."""
    if request.pretrained:
        raise KitError("small_cnn has no pretrained weights: give --no-pretrained, or another --model (kit plugins)")
    layers: list[nn.Module] = []
    channels = request.channels
    for width in WIDTHS:
        for stride in (2, 1):
            layers += [
                nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
    return Network(nn.Sequential(*layers), channels, request.outputs, request.head, request.extras)
