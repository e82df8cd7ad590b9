"""Write event files to `runs/<id>/tensorboard/fold-<k>/`, one more file each time the fold resumes."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from kit.plugin import Preview
from kit.plugin.files import read_json

COLUMNS = 4
SIDE = 2.0  # side of an image in the grid, inches
CAPTION = 30  # characters per line


class TensorBoard:
    """The tracker of one fold; its scalars are tagged with the columns of history.csv."""

    def __init__(self, run: Path, fold: int) -> None:
        self.folder = run / "tensorboard" / f"fold-{fold}"
        self.config: dict[str, Any] = read_json(run / "run.json")["config"]
        self._writer: SummaryWriter | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers; before the first ones of the fold, the configuration."""
        if self._writer is None:
            first = not self.folder.is_dir()
            # Drop what a killed process wrote from this step on: this process repeats those steps.
            self._writer = SummaryWriter(str(self.folder), purge_step=step)
            if first:
                self._write_config(self._writer, values)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def images(self, step: int, previews: Sequence[Preview]) -> None:
        """Write the previews as one grid."""
        if self._writer is not None and previews:
            self._writer.add_image("validation", grid(previews), step, dataformats="HWC")
            self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()

    def _write_config(self, writer: SummaryWriter, values: Mapping[str, float]) -> None:
        writer.add_text("configuration", textwrap.indent(json.dumps(self.config, indent=2), "    "), 0)
        flat = {
            key: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
            for key, value in self.config.items()
        }
        # SummaryWriter.add_hparams would create a separate run in a folder beside the scalars.
        events: Any = writer.file_writer
        for summary in hparams(flat, dict(values)):
            events.add_summary(summary)


def grid(previews: Sequence[Preview]) -> np.ndarray:
    """Draw the images in rows of four with their captions above; return HxWx3 uint8."""
    rows = -(-len(previews) // COLUMNS)
    figure = Figure(figsize=(COLUMNS * SIDE, rows * (SIDE + 0.4)), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, preview in zip(grid.flat, previews, strict=False):
        axes.imshow(preview.image, interpolation="nearest")
        lines = (textwrap.shorten(line, CAPTION, placeholder=" ...") for line in preview.caption.splitlines())
        axes.set_title("\n".join(lines), fontsize=8, pad=2)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
