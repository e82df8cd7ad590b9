"""For `DatasetSpec.read`: read image files into arrays."""

from kit.data.images import read_grey, read_rgb, resize

__all__ = ["read_grey", "read_rgb", "resize"]
