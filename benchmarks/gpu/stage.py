"""A stage's side of the runner: how large it may be, how long it may take, and where it notes each figure at once."""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAST_WORDS = 2.0  # seconds before its limit at which a stage ends by itself


@dataclass(frozen=True)
class Stage:
    """What the runner gives a stage.

    Args:
        rehearsal: tiny sizes on the CPU.
        figures: file of one JSON line a figure, which the runner reads while the stage runs.
        scratch: a folder for whatever the stage makes.
        ends: the time (`time.monotonic`, one for all processes of a machine) by which it should have ended; soon after,
            it is cut.
    """

    rehearsal: bool
    figures: Path
    scratch: Path
    ends: float

    @classmethod
    def of_arguments(cls) -> "Stage":
        parser = argparse.ArgumentParser()
        parser.add_argument("--rehearsal", action="store_true")
        parser.add_argument("--figures", type=Path, required=True)
        parser.add_argument("--scratch", type=Path, required=True)
        parser.add_argument("--ends", type=float, required=True)
        given = parser.parse_args()
        return cls(given.rehearsal, given.figures, given.scratch, given.ends - LAST_WORDS)

    def left(self) -> float:
        """Seconds until it should have ended."""
        return self.ends - time.monotonic()

    def note(self, name: str, value: Any) -> None:
        """Hand a figure to the runner; a later one of the same name replaces it."""
        with self.figures.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, value]) + "\n")
