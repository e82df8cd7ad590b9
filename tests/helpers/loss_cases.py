"""Losses built by name on small indices, and their value for given logits."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from kit.config import validate
from kit.data.index import Index
from kit.hooks.registry import Registry
from kit.model.losses import build_loss, loss_terms
from kit.model.network import Output
from kit.pixels.batches import Batch
from kit.plugin import LossRequest


def batch(target: Tensor) -> Batch:
    return Batch(torch.empty(0), target, torch.empty(0), torch.arange(len(target)))


def cost(loss: nn.Module, values: object, target: object) -> Tensor:
    """The loss of logits, which are the embedding too; lists become float64 tensors, integer targets stay so."""
    values = values if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.float64)
    target = target if isinstance(target, Tensor) else torch.tensor(target)
    return loss.to(values.dtype)(Output(values, values), batch(target))


def index_of(task: str, targets: list) -> Index:
    train = pd.DataFrame({"id": [str(n) for n in range(len(targets))], "files": [("x",)] * len(targets)})
    train["target"] = pd.Series(targets, dtype=object) if task == "multilabel" else targets
    classes = {"binary": ("no", "yes"), "regression": ("height",)}.get(task, ("a", "b", "c", "d"))
    return Index(Path(), task, classes, train, train[["id", "files"]])


INDEX = {
    "binary": index_of("binary", [0, 0, 0, 1, 0, 1]),
    "multiclass": index_of("multiclass", [0, 1, 1, 2, 3, 3, 3]),
    "ordinal": index_of("ordinal", [0, 1, 1, 2, 3, 3, 3]),
    "regression": index_of("regression", [2.0, 4.0, 4.0, 10.0]),
    "multilabel": index_of("multilabel", [(0, 1), (1,), (2,), (0, 3), (1,), ()]),
}


def built(text: str, task: str, embedding: int = 6, **values: object) -> nn.Module:
    config = validate({"competition": "x", "dataset": "x", "loss": text, **values})
    return build_loss(loss_terms(text, Registry(), task), LossRequest(config, INDEX[task], embedding))


def unit(degrees: list[float], length: float = 1) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1) * length


def margin_loss(kind: type, margin: float, centres: Tensor, **options: object) -> nn.Module:
    loss = kind(centres.shape[1], centres.shape[0], margin, 30.0, **options).to(centres.dtype)
    loss.centres.data = centres
    return loss
