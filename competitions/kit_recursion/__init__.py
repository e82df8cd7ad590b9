"""Recursion: which of 1,108 siRNAs was given to the cells of a well? Six channels, plates, batch effects."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kit.plugin import Competition, DatasetSpec, Finding, Picture, SubmissionSpec, hookimpl

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from kit.plugin.data import Index
    from kit.plugin.predictions import Predictions


@hookimpl
def kit_competitions() -> list[Competition]:
    """`recursion`."""
    return [Competition.from_toml(Path(__file__).parent / "competition.toml")]


@hookimpl
def kit_datasets() -> list[DatasetSpec]:
    """`recursion`: six channels a site; `recursion_controls` learns from controls too; `recursion_rgb`: composites."""
    return [
        _dataset("recursion", 6, _read, controls=False, miniature=_miniature),
        _dataset("recursion_controls", 6, _read, controls=True),
        _dataset("recursion_rgb", 3, _read_rgb, controls=False),
    ]


def _dataset(
    name: str,
    channels: int,
    read: Callable[[tuple[Path, ...]], "np.ndarray"],
    controls: bool,
    miniature: Callable[[Path, int], None] | None = None,
) -> DatasetSpec:
    def index(root: Path) -> "Index":
        from kit_recursion.dataset import index

        return index(root, controls)

    return DatasetSpec(
        name,
        channels=channels,
        index=index,
        read=read,
        composite=_composite if channels == 6 else None,
        figures=_figures if channels == 6 else None,
        miniature=miniature,
        external=_external,
        statistics=_statistics if channels == 6 else None,
    )


@hookimpl
def kit_submissions() -> list[SubmissionSpec]:
    """`recursion`: id_code and siRNA, in the spelling of `train.csv`; plates as post-processing."""
    return [SubmissionSpec("recursion", write=_write, check=_check, postprocess=_plates)]


def _read(files: tuple[Path, ...]) -> "np.ndarray":
    from kit_recursion.dataset import read

    return read(files)


def _read_rgb(files: tuple[Path, ...]) -> "np.ndarray":
    from kit_recursion.dataset import read_rgb

    return read_rgb(files)


def _composite(image: "np.ndarray") -> "np.ndarray":
    from kit_recursion.dataset import composite

    return composite(image)


def _statistics(index: "Index", frame: "pd.DataFrame") -> "tuple[np.ndarray, np.ndarray] | None":
    from kit_recursion.dataset import statistics

    return statistics(index, frame)


def _external(path: Path, index: "Index") -> "pd.DataFrame":
    from kit_recursion.dataset import external

    return external(path, index)


def _figures(index: "Index") -> Iterable[Picture]:
    from kit_recursion.figures import figures

    return figures(index)


def _miniature(root: Path, seed: int) -> None:
    from kit_recursion.miniature import write_miniature

    write_miniature(root, seed)


def _plates(predictions: "Predictions", index: "Index") -> "Predictions":
    from kit_recursion.submission import plates

    return plates(predictions, index)


def _write(predictions: "Predictions", index: "Index", path: Path) -> None:
    from kit_recursion.submission import write

    write(predictions, index, path)


def _check(path: Path, root: Path) -> list[Finding]:
    from kit_recursion.submission import check

    return check(path, root)
