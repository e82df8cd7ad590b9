"""Attention in a ResNet50: CBAM in its blocks (Woo et al. 2018), BAM between its stages (Park et al. 2018)."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from kit.errors import KitError
from kit.plugin import ModelRequest
from kit.plugin.network import Network, fill, widen_stem
from kit_torchvision.networks import body_of, right, weights, weights_file
from kit_torchvision.networks import offline as weights_are_there

# Gates of CBAM start at sigmoid(4) = .98 and those of BAM, which add to 1, at sigmoid(-4) = .02: the network starts as
# a ResNet50, and its pretrained weights keep their meaning.
OPEN = 4.0
BLOCKS = [3, 4, 6, 3]
STAGES = 4


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


class BottleneckAttention(nn.Module):
    """BAM: BxCxhxw times 1 + sigmoid(channel + spatial), a factor per channel and position.

    Channel: bn(mlp(mean of the map)), BxC. Spatial: bn(1x1 of two 3x3 with dilation 4 of 1x1), Bx1xhxw. The ReLU after
    each layer but the last is not in the paper's formulas but in the authors' code.

    Args:
        channels: C.
        reduction: both branches have C / reduction hidden channels.
        dilation: of the 3x3 convolutions.
    """

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        hidden = channels // reduction
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.channel_norm = nn.BatchNorm1d(channels)
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
        )
        self.spatial_norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxhxw -> BxCxhxw."""
        channel = self.channel_norm(self.mlp(x.mean((2, 3))))[:, :, None, None]
        return x * (1 + (channel + self.spatial_norm(self.convolutions(x))).sigmoid())


def build(request: ModelRequest) -> nn.Module:
    """Build ResNet50 with CBAM in each of its 16 blocks or BAM after its first three stages, as the name says.

    Pretrained weights are torchvision's of ResNet50. The gates start open, or as in the papers (`_paper`).
    """
    network = (_bam if "_bam" in request.name else _cbam)(request)
    _start(network, paper=request.name.endswith("_paper"))
    body, features = body_of(network)
    widen_stem(body, request.channels)
    return Network(body, features, request.outputs, request.head, request.metadata)


def _cbam(request: ModelRequest) -> ResNet:
    network = ResNet(CbamBottleneck, BLOCKS)
    if request.pretrained:
        missing, unknown = network.load_state_dict(weights("resnet50"), strict=False)
        if unknown or any(".gates." not in name for name in missing):
            raise KitError("the weights of resnet50 do not fit this torchvision: pip install -U torchvision")
    return network


def _bam(request: ModelRequest) -> ResNet:
    network = ResNet(Bottleneck, BLOCKS)
    if request.pretrained:
        fill(network, weights("resnet50"), weights_file("resnet50"), right("resnet50"))
    for number in range(1, STAGES):
        # In front of each of the later stages, which halve the map: the paper's bottlenecks.
        stage: nn.Sequential = getattr(network, f"layer{number}")
        stage.append(BottleneckAttention(stage[-1].conv3.out_channels))  # type: ignore[union-attr, arg-type]
    return network


def _start(network: nn.Module, paper: bool) -> None:
    """Set the gates' first weights.

    The paper's start is that of the authors' code: Kaiming's normal distribution for convolutions, biases and the
    weight of CBAM's spatial batch norm 0; so factors are about one half for CBAM, about 1.5 for BAM.
    """
    for module in network.modules():
        if not isinstance(module, (SpatialGate, ChannelGate, BottleneckAttention)):
            continue
        if paper:
            for layer in module.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if isinstance(module, SpatialGate):
            nn.init.zeros_(module.bn.weight)
            nn.init.constant_(module.bn.bias, 0 if paper else OPEN)
        elif isinstance(module, ChannelGate) and not paper:
            # Its outputs for the mean and for the maximum are added.
            nn.init.zeros_(module.excite.weight)
            nn.init.constant_(module.excite.bias, OPEN / 2)
        elif isinstance(module, BottleneckAttention) and not paper:
            for norm in (module.channel_norm, module.spatial_norm):  # what they give is added
                nn.init.zeros_(norm.weight)
                nn.init.constant_(norm.bias, -OPEN / 2)


def offline(name: str) -> bool:
    """Return whether the weights of the underlying ResNet50 are on this disk."""
    return weights_are_there("resnet50")
