"""HAM10000, ISIC 2018 task 3: which of seven kinds of skin lesion? Several images of one lesion, rare classes."""

from collections.abc import Iterable, Mapping
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
    """`ham10000`."""
    return [Competition.from_toml(Path(__file__).parent / "competition.toml")]


@hookimpl
def kit_datasets() -> list[DatasetSpec]:
    """`ham10000`: one RGB image an id, of any size."""
    return [
        DatasetSpec(
            "ham10000",
            channels=3,
            index=_index,
            read=_read,
            figures=_figures,
            miniature=_miniature,
            external=_external,
            any_size=True,
        )
    ]


@hookimpl
def kit_submissions() -> list[SubmissionSpec]:
    """`ham10000`: the csv of ISIC 2018 task 3, and its official score."""
    return [SubmissionSpec("ham10000", write=_write, check=_check, grade=_grade)]


def _index(root: Path) -> "Index":
    from kit_ham10000.dataset import index

    return index(root)


def _read(files: tuple[Path, ...]) -> "np.ndarray":
    from kit_ham10000.dataset import read

    return read(files)


def _external(path: Path, index: "Index") -> "pd.DataFrame":
    from kit_ham10000.dataset import external

    return external(path, index)


def _figures(index: "Index") -> Iterable[Picture]:
    from kit_ham10000.figures import figures

    return figures(index)


def _miniature(root: Path, seed: int) -> None:
    from kit_ham10000.miniature import write_miniature

    write_miniature(root, seed)


def _write(predictions: "Predictions", index: "Index", path: Path) -> None:
    from kit_ham10000.submission import write

    write(predictions, index, path)


def _check(path: Path, root: Path) -> list[Finding]:
    from kit_ham10000.submission import check

    return check(path, root)


def _grade(path: Path, truth: Path) -> Mapping[str, float]:
    from kit_ham10000.submission import grade

    return grade(path, truth)
