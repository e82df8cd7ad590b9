"""Histopathologic Cancer Detection: does the centre of a patch of lymph node hold tumour?"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kit.plugin import Competition, DatasetSpec, Finding, Picture, SubmissionSpec, hookimpl

if TYPE_CHECKING:
    import numpy as np

    from kit.plugin.data import Index
    from kit.plugin.predictions import Predictions


@hookimpl
def kit_competitions() -> list[Competition]:
    """`histopathology`."""
    return [Competition.from_toml(Path(__file__).parent / "competition.toml")]


@hookimpl
def kit_datasets() -> list[DatasetSpec]:
    """`histopathology`: one RGB .tif an id."""
    return [
        DatasetSpec(
            "histopathology",
            channels=3,
            index=_index,
            read=_read,
            groups=_groups,
            figures=_figures,
            miniature=_miniature,
        )
    ]


@hookimpl
def kit_submissions() -> list[SubmissionSpec]:
    """`histopathology`: id and the probability of tumour."""
    return [SubmissionSpec("histopathology", write=_write, check=_check, grade=_grade)]


def _index(root: Path) -> "Index":
    from kit_histopathology.dataset import index

    return index(root)


def _read(files: tuple[Path, ...]) -> "np.ndarray":
    from kit_histopathology.dataset import read

    return read(files)


def _groups(path: Path) -> Mapping[str, str]:
    from kit_histopathology.dataset import groups

    return groups(path)


def _figures(index: "Index") -> Iterable[Picture]:
    from kit_histopathology.figures import figures

    return figures(index)


def _miniature(root: Path, seed: int) -> None:
    from kit_histopathology.miniature import write_miniature

    write_miniature(root, seed)


def _write(predictions: "Predictions", index: "Index", path: Path) -> None:
    from kit_histopathology.submission import write

    write(predictions, index, path)


def _grade(path: Path, truth: Path) -> Mapping[str, float]:
    from kit_histopathology.submission import grade

    return grade(path, truth)


def _check(path: Path, root: Path) -> list[Finding]:
    from kit_histopathology.submission import check

    return check(path, root)
