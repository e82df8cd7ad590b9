"""The same network under Lightning. Importing this raises `ImportError` where Lightning is not installed."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from kit.model.build import Model

try:
    import lightning.pytorch as pl
except ImportError:
    import pytorch_lightning as pl


class Module(pl.LightningModule):
    """Network, loss and optimiser of the plain loop."""

    def __init__(self, model: Model, rate: float) -> None:
        super().__init__()
        self.network, self.rate = model.network, rate

    def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
        images, target = batch
        images = images.contiguous(memory_format=torch.channels_last)
        return binary_cross_entropy_with_logits(self.network(images).logits, target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), lr=self.rate, fused=True)


class Until(pl.Callback):
    """Ends the training after the batch of which `over` says so."""

    def __init__(self, over: Callable[[], bool]) -> None:
        self.over = over

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = self.over()


def train(model: Model, loader: torch.utils.data.DataLoader, rate: float, over: Callable[[], bool]) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    on_gpu = model.runtime.device.type == "cuda"
    half = "bf16-mixed" if model.runtime.amp is torch.bfloat16 else "16-mixed"
    pl.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=1,
        precision=half if model.runtime.amp is not None else "32-true",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Until(over)],
    ).fit(Module(model, rate), loader)
