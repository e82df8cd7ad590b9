"""For `DatasetSpec.figures`: panels, grids of images, maps and tables in kit's style."""

from kit.reports.figures import COLOURS, INK, image_grid, maps, panel, ranges, table

__all__ = ["COLOURS", "INK", "image_grid", "maps", "panel", "ranges", "table"]
