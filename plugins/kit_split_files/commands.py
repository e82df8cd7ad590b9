"""kit split-files and kit merge-files. Imported at every start of `kit`, so the work is imported inside the bodies."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.errors import INTERRUPTED, KitError
from kit.plugin.commands import Console, Json

if TYPE_CHECKING:
    from kit_split_files.plan import Mode


def split_command(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The folder to split, with its subfolders.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="A new folder for the numbered directories.")],
    per_dir: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="About N files per directory, all equally full if possible."),
    ] = None,
    splits: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="K directories whose sizes differ by at most one file.")
    ] = None,
    suffix: Annotated[str | None, typer.Option(metavar=".tif", help="Take only files with this suffix.")] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files: the default.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Make hard links: no time, no space.")] = False,
    move: Annotated[bool, typer.Option("--move", help="Move the files; kit merge-files moves them back.")] = False,
    zip_: Annotated[bool, typer.Option("--zip", help="Add one zip per directory, and SHA256SUMS.")] = False,
    lists: Annotated[
        bool, typer.Option("--lists", help="Add lists of the paths, one per directory and one of all.")
    ] = False,
    list_only: Annotated[
        bool, typer.Option("--list-only", help="Only list the files where they lie, in DST/lists; divide nothing.")
    ] = False,
    prefix_map: Annotated[
        str | None, typer.Option(metavar="OLD=NEW", help="In the lists, begin paths with NEW instead of OLD.")
    ] = None,
    json: Json = False,
) -> None:
    """Split a folder of files into equally full directories.

    The directories are numbered, and DST/manifest.jsonl records them. After an interruption, the same command resumes
    where it stopped.

    \b
    Example:
        kit split-files train splits --per-dir 3000 --suffix .tif --link
        kit split-files train splits --splits 8 --zip --lists --prefix-map $PWD/splits=/content/splits
        kit split-files train paths --list-only --suffix .tif
    """
    from kit_split_files.plan import Arguments
    from kit_split_files.split import split_files

    if list_only:
        if copy or link or move or zip_:
            raise KitError("--list-only leaves the files where they lie: drop --copy, --link, --move and --zip")
        _list(source, target, per_dir, splits, suffix, prefix_map, Console(json))
        return
    if (per_dir is None) == (splits is None):
        raise KitError("give one of --per-dir N and --splits K: files per directory, or number of directories")
    arguments = Arguments(
        str(source.resolve()), _mode(copy, link, move), per_dir, splits, _dotted(suffix), zip_, lists, prefix_map
    )
    console = Console(json)
    try:
        done = split_files(arguments, target, console)
    except KeyboardInterrupt:
        raise KitError("interrupted: the same command resumes where it stopped", INTERRUPTED) from None
    plan = done.plan
    counts = [len(split.files) for split in plan.splits]
    full = f"{max(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} or {max(counts):,}"
    verb = {"copy": "copied", "link": "linked", "move": "moved"}[arguments.mode]
    console.say(f"{done.placed:,} files {verb}, {plan.count - done.placed:,} were there already")
    console.say(f"{target}: {plan.count:,} files in {len(counts):,} directories, {full} in each")
    console.say(f"next: {arguments.merge_command(target)} restores the tree")
    console.result(
        {
            "source": source,
            "target": target,
            "mode": arguments.mode,
            "files": plan.count,
            "splits": [split.name for split in plan.splits],
            "counts": counts,
            "placed": done.placed,
            "manifest": target / "manifest.jsonl",
            "lists": target / "lists" if lists else None,
            "checksums": target / "SHA256SUMS" if zip_ else None,
        }
    )


def _list(
    source: Path,
    target: Path,
    per_dir: int | None,
    splits: int | None,
    suffix: str | None,
    prefix_map: str | None,
    console: Console,
) -> None:
    from kit_split_files.plan import Arguments
    from kit_split_files.split import list_files

    if per_dir is not None and splits is not None:
        raise KitError("give one of --per-dir N and --splits K: files per list, or number of lists")
    arguments = Arguments(str(source.resolve()), "copy", per_dir, splits, _dotted(suffix), False, True, prefix_map)
    plan = list_files(arguments, target)
    counts = [len(split.files) for split in plan.splits]
    lists = target / "lists"
    console.say(f"{lists / 'all.txt'}: {plan.count:,} files" + (f", also in {len(counts):,} lists" * (len(counts) > 1)))
    names = [split.name for split in plan.splits] if len(counts) > 1 else []
    console.result({"source": source, "files": plan.count, "splits": names, "counts": counts, "lists": lists})


def _dotted(suffix: str | None) -> str | None:
    return None if suffix is None else f".{suffix.removeprefix('.')}"


def _mode(copy: bool, link: bool, move: bool) -> "Mode":
    if copy + link + move > 1:
        raise KitError("--copy, --link and --move exclude each other: give one of them")
    return "link" if link else "move" if move else "copy"


def merge_command(
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder made by kit split-files.")],
    root: Annotated[
        Path | None,
        typer.Argument(metavar="TARGET", help="Where to restore the tree: a new folder, or where it came from."),
    ] = None,
    json: Json = False,
) -> None:
    """Restore the tree divided by kit split-files, byte for byte.

    Files split by --move are moved back, and DST is removed. Otherwise files are copied, and DST stays; files already
    in place must be the same.

    \b
    Example:
        kit merge-files splits restored
        kit merge-files splits train
    """
    from kit_split_files.merge import merge_files

    console = Console(json)
    try:
        done = merge_files(target, root, console)
    except KeyboardInterrupt:
        raise KitError("interrupted: the same command resumes where it stopped", INTERRUPTED) from None
    mode, count = done.plan.arguments.mode, done.plan.count
    verb = "moved back" if mode == "move" else "copied"
    console.say(f"{done.restored:,} files {verb}, {count - done.restored:,} were there already, with the same bytes")
    console.say(f"{done.root}: {count:,} files" + (f"; {target} is undone" if mode == "move" else ""))
    console.result({"source": target, "target": done.root, "mode": mode, "files": count, "restored": done.restored})
