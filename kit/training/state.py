"""The state from which a fold's training resumes, besides tensors; a checkpoint holds it as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from kit.errors import KitError


@dataclass
class TrainState:
    """How far a fold's training has come.

    Args:
        epoch: number of completed epochs.
        step: steps since the start.
        loss_sum: loss times images, summed over the epoch so far and all processes.
        images: number of images trained on in the epoch so far.
        seconds: seconds of training in the epoch so far.
        best_step: the step of the best validation so far; -1 before the first.
        best_score: metric of that validation, or its loss with `checkpoint=best_loss`; None if it is undefined.
        validated: the step of the last validation.
        scaler: state of the gradient scaler; empty if there is none.
        history: rows of history.csv.
        epoch_scores: the metric at the end of each epoch.
        epoch_losses: the validation loss at the end of each epoch.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    images: int = 0
    seconds: float = 0.0
    best_step: int = -1
    best_score: float | None = None
    validated: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float | None]] = field(default_factory=list)
    epoch_scores: list[float | None] = field(default_factory=list)
    epoch_losses: list[float | None] = field(default_factory=list)

    def end_epoch(self, score: float | None, loss: float | None) -> None:
        """Close an epoch with the metric and the loss of its validation."""
        self.epoch_scores.append(score)
        self.epoch_losses.append(loss)
        self.epoch, self.images, self.seconds = self.epoch + 1, 0, 0.0

    def document(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "TrainState":
        """Read what `document` returned."""
        try:
            return cls(**document)
        except TypeError as error:
            raise KitError(f"checkpoint.json holds no state of this kit's ({error}): train again") from None
