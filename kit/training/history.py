"""The course of a fold's training: one row a validation, as csv and as a table that grows on the screen."""

import csv
import io
import math
from pathlib import Path

from kit.console import Console
from kit.files import write_bytes
from kit.model.distributed import is_main

FORMATS = {"epoch": "g", "lr": ".1e", "seconds": ".1f", "images/s": ".1f"}


class History:
    """Rows of numbers by column name."""

    def __init__(self, path: Path, console: Console) -> None:
        self.path, self.console = path, console
        self.rows: list[dict[str, float | None]] = []
        self._headed = False

    def add(self, row: dict[str, float]) -> None:
        """Append a row, write the csv anew, print the row."""
        self.rows = [*self.rows, {name: value if math.isfinite(value) else None for name, value in row.items()}]
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        if is_main():
            write_bytes(self.path, buffer.getvalue().encode())
        if not self._headed:
            self.console.say("".join(f"{name:>12}" for name in row))
            self._headed = True
        cells = (format(value, FORMATS.get(name, ".4f")) for name, value in row.items())
        self.console.say("".join(f"{cell:>12}" for cell in cells))
