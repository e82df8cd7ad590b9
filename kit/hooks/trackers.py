"""What plugins return to receive the numbers of a training run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


class Tracker(Protocol):
    """Receives the numbers of one fold's training, on the main process only.

    `log` is called once per validation. A fold that resumes after a stop or a kill opens a new tracker, which may
    receive a step that an earlier tracker has received already: the later numbers count.
    """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Receive one row of history.csv.

        Args:
            step: number of batches since the start of the fold.
            values: the row's numbers by column: epoch, losses, metrics, learning rate, seconds, images per second.
        """

    def close(self) -> None:
        """End the fold, also after a stop or an error."""


@dataclass(frozen=True)
class Preview:
    """One validation image.

    Args:
        image: HxWx3 uint8, RGB.
        caption: two lines: its label, and the prediction with its probability.
    """

    image: "np.ndarray"
    caption: str


@runtime_checkable
class ImageTracker(Tracker, Protocol):
    """A tracker that also receives images; one without this method gets numbers only."""

    def images(self, step: int, previews: Sequence[Preview]) -> None:
        """Receive up to 16 validation images, the same ones each time, after `log` of the same step."""


@runtime_checkable
class NetworkTracker(Tracker, Protocol):
    """A tracker that also receives the network, where the run asks for that (`--set track_network=true`)."""

    def network(self, step: int, network: "nn.Module", images: "Tensor", metadata: "Tensor") -> None:
        """Receive the network that predicts, which must stay as it is, after `log` of the same step.

        `images` (1xCxHxW) and `metadata` (1xE) are zeros that it takes, on its device.
        """


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker by name.

    Args:
        name: unique among the installed plugins.
        open: (folder of the run, number of the fold) -> tracker. Called when the training of a fold starts or resumes.
        check: () -> None. Raises `KitError` if something the tracker needs is not installed; called before the run's
            folder is created. Default: nothing to check.
    """

    name: str
    open: Callable[[Path, int], Tracker]
    check: Callable[[], None] | None = None
