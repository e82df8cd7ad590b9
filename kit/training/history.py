"""The history of a fold's training: one row per validation, as a csv and as a table that grows on the screen."""

import contextlib
import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kit.console import Console
from kit.errors import KitError
from kit.files import write_bytes
from kit.model.distributed import is_main
from kit.record import STEPS, StepRow, read_steps

FORMATS = {"epoch": "g", "lr": ".1e", "seconds": ".1f", "images/s": ".1f"}


class History:
    """A csv of numbers by column name, and the same rows on the screen."""

    def __init__(self, path: Path, console: Console) -> None:
        self.path, self.console = path, console
        self._headed = False

    def add(self, rows: list[dict[str, float | None]], row: dict[str, float]) -> list[dict[str, float | None]]:
        """Append a row, rewrite the csv, print the row; return all rows, with None for numbers that are not finite."""
        rows = [*rows, {name: value if math.isfinite(value) else None for name, value in row.items()}]
        write_history(self.path, rows)
        if not self._headed:
            self.console.say("".join(f"{name:>12}" for name in row))
            self._headed = True
        cells = (format(value, FORMATS.get(name, ".4f")) for name, value in row.items())
        self.console.say("".join(f"{cell:>12}" for cell in cells))
        return rows


class StepLosses:
    """The training loss per image and the learning rate of every step, kept beside the history as `steps.csv`.

    Args:
        history: path of history.csv.
        step: steps taken so far, by a training that is resumed; of these, what the file has is kept.
    """

    def __init__(self, history: Path, step: int) -> None:
        self.path, self.step = history.with_name(STEPS), step
        self.rows: list[StepRow] = []
        if step and self.path.is_file():
            with contextlib.suppress(KitError):
                self.rows = [row for row in read_steps(self.path) if row["step"] <= step]

    def add(self, losses: Sequence[float], rates: Sequence[float]) -> None:
        """Add the next steps."""
        for loss, rate in zip(losses, rates, strict=True):
            self.step += 1
            self.rows.append({"step": self.step, "loss": loss, "lr": rate})

    def write(self) -> None:
        """Write all rows, on the main process."""
        if self.rows and is_main():
            lines = [f"{row['step']},{row['loss']:.6g},{row['lr']:.6g}\n" for row in self.rows]
            write_bytes(self.path, "".join(["step,loss,lr\n", *lines]).encode())


def write_history(path: Path, rows: Sequence[Mapping[str, float | None]]) -> None:
    """Write the rows of a history, if there are any, as a csv; on the main process."""
    if not rows or not is_main():
        return
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, buffer.getvalue().encode())
