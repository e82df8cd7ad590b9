"""The commands `kit split-files` and `kit merge-files`: a tree of files in equally full splits, and back."""

from typing import TYPE_CHECKING

from kit.plugin import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def kit_commands(app: "typer.Typer") -> None:
    """Add `kit split-files` and `kit merge-files`."""
    from kit_split_files.commands import merge_command, split_command

    app.command("split-files")(split_command)
    app.command("merge-files")(merge_command)
