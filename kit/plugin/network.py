"""For `ModelSpec.build` and `LossSpec.build`: body plus head, a network's output, the batch
that a loss gets, and pretrained weights from files."""

from kit.model.network import Network, Output, widen_stem
from kit.model.weights import fill, other_network, read_weights
from kit.pixels.batches import Batch

__all__ = ["Batch", "Network", "Output", "fill", "other_network", "read_weights", "widen_stem"]
