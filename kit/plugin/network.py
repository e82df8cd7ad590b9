"""For `ModelSpec.build`, `HeadSpec.build` and `LossSpec.build`: body plus head, a network's output, parts of heads, the
batch that a loss gets, and pretrained weights from files."""

from kit.model.network import Network, Output, TwoUnits, last_layer, need_map, only_averages, widen_stem, with_metadata
from kit.model.weights import fill, other_network, read_weights
from kit.pixels.batches import Batch

__all__ = [
    "Batch",
    "Network",
    "Output",
    "TwoUnits",
    "fill",
    "last_layer",
    "need_map",
    "only_averages",
    "other_network",
    "read_weights",
    "widen_stem",
    "with_metadata",
]
