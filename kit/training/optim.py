"""Optimiser and the course of the learning rate."""

import math

import torch
from torch import nn

from kit.config import TrainConfig


def make_optimizer(config: TrainConfig, modules: list[nn.Module]) -> torch.optim.Optimizer:
    """AdamW over all parameters of the modules; norms and biases are not decayed."""
    parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr, fused=True)


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The rate of one step out of `total`.

    One-cycle (Smith & Topin 2018, as in `torch.optim.lr_scheduler.OneCycleLR`): from lr/25 by a cosine up to lr over
    the first 30 % of the steps, then by a cosine down to lr/250,000.
    """
    if config.schedule == "constant":
        return config.lr
    low, end = config.lr / 25, config.lr / 25e4
    peak = 0.3 * total - 1
    if step <= peak:
        return _cosine(low, config.lr, step / peak if peak > 0 else 1.0)
    return _cosine(config.lr, end, (step - peak) / max(total - 1 - peak, 1e-9))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(share, 1.0)))
