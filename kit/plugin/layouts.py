"""For `DatasetSpec.index` and `.miniature`: tables of labels, the images of their rows, metadata, drawn pictures."""

from kit.layouts.drawn import draw_image
from kit.layouts.frames import images_below, with_images, with_metadata
from kit.layouts.labels import read_labels, target_of, wide
from kit.layouts.table import index_of_table

__all__ = [
    "draw_image",
    "images_below",
    "index_of_table",
    "read_labels",
    "target_of",
    "wide",
    "with_images",
    "with_metadata",
]
