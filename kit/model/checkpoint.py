"""Weights and resume state on disk: tensors as safetensors, the rest as JSON, nothing that could execute code.

`checkpoint.json` names the current files and their digests. It is replaced last, in one step, so a kill at any moment
leaves a fold that can be resumed.
"""

import errno
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kit.errors import KitError, PluginError
from kit.files import atomic, read_json, sha256, write_json
from kit.record import CheckpointRecord


class Checkpoints:
    """The checkpoints of one fold: `last` (to resume from) and `best` (by what the configuration judges)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "checkpoint.json"
        mend = f"restore it, or kit train --resume {folder.parent.name} trains the fold again"
        self.content: dict[str, Any] = {**read_json(path, CheckpointRecord, mend)} if path.is_file() else {}

    def write(
        self,
        weights: dict[str, Tensor],
        tensors: dict[str, Tensor],
        state: dict[str, Any],
        *,
        step: int,
        best: bool,
        keep: int = 1,
    ) -> None:
        """Save the weights that predict and the state to resume from.

        Args:
            weights: of the network and loss that predict.
            tensors: of the optimiser, and of the network itself where an average of it predicts.
            state: JSON, the rest of the state to resume from.
            step: number of steps since the start.
            best: whether these weights are the best so far.
            keep: how many of the newest weights to keep beside the best.
        """
        entry = {"step": step, "weights": self._save(f"weights-{step:08d}", weights)}
        older = [kept for kept in self.content.get("kept", []) if kept["step"] != step]
        self.content = {
            "last": {**entry, "state": self._save(f"state-{step:08d}", tensors)},
            "best": entry if best else self.content.get("best"),
            "kept": [*older, entry][-keep:],
            "state": state,
        }
        write_json(self.folder / "checkpoint.json", self.content)
        self._sweep()

    def weights(self, which: str) -> dict[str, Tensor]:
        """Return the weights that `checkpoint` of a configuration names: `last`, `best` or `best_loss`."""
        return self._load(self._weights(which))

    def check(self, which: str) -> None:
        """Raise `KitError` unless these weights are there, byte for byte."""
        self._file(self._weights(which))

    def check_all(self) -> None:
        """Raise `KitError` unless every file of the checkpoints is there, byte for byte."""
        for file, digest in self.files().items():
            self._file({"file": file, "sha256": digest})

    def files(self) -> dict[str, str]:
        """Return the file of every saved state with its SHA-256."""
        entries = [self.content.get("last"), self.content.get("best"), *self.content.get("kept", ())]
        saved = [part for entry in entries if entry for part in (entry["weights"], entry.get("state")) if part]
        return {each["file"]: each["sha256"] for each in saved}

    def state(self) -> dict[str, Tensor]:
        """Return the tensors to resume training from."""
        return self._load(self.content["last"]["state"])

    def _weights(self, which: str) -> dict[str, str] | None:
        entry = self.content.get("last" if which == "last" else "best") or {}
        weights: dict[str, str] | None = entry.get("weights")
        return weights

    def _save(self, name: str, tensors: dict[str, Tensor]) -> dict[str, str]:
        path = self.folder / f"{name}.safetensors"
        with atomic(path) as temporary:
            try:
                save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary)
            except SafetensorError as error:
                raise _as_os_error(error) from None
            digest = sha256(temporary)
        return {"file": path.name, "sha256": digest}

    def _file(self, entry: dict[str, str] | None) -> Path:
        again = f"kit train --resume {self.folder.parent.name} trains the fold again"
        if entry is None:
            raise KitError(f"{self.folder} has no trained weights: {again}")
        path = self.folder / Path(entry["file"]).name
        if not path.is_file() or sha256(path) != entry["sha256"]:
            raise KitError(
                f"{path} is missing or damaged (its digest is not that of checkpoint.json): restore it, or {again}"
            )
        return path

    def _load(self, entry: dict[str, str] | None) -> dict[str, Tensor]:
        path = self._file(entry)
        try:
            return load_file(path)
        except SafetensorError as error:
            raise KitError(f"{path} can't be read ({error}): restore it or train again") from None

    def _sweep(self) -> None:
        """Remove the files that nothing refers to any more."""
        kept = self.files()
        for path in self.folder.glob("*.safetensors"):
            if path.name not in kept:
                path.unlink()


def _as_os_error(error: SafetensorError) -> OSError:
    """Return what the system said when tensors could not be written."""
    found = re.search(r"os error (\d+)", str(error))
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number))


def pack_modules(network: nn.Module, loss: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of network and loss in one dictionary."""
    modules = {"network": network, "loss": loss}
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def unpack_modules(tensors: dict[str, Tensor], network: nn.Module, loss: nn.Module) -> None:
    """Load tensors of `pack_modules` back; every name and shape must fit."""
    for name, module in (("network", network), ("loss", loss)):
        own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        broken = next((key for key, value in own.items() if not value.isfinite().all()), None)
        if broken is not None:
            raise KitError(f"the saved weights {name}.{broken} are not finite numbers: train again with a smaller --lr")
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise KitError(f"the saved weights do not fit the {name} that this kit builds: {error}") from None


def settings_of(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the settings of each group of parameters, without the rate, which the schedule sets."""
    return [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in optimizer.param_groups]


def pack_optimizer(optimizer: torch.optim.Optimizer, settings: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Return the optimiser's state as named tensors: of its parameters, and what it changed of its first `settings`.

    Raises:
        PluginError: it keeps anything but tensors, numbers and None.
    """
    packed: dict[str, Tensor] = {}
    for number, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            kind = "" if isinstance(value, Tensor) else "number."
            packed[f"optimizer.{kind}{number}.{name}"] = _packed(optimizer, name, value)
    for number, (first, now) in enumerate(zip(settings, settings_of(optimizer), strict=True)):
        for name, value in now.items():
            if isinstance(value, Tensor) or name not in first or first[name] != value:
                packed[f"optimizer.group.{number}.{name}"] = _packed(optimizer, name, value)
    return packed


def _packed(optimizer: torch.optim.Optimizer, name: str, value: object) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if value is None:
        return torch.empty(0)
    if isinstance(value, (bool, int, float)):
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    raise PluginError(
        f"the optimiser {type(optimizer).__qualname__} keeps {type(value).__name__} under {name!r}; a checkpoint holds "
        "tensors and numbers: tell its author, or choose another (kit list optimizers)"
    )


@torch.no_grad()
def unpack_optimizer(tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Load the state of `pack_optimizer` back; other tensors are skipped, and the schedule sets the learning rates."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    content = optimizer.state_dict()
    content["state"] = {}
    for key, value in tensors.items():
        if not key.startswith("optimizer."):
            continue
        kind, _, rest = key.removeprefix("optimizer.").partition(".")
        if kind in ("number", "group"):
            number, _, name = rest.partition(".")
            groups, state = content["param_groups"], content["state"]
            place = groups[int(number)] if kind == "group" else state.setdefault(int(number), {})
            plain = value.item() if value.numel() else None
            place[name] = value if isinstance(place.get(name), Tensor) else plain
            continue
        parameter = parameters[int(kind)]
        if value.shape == parameter.shape:
            # The fused step walks through memory, so moments need the layout of their (channels-last) parameter.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        content["state"].setdefault(int(kind), {})[rest] = value
    optimizer.load_state_dict(content)
