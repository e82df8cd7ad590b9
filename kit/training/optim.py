"""The optimiser: which parameters it updates, at which rate by depth, and which have no weight decay."""

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from kit.config import TrainConfig
from kit.errors import KitError
from kit.hooks.foreign import Foreign, faulty
from kit.hooks.learning import OptimizerRequest, OptimizerSpec
from kit.hooks.registry import installed

# The body is divided into this many parts of equally many layers, for rates that differ by depth; the head is one more.
BODY_PARTS = 4


def depth_groups(network: nn.Module, loss: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters by depth: the parts of the body from the image on, then the head with those of the loss."""
    module = getattr(network, "head", None)
    head = set(module.parameters()) if isinstance(module, nn.Module) else set()
    # Weights that several layers share are moved once, with the first of them.
    layer_of = {
        parameter: layer for layer in reversed(list(network.modules())) for parameter in layer.parameters(False)
    }
    layers = [[each for each in layer.parameters(False) if layer_of[each] is layer] for layer in network.modules()]
    layers = [own for layer in layers if (own := [parameter for parameter in layer if parameter not in head])]
    edges = [round(depth * len(layers) / BODY_PARTS) for depth in range(BODY_PARTS + 1)]
    body = [[parameter for layer in layers[a:b] for parameter in layer] for a, b in pairwise(edges)]
    return [*body, [*(p for p in network.parameters() if p in head), *loss.parameters()]]


def make_optimizer(config: TrainConfig, network: nn.Module, loss: nn.Module) -> torch.optim.Optimizer:
    """Make the configuration's optimiser. Each group of parameters has a `scale`: its share of the schedule's rate.

    Rates rise geometrically from `lr_low` at the first layers to `lr` at the head (Howard & Ruder 2018). Norms and
    biases have no weight decay.
    """
    depths = depth_groups(network, loss)
    if config.lr_low is None:
        # Fewer groups mean fewer, larger updates.
        depths, scales = [[parameter for parameters in depths for parameter in parameters]], [1.0]
    else:
        scales = [(config.lr_low / config.lr) ** (1 - depth / BODY_PARTS) for depth in range(len(depths))]
    groups: list[dict[str, Any]] = []
    for parameters, scale in zip(depths, scales, strict=True):
        for chosen, decay in (
            ([p for p in parameters if p.ndim > 1], config.weight_decay),
            ([p for p in parameters if p.ndim <= 1], 0.0),
        ):
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "scale": scale})
    given = [{**group, "params": list(group["params"])} for group in groups]
    spec = installed().optimizers.get(config.optimizer)
    optimizer = spec.build(OptimizerRequest(config, groups, config.lr))
    _check_groups(spec, optimizer, given)
    return optimizer


def _check_groups(spec: OptimizerSpec, optimizer: torch.optim.Optimizer, given: list[dict[str, Any]]) -> None:
    """Raise `PluginError` if an optimiser lacks parameters, or does not keep the share of the rate of each."""
    wanted = {parameter: group["scale"] for group in given for parameter in group["params"]}
    found = {parameter: group.get("scale") for group in optimizer.param_groups for parameter in group["params"]}
    lost = f"{len(wanted.keys() - found.keys())} of {len(wanted)} parameters"
    for wrong, what in (
        (wanted.keys() - found.keys(), f"leaves out {lost}: hand on request.groups as they are"),
        (found != wanted, "drops the scale of its groups, their share of the rate: hand on request.groups as they are"),
    ):
        if wrong:
            raise faulty(spec.build, what) if isinstance(spec.build, Foreign) else ValueError(what)


def freeze_body(network: nn.Module, frozen: bool) -> None:
    """Freeze or unfreeze everything but the head."""
    head = getattr(network, "head", None)
    if not isinstance(head, nn.Module):
        raise KitError("this network has no module called head, so its body can't be frozen: --set freeze_epochs=0")
    network.requires_grad_(not frozen)
    head.requires_grad_(True)
