"""A network that takes only so many images at once, as on a GPU with too little memory.

As a script, the command line with such a network in the process of one rank: little_memory.py RANK MOST ARGUMENT...
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from kit.model.network import Network

TEXT = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.7 GiB of which 1.50 GiB is free. "
    "Process 17 has 14.27 GiB memory in use. See documentation for Memory Management"
)
SAID = (
    "the GPU has too little memory (CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
    "15.7 GiB of which 1.50 GiB is free)"
)


def out() -> Exception:
    """Return torch's error."""
    return torch.OutOfMemoryError(TEXT)


def limited(most: int, error: Callable[[], Exception] = out) -> Callable[..., Any]:
    """Return a `Network.forward` that raises for more images than `most`, after its body has seen them."""
    forward = Network.forward

    def checked(self: Network, images: torch.Tensor, metadata: torch.Tensor | None = None) -> Any:
        output = forward(self, images, metadata)
        if len(images) > most:
            raise error()
        return output

    return checked


def in_training(most: int) -> Callable[..., Any]:
    """Return a `Network.forward` into which only so many images fit in training."""
    forward, too_many = Network.forward, limited(most)
    return lambda self, *inputs: (too_many if self.training and self.body.training else forward)(self, *inputs)


if __name__ == "__main__":
    from kit.cli.app import main

    if os.environ["RANK"] == sys.argv[1]:
        Network.forward = limited(int(sys.argv[2]))  # type: ignore[method-assign]
    main(sys.argv[3:])
