"""Write event files to `runs/<id>/tensorboard/fold-<k>/`, one more file each time the fold resumes."""

import contextlib
import io
import json
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from kit.plugin import Preview
from kit.plugin.files import read_json

COLUMNS = 4
SIDE = 2.0  # side of an image in the grid, inches
CAPTION = 30  # characters per line
RGB, FILTER, LINE = 3, 28, 200  # channels, height of a filter in pixels, grey level between filters


class TensorBoard:
    """The tracker of one fold; its scalars are tagged with the columns of history.csv."""

    def __init__(self, run: Path, fold: int) -> None:
        self.folder = run / "tensorboard" / f"fold-{fold}"
        self.config: dict[str, Any] = read_json(run / "run.json")["config"]
        self._writer: SummaryWriter | None = None
        self._first = not self.folder.is_dir()
        self._has_graph = not self._first

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers; before the first ones of the fold, the configuration."""
        if self._writer is None:
            # Drop what a killed process wrote from this step on: this process repeats those steps.
            self._writer = SummaryWriter(str(self.folder), purge_step=step)
            if self._first:
                self._write_config(self._writer, values)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def images(self, step: int, previews: Sequence[Preview]) -> None:
        """Write the previews as one grid."""
        if self._writer is not None and previews:
            self._writer.add_image("validation", grid(previews), step, dataformats="HWC")
            self._writer.flush()

    def network(self, step: int, network: nn.Module, images: Tensor, metadata: Tensor) -> None:
        """Write histograms of all weights and a picture of the first filters; the first time also the graph."""
        if self._writer is None:
            return
        for name, weights in network.named_parameters():
            self._writer.add_histogram(f"weights/{name}", weights.detach().float().cpu().numpy(), step)
        layers = ((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
        name, first = next(layers, ("", None))
        if first is not None:
            shown = filters(first.weight.detach().float().cpu().numpy())
            self._writer.add_image(f"filters/{name}", shown, step, dataformats="HWC")
        if not self._has_graph:
            self._write_graph(self._writer, network, images, metadata)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()

    def _write_graph(self, writer: SummaryWriter, network: nn.Module, images: Tensor, metadata: Tensor) -> None:
        self._has_graph, was_training = True, network.training
        try:
            with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")  # of what a trace fixes: this one is only looked at
                network.eval()
                writer.add_graph(_Logits(network), (images, metadata))
        except Exception as error:  # of a network that can't be traced; training goes on
            writer.add_text("graph", f"this network has no graph ({type(error).__name__}: {error})"[:500], 0)
        finally:
            network.train(was_training)

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


class _Logits(nn.Module):
    """A network as a function to one tensor, which is never compiled."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, metadata: Tensor) -> Tensor:
        """Return the logits BxK."""
        logits: Tensor = self.network.forward(images, metadata).logits
        return logits


def filters(weights: np.ndarray) -> np.ndarray:
    """Draw the filters of a convolution, FxCxhxw, on grey: HxWx3 uint8, each enlarged, a light line between them.

    Filters of three channels are in colour, side by side. Of another number, each row is a filter and each column a
    channel. Grey is 0; the strongest weight of all is black or white.
    """
    count, channels, height, width = weights.shape
    levels = (127.5 + 127.5 * weights / max(np.abs(weights).max(), 1e-12)).round().astype(np.uint8)
    if channels == RGB:
        tiles, across = levels.transpose(0, 2, 3, 1), math.ceil(math.sqrt(count))
    else:
        tiles, across = np.repeat(levels.reshape(-1, height, width, 1), RGB, 3), channels
    zoom = max(1, FILTER // height)
    tiles = tiles.repeat(zoom, 1).repeat(zoom, 2)
    tiles = np.pad(tiles, ((0, -len(tiles) % across), (0, 1), (0, 1), (0, 0)), constant_values=LINE)
    rows = tiles.reshape(-1, across, *tiles.shape[1:]).transpose(0, 2, 1, 3, 4)
    return rows.reshape(-1, across * tiles.shape[2], RGB)


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
