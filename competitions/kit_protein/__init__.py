"""Human Protein Atlas: in which of 28 parts of the cell does the green protein lie? One image, several answers."""

from collections.abc import Iterable
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
    """`protein`."""
    return [Competition.from_toml(Path(__file__).parent / "competition.toml")]


@hookimpl
def kit_datasets() -> list[DatasetSpec]:
    """`protein`: four grey files an id as RGBY; `protein_full_size`: the same from the folders of large TIFF files."""
    return [_dataset("protein", "train", "test"), _dataset("protein_full_size", "train_full_size", "test_full_size")]


def _dataset(name: str, train: str, test: str) -> DatasetSpec:
    def index(root: Path) -> "Index":
        from kit_protein.dataset import index

        return index(root, train, test)

    return DatasetSpec(
        name,
        channels=4,
        index=index,
        read=_read,
        composite=_composite,
        figures=_figures,
        miniature=_miniature if name == "protein" else None,
        likeness=_likeness,
        external=_external,
    )


@hookimpl
def kit_submissions() -> list[SubmissionSpec]:
    """`protein`: Id and the numbers of the predicted classes."""
    return [SubmissionSpec("protein", write=_write, check=_check)]


def _read(files: tuple[Path, ...]) -> "np.ndarray":
    from kit_protein.dataset import read

    return read(files)


def _composite(image: "np.ndarray") -> "np.ndarray":
    from kit_protein.dataset import composite

    return composite(image)


def _likeness(files: tuple[Path, ...]) -> "np.ndarray":
    from kit_protein.dataset import likeness

    return likeness(files)


def _external(path: Path, index: "Index") -> "pd.DataFrame":
    from kit_protein.dataset import external

    return external(path, index)


def _figures(index: "Index") -> Iterable[Picture]:
    from kit_protein.figures import figures

    return figures(index)


def _miniature(root: Path, seed: int) -> None:
    from kit_protein.miniature import write_miniature

    write_miniature(root, seed)


def _write(predictions: "Predictions", index: "Index", path: Path) -> None:
    from kit_protein.submission import write

    write(predictions, index, path)


def _check(path: Path, root: Path) -> list[Finding]:
    from kit_protein.submission import check

    return check(path, root)
