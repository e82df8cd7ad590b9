"""Histopathologic Cancer Detection: does the centre of a lymph node patch contain tumour?"""

from pathlib import Path

from kit.plugin import Competition, DatasetSpec, SubmissionSpec, hookimpl, lazy


@hookimpl
def kit_competitions() -> list[Competition]:
    """Add `histopathology`."""
    return [Competition.from_toml(Path(__file__).parent / "competition.toml")]


@hookimpl
def kit_datasets() -> list[DatasetSpec]:
    """Add `histopathology`: one RGB .tif per id."""
    return [
        DatasetSpec(
            "histopathology",
            channels=3,
            index=lazy("kit_histopathology.dataset:index"),
            read=lazy("kit_histopathology.dataset:read"),
            groups=lazy("kit_histopathology.dataset:groups"),
            figures=lazy("kit_histopathology.figures:figures"),
            miniature=lazy("kit_histopathology.miniature:write_miniature"),
            external=lazy("kit_histopathology.dataset:external"),
        )
    ]


@hookimpl
def kit_submissions() -> list[SubmissionSpec]:
    """Add `histopathology`: id and the probability of tumour."""
    return [
        SubmissionSpec(
            "histopathology",
            write=lazy("kit_histopathology.submission:write"),
            check=lazy("kit_histopathology.submission:check"),
            grade=lazy("kit_histopathology.submission:grade"),
        )
    ]
