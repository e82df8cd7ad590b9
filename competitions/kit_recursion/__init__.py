"""Recursion: which of 1,108 siRNAs was given to the cells of a well? Six channels, plates, batch effects."""

from functools import partial
from pathlib import Path
from typing import Any

from kit.plugin import Competition, DatasetSpec, SubmissionSpec, hookimpl, lazy

index, external = lazy("kit_recursion.dataset:index"), lazy("kit_recursion.dataset:external")


@hookimpl
def kit_competitions() -> list[Competition]:
    """Add `recursion`."""
    return [Competition.from_toml(Path(__file__).parent / "competition.toml")]


@hookimpl
def kit_datasets() -> list[DatasetSpec]:
    """Add `recursion`: six channels; `recursion_controls`: trains on controls too; `recursion_rgb`: composites."""
    six_channels: dict[str, Any] = {
        "channels": 6,
        "read": lazy("kit_recursion.dataset:read"),
        "composite": lazy("kit_recursion.dataset:composite"),
        "figures": lazy("kit_recursion.figures:figures"),
        "statistics": lazy("kit_recursion.dataset:statistics"),
        "external": external,
    }
    return [
        DatasetSpec(
            "recursion", index=index, miniature=lazy("kit_recursion.miniature:write_miniature"), **six_channels
        ),
        DatasetSpec("recursion_controls", index=partial(index, with_controls=True), **six_channels),
        DatasetSpec(
            "recursion_rgb",
            channels=3,
            index=index,
            read=lazy("kit_recursion.dataset:read_rgb"),
            external=external,
        ),
    ]


@hookimpl
def kit_submissions() -> list[SubmissionSpec]:
    """Add `recursion`: id_code and siRNA as spelt in `train.csv`, with the plate structure as post-processing."""
    return [
        SubmissionSpec(
            "recursion",
            write=lazy("kit_recursion.submission:write"),
            check=lazy("kit_recursion.submission:check"),
            grade=lazy("kit_recursion.submission:grade"),
            postprocess=lazy("kit_recursion.submission:plates"),
        )
    ]
