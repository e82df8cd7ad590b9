"""Estimate a run's time and disk space after its first twenty steps."""

from kit.console import Console, duration, size

AFTER_STEPS = 20
# A forward pass costs about a third of a training step.
VALIDATION_COST = 1 / 3


class Forecast:
    """Count steps and print the estimate once.

    Args:
        train_images: training images still to come, all epochs and folds together.
        valid_images: validation images still to come, likewise.
        weights: number of copies of the weights on disk at the end of the run.
        console: prints the estimate.
    """

    def __init__(self, train_images: int, valid_images: int, weights: int, console: Console) -> None:
        self.images = train_images + valid_images * VALIDATION_COST
        self.weights, self.console = weights, console
        self.weight_bytes = 0  # of one copy; known once a network is built
        self.steps = 0

    def after_step(self, rate: float) -> None:
        """Count a step; call this after every step with the rate in images/s."""
        self.steps += 1
        if self.steps == AFTER_STEPS:
            disk = size(self.weights * self.weight_bytes)
            self.console.say(f"estimated: {duration(self.images / rate)} in total, {disk} on disk")
