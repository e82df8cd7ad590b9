"""`small_cnn`: pairs of convolutions, each pair halving the side."""

from torch import nn

from kit.errors import KitError
from kit.model.network import Network
from kit.plugin import ModelRequest

WIDTHS = (24, 48, 96, 160)


def small_cnn(request: ModelRequest) -> nn.Module:
    """Four stages of two convolutions with batch norm and ReLU, stride 16 in all; no pretrained weights exist.

    The first of a stage is 4x4 with stride 2: unlike 3x3 it keeps the feature map centred on the image.
    """
    if request.pretrained:
        raise KitError("small_cnn has no pretrained weights: give --no-pretrained, or another --model (kit models)")
    layers: list[nn.Module] = []
    channels = request.channels
    for width in WIDTHS:
        for kernel, stride in ((4, 2), (3, 1)):
            layers += [
                nn.Conv2d(channels, width, kernel, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
    return Network(nn.Sequential(*layers), channels, request.outputs, request.head, request.extras)
