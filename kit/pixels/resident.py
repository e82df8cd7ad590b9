"""Packed pixels that stay in the GPU's memory while folds are trained, so that no batch has to be copied there.

They are the process's, like the GPU's memory: all folds, and training and validation of a fold, share them.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kit.console import Console
from kit.console import size as in_bytes
from kit.errors import KitError
from kit.pixels.packed import Packed

Pixels = Literal["auto", "gpu", "host"]
SHARE = 0.5  # of the free memory, the most that pixels take by themselves: the rest is the network's
BLOCK_BYTES = 1 << 26

_held: dict[tuple[str, str, torch.device], Tensor] = {}
_full: set[torch.device] = set()  # where a network has needed the memory: pixels stay away


def keep(packs: Iterable[Packed], device: torch.device, pixels: Pixels, console: Console) -> None:
    """Hold these packs in the memory of the device, if they are to be there, and no others; say so.

    `auto` holds a pack that takes at most half of the memory that is free. Every chunk is verified on its way.

    Raises:
        KitError: `pixels` is `gpu`, and a pack does not fit.
    """
    wanted = {_key(pack, device): pack for pack in packs}
    for key in [key for key in _held if key[2] == device and (pixels == "host" or key not in wanted)]:
        del _held[key]
    for key, pack in wanted.items():
        if pixels == "host" or key in _held:
            continue
        name, free = f"the pixels at {pack.size} px ({in_bytes(pack.layout.bytes)})", free_memory(device)
        if free is None:
            return
        if pixels == "gpu" and pack.layout.bytes > free:
            raise KitError(f"{name} do not fit into the GPU's free memory of {in_bytes(free)}: --set pixels=auto")
        if pixels == "auto" and (device in _full or not fits(pack.layout.bytes, device)):
            console.say(f"{name} are copied to the GPU batch by batch: {in_bytes(free)} of its memory are free")
            continue
        _held[key] = _moved(pack, device, console)
        console.say(f"{name} stay on the GPU, which had {in_bytes(free)} free: no batch is copied there")


def fits(count: int, device: torch.device) -> bool:
    """Return whether `auto` would hold so many bytes on the device."""
    return count <= SHARE * (free_memory(device) or 0)


def held(pack: Packed | None, device: torch.device) -> Tensor | None:
    """Return the pixels of a pack on the device, NxSxSxC uint8, if they are there."""
    return None if pack is None else _held.get(_key(pack, device))


def release(device: torch.device) -> bool:
    """Give the memory of the device back to the network, for good; return whether pixels had any of it.

    Batches that are under way hold it until they end.
    """
    _full.add(device)
    return len([_held.pop(key) for key in list(_held) if key[2] == device]) > 0


def drop() -> None:
    """Forget all pixels; their memory is free for others."""
    _held.clear()


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a device that has memory of its own, with those that torch keeps for later; or None."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def _key(pack: Packed, device: torch.device) -> tuple[str, str, torch.device]:
    return str(pack.path), pack.digest, device


def _moved(pack: Packed, device: torch.device, console: Console) -> Tensor:
    layout = pack.layout
    there = torch.empty((layout.count, layout.size, layout.size, layout.channels), dtype=torch.uint8, device=device)
    step = max(1, BLOCK_BYTES // layout.row_bytes)
    block = torch.empty(
        (min(step, layout.count), *there.shape[1:]), dtype=torch.uint8, pin_memory=device.type == "cuda"
    )
    with console.progress("pixels to the GPU", layout.count) as bar:
        for start in range(0, layout.count, step):
            rows = np.arange(start, min(start + step, layout.count))
            part = block[: len(rows)]
            part.numpy()[...] = pack.verified(rows)[start : start + len(rows)]
            there[start : start + len(rows)] = part  # waits: the block is written again
            bar.advance(len(rows))
    return there
