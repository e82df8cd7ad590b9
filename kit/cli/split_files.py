"""kit split-files: a tree of files in equal numbered directories."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import Json
from kit.errors import INTERRUPTED, KitError

if TYPE_CHECKING:
    from kit.data.split_plan import Mode


def command(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The folder to split, with its subfolders.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="A new folder for the numbered directories.")],
    per_dir: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="About N files a directory, all equally full if possible.")
    ] = None,
    parts: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="K directories, equal but for one file.")
    ] = None,
    suffix: Annotated[str | None, typer.Option(metavar=".tif", help="Take only files with this suffix.")] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files: the default.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Make hard links: no time, no space.")] = False,
    move: Annotated[bool, typer.Option("--move", help="Move the files; kit merge-files moves them back.")] = False,
    zip_: Annotated[bool, typer.Option("--zip", help="Add one zip a directory and SHA256SUMS.")] = False,
    lists: Annotated[
        bool, typer.Option("--lists", help="Add lists of the paths, one a directory and one of all.")
    ] = False,
    prefix_map: Annotated[
        str | None, typer.Option(metavar="OLD=NEW", help="In the lists, begin paths with NEW where it is OLD here.")
    ] = None,
    json: Json = False,
) -> None:
    """Split a folder of files into equally full, numbered directories, remembered in DST/manifest.jsonl.

    A call that was interrupted goes on where it stopped when it is given again.

    \b
    Example:
        kit split-files train parts --per-dir 3000 --suffix .tif --link
        kit split-files train parts --parts 8 --zip --lists --prefix-map $PWD/parts=/content/parts
    """
    from kit.console import Console
    from kit.data.split_files import split
    from kit.data.split_plan import Arguments

    if (per_dir is None) == (parts is None):
        raise KitError("give one of --per-dir N and --parts K: how many files a directory, or how many directories")
    if suffix is not None:
        suffix = f".{suffix.removeprefix('.')}"
    arguments = Arguments(
        str(source.resolve()), _mode(copy, link, move), per_dir, parts, suffix, zip_, lists, prefix_map
    )
    console = Console(json)
    try:
        done = split(arguments, target, console)
    except KeyboardInterrupt:
        raise KitError("interrupted: the same command goes on where it stopped", INTERRUPTED) from None
    plan = done.plan
    counts = [len(part.files) for part in plan.parts]
    full = f"{max(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} or {max(counts):,}"
    verb = {"copy": "copied", "link": "linked", "move": "moved"}[arguments.mode]
    console.say(f"{done.placed:,} files {verb}, {plan.count - done.placed:,} were there already")
    console.say(f"{target}: {plan.count:,} files in {len(counts):,} directories, {full} in each")
    console.say(f"next: kit merge-files {target} restores the tree")
    console.result(
        {
            "source": source,
            "target": target,
            "mode": arguments.mode,
            "files": plan.count,
            "parts": [part.name for part in plan.parts],
            "counts": counts,
            "placed": done.placed,
            "manifest": target / "manifest.jsonl",
            "lists": target / "lists" if lists else None,
            "checksums": target / "SHA256SUMS" if zip_ else None,
        }
    )


def _mode(copy: bool, link: bool, move: bool) -> "Mode":
    if copy + link + move > 1:
        raise KitError("--copy, --link and --move exclude each other: give one of them")
    return "link" if link else "move" if move else "copy"
