"""CBAM (Woo et al. 2018, "Convolutional Block Attention Module") in the bottleneck blocks of a ResNet50."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from kit.errors import KitError
from kit.plugin import ModelRequest
from kit.plugin.network import Network, widen_stem
from kit_torchvision.networks import body_of, weights
from kit_torchvision.networks import offline as weights_are_there

# All gates start at sigmoid(4) = .98: the network starts as a ResNet50, and its pretrained weights keep their meaning.
OPEN = 4.0


class ChannelGate(nn.Module):
    """Channel attention: BxCxhxw times sigmoid(mlp(mean of the map) + mlp(maximum of the map)), a factor per channel.

    Args:
        channels: C.
        reduction: the shared two-layer mlp has C / reduction hidden features.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxhxw -> BxCxhxw."""
        gate = (self._mlp(x.mean((2, 3))) + self._mlp(x.amax((2, 3)))).sigmoid()
        return x * gate[:, :, None, None]

    def _mlp(self, pooled: Tensor) -> Tensor:
        factors: Tensor = self.excite(self.squeeze(pooled).relu())
        return factors


class SpatialGate(nn.Module):
    """Spatial attention: BxCxhxw times sigmoid(bn(7x7 convolution)), a factor per position.

    The convolution sees the maximum and the mean over all channels. The batch norm is not in the paper but in the
    authors' code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxhxw -> BxCxhxw."""
        seen = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * self.bn(self.conv(seen)).sigmoid()


class CbamBottleneck(Bottleneck):
    """torchvision's bottleneck block with both gates between its third batch norm and the addition."""

    def __init__(self, inplanes: int, planes: int, *arguments: Any, **options: Any) -> None:
        super().__init__(inplanes, planes, *arguments, **options)
        self.gates = nn.Sequential(ChannelGate(planes * self.expansion), SpatialGate())

    def forward(self, x: Tensor) -> Tensor:
        """BxCxhxw -> BxC'xh'xw'."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.gates(self.bn3(self.conv3(out)))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


def resnet50_cbam(request: ModelRequest) -> nn.Module:
    """Build ResNet50 with CBAM in each of its 16 blocks, from scratch or from torchvision's ResNet50 weights."""
    network = ResNet(CbamBottleneck, [3, 4, 6, 3])
    if request.pretrained:
        missing, unknown = network.load_state_dict(weights("resnet50"), strict=False)
        if unknown or any(".gates." not in name for name in missing):
            raise KitError("the weights of resnet50 do not fit this torchvision: pip install -U torchvision")
    _open_gates(network)
    body, features = body_of(network)
    widen_stem(body, request.channels)
    return Network(body, features, request.outputs, request.head, request.metadata)


def _open_gates(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, SpatialGate):
            nn.init.zeros_(module.bn.weight)
            nn.init.constant_(module.bn.bias, OPEN)
        elif isinstance(module, ChannelGate):
            # Its outputs for the mean and for the maximum are added.
            nn.init.zeros_(module.excite.weight)
            nn.init.constant_(module.excite.bias, OPEN / 2)


def offline(name: str) -> bool:
    """Return whether the weights of the underlying ResNet50 are on this disk."""
    return weights_are_there("resnet50")
