"""The tracker `tensorboard`: numbers, learning rate, sample predictions and configuration of each fold."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import KitError
from kit.plugin import TrackerSpec, hookimpl

if TYPE_CHECKING:
    from kit_tensorboard.tracker import TensorBoard


def _check() -> None:
    if find_spec("tensorboard") is None:
        raise KitError("the tracker tensorboard needs a package that is not installed: pip install 'tensorboard>=2.15'")


def _open(run: Path, fold: int) -> "TensorBoard":
    _check()
    from kit_tensorboard.tracker import TensorBoard

    return TensorBoard(run, fold)


@hookimpl
def kit_trackers() -> list[TrackerSpec]:
    """Add `tensorboard`: train with `--set trackers=tensorboard`, then run `tensorboard --logdir runs`."""
    return [TrackerSpec("tensorboard", _open, _check)]
