"""Networks of any make as models to explain."""

import torch
from torch import nn

from kit.hooks.learning import ModelRequest
from kit.hooks.registry import Registry
from kit.model.build import Model
from kit.model.device import Runtime
from kit.pixels.batches import Normalize
from kit.task import TASKS

VIT, SWIN = "timm/vit_tiny_patch16_224", "timm/swin_tiny_patch4_window7_224"


def model_of(network: nn.Module, task: str = "multiclass", loss: nn.Module | None = None) -> Model:
    return Model(network, loss or nn.Module(), Normalize([0], [1]), Runtime(torch.device("cpu"), None), TASKS[task])


def build(name: str, channels: int = 3, outputs: int = 3, metadata: int = 0) -> Model:
    torch.manual_seed(0)
    request = ModelRequest(name, channels, outputs, "linear", metadata, pretrained=False)
    return model_of(Registry().models.get(name).build(request))
