"""Human Protein Atlas: in which of 28 structures of the cell is the green protein? One to five labels per image."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.plugin import Competition, DatasetSpec, SubmissionSpec, hookimpl, lazy

if TYPE_CHECKING:
    from kit.plugin.data import Index

index = lazy("kit_protein.dataset:index")


@hookimpl
def kit_competitions() -> list[Competition]:
    """Add `protein`."""
    return [Competition.from_toml(Path(__file__).parent / "competition.toml")]


@hookimpl
def kit_datasets() -> list[DatasetSpec]:
    """Add `protein`: four grey files per id as RGBY; `protein_full_size`: the same from the folders of large TIFFs."""
    full_size = partial(index, train="train_full_size", test="test_full_size")
    return [
        _dataset("protein", index, miniature=lazy("kit_protein.miniature:write_miniature")),
        _dataset("protein_full_size", full_size),
    ]


def _dataset(name: str, index: Callable[[Path], "Index"], **options: Any) -> DatasetSpec:
    return DatasetSpec(
        name,
        channels=4,
        index=index,
        read=lazy("kit_protein.dataset:read"),
        composite=lazy("kit_protein.dataset:composite"),
        figures=lazy("kit_protein.figures:figures"),
        likeness=lazy("kit_protein.dataset:likeness"),
        external=lazy("kit_protein.dataset:external"),
        **options,
    )


@hookimpl
def kit_submissions() -> list[SubmissionSpec]:
    """Add `protein`: Id and the numbers of the predicted classes."""
    return [
        SubmissionSpec(
            "protein",
            write=lazy("kit_protein.submission:write"),
            check=lazy("kit_protein.submission:check"),
            grade=lazy("kit_protein.submission:grade"),
        )
    ]
