"""In how many parts a run computes its batches, where the memory is too small for whole ones.

A step's gradient is the sum over its images, so it may be computed in any parts: the rows of each step, their
augmentation, the order and the schedule stay. What is drawn for a batch (mixup, CutMix, dropout) is drawn for each
part, and batch norm sees the parts. So two parts learn what half the `batch_size` with twice `accumulate` learns.
"""

from kit.config import TrainConfig
from kit.console import Console
from kit.errors import MEMORY, KitError, out_of_memory
from kit.model import distributed
from kit.run import Run


class Parts:
    """One part a batch, and twice as many whenever that is too much; the run keeps the number for what it trains later.

    Args:
        run: notes the number in run.json, and begins with the one noted there; None: nothing is noted.
        console: for a line that says so.
    """

    def __init__(self, run: Run | None = None, console: Console | None = None) -> None:
        self._run, self._console = run, console
        self.count = 1 if run is None else run.record.get("parts", 1)
        self._noted, self._full, self._images = self.count, "", 0

    def double(self, config: TrainConfig, full: str, images: int) -> None:
        """Compute batches in twice as many parts, as `full` says that there is too little memory for `images` at once.

        Raises:
            KitError: no batch can be divided any more.
        """
        if self.count >= config.batch_size:
            smaller = "train anew with a smaller --size or --model"
            raise out_of_memory(f"{full} for {images} images at once, too few to divide", smaller)
        if self.count == self._noted:
            self._images = images
        self.count, self._full = self.count * 2, full

    def note(self, config: TrainConfig) -> None:
        """Say the number, and write it into the run, if it is new."""
        if self.count == self._noted:
            return
        if self._console is not None:
            self._console.warn(
                f"{self._full} for {self._images} images at once: each batch is computed in {self.count} parts, "
                f"a step is the same (from the start: {divided(config, self.count)})"
            )
        self._write()

    def in_one_process(self, config: TrainConfig) -> KitError:
        """Note the number; return the error of one process of several, which must all go on in the same parts."""
        self._write()
        who = f"process {distributed.rank()} of {distributed.world_size()}"
        return KitError(
            f"{who}: {self._full} for {self._images} images at once, its share of a batch: each will be computed in "
            f"{self.count} parts, a step stays the same (from the start: {divided(config, self.count)}); "
            "let all processes end",
            MEMORY,
        )

    def _write(self) -> None:
        self._noted = self.count
        if self._run is not None:
            # Folds may be trained at once elsewhere: the largest number counts.
            self._run.update(lambda record: {"parts": max(self.count, record.get("parts", 1))})


def divided(config: TrainConfig, parts: int) -> str:
    """Return the options with which a run computes its batches in so many parts from the start."""
    if config.batch_size % parts or config.batch_size < 2 * parts:
        return "a smaller --batch-size and a larger accumulate"
    return f"--batch-size {config.batch_size // parts} --set accumulate={config.accumulate * parts}"


def failed_update(config: TrainConfig, full: str) -> KitError:
    """Return the error of an update of the weights for which there is too little memory."""
    again = f"train anew with {divided(config, 2)} (the same steps in less memory)"
    return out_of_memory(f"{full} for the update of the weights, which can't be taken twice", again)
