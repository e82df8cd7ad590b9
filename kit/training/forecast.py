"""What a run will take, said after its first twenty batches."""

from collections.abc import Callable

from kit.console import Console, duration, size

AFTER_STEPS = 20
# A forward pass costs about a third of a training step.
VALIDATION_COST = 1 / 3


class Forecast:
    """Counts steps and prints the estimate once.

    Args:
        train_images: training images still to come, all epochs and folds together.
        valid_images: validation images still to come, likewise.
        disk: bytes that the run will hold at its end.
    """

    def __init__(self, train_images: int, valid_images: int, disk: Callable[[], int], console: Console) -> None:
        self.images = train_images + valid_images * VALIDATION_COST
        self.disk, self.console = disk, console
        self.steps = 0

    def after_step(self, rate: float) -> None:
        """Called after every step with the rate in images/s."""
        self.steps += 1
        if self.steps == AFTER_STEPS:
            self.console.say(f"estimated: {duration(self.images / rate)} in all, {size(self.disk())} on disk")
