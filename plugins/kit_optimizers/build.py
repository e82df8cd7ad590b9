"""Build the optimisers of torch from a request; docs/training.md names the keys that each heeds."""

import torch
from torch.optim import Optimizer

from kit.plugin import OptimizerRequest


def adamw(request: OptimizerRequest) -> Optimizer:
    """Build AdamW (Loshchilov and Hutter 2019)."""
    return torch.optim.AdamW(request.groups, request.lr, fused=True)


def adam(request: OptimizerRequest) -> Optimizer:
    """Build Adam (Kingma and Ba 2015)."""
    return torch.optim.Adam(request.groups, request.lr, fused=True)


def sgd(request: OptimizerRequest) -> Optimizer:
    """Build SGD with momentum."""
    momentum, nesterov = request.config.momentum, request.config.nesterov
    sgd = torch.optim.SGD(request.groups, request.lr, momentum=momentum, nesterov=nesterov, fused=True)
    # The fused step breaks where some weights have moved and others, frozen until now, have not. From zero, the
    # first step is the gradient itself, as it is without.
    for parameter in (parameter for group in request.groups for parameter in group["params"] if momentum):
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def nadam(request: OptimizerRequest) -> Optimizer:
    """Build NAdam (Dozat 2016) with decoupled weight decay."""
    return torch.optim.NAdam(request.groups, request.lr, decoupled_weight_decay=True)


def radam(request: OptimizerRequest) -> Optimizer:
    """Build RAdam (Liu et al. 2020) with decoupled weight decay."""
    return torch.optim.RAdam(request.groups, request.lr, decoupled_weight_decay=True)


def rmsprop(request: OptimizerRequest) -> Optimizer:
    """Build RMSprop (Tieleman and Hinton 2012)."""
    return torch.optim.RMSprop(request.groups, request.lr, momentum=request.config.momentum)
