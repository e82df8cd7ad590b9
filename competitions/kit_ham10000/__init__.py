"""HAM10000, ISIC 2018 task 3: which of seven kinds of skin lesion? Several images of one lesion, rare classes."""

from pathlib import Path

from kit.plugin import Competition, DatasetSpec, SubmissionSpec, hookimpl, lazy


@hookimpl
def kit_competitions() -> list[Competition]:
    """Add `ham10000`."""
    return [Competition.from_toml(Path(__file__).parent / "competition.toml")]


@hookimpl
def kit_datasets() -> list[DatasetSpec]:
    """Add `ham10000`: one RGB image per id, of any size."""
    return [
        DatasetSpec(
            "ham10000",
            channels=3,
            index=lazy("kit_ham10000.dataset:index"),
            read=lazy("kit_ham10000.dataset:read"),
            figures=lazy("kit_ham10000.figures:figures"),
            miniature=lazy("kit_ham10000.miniature:write_miniature"),
            external=lazy("kit_ham10000.dataset:external"),
            any_size=True,
        )
    ]


@hookimpl
def kit_submissions() -> list[SubmissionSpec]:
    """Add `ham10000`: the csv of ISIC 2018 task 3, and its official score."""
    return [
        SubmissionSpec(
            "ham10000",
            write=lazy("kit_ham10000.submission:write"),
            check=lazy("kit_ham10000.submission:check"),
            grade=lazy("kit_ham10000.submission:grade"),
        )
    ]
