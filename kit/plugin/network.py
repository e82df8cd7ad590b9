"""For `ModelSpec.build` and `LossSpec.build`: body plus head, a network's output, and the batch that a loss gets."""

from kit.model.network import Network, Output, widen_stem
from kit.pixels.batches import Batch

__all__ = ["Batch", "Network", "Output", "widen_stem"]
