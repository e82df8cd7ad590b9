"""kit merge-files: the tree that kit split-files divided."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import Json
from kit.errors import INTERRUPTED, KitError


def command(
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder that kit split-files made.")],
    root: Annotated[
        Path | None, typer.Argument(metavar="[TARGET]", help="Where to; by default where the files came from.")
    ] = None,
    json: Json = False,
) -> None:
    """Restore the tree that kit split-files divided, to the byte.

    A split by --move is undone: the files are moved back and DST is removed. Otherwise they are copied and DST stays;
    files that are there already must be the same.

    \b
    Example:
        kit merge-files parts
        kit merge-files parts restored
    """
    from kit.console import Console
    from kit.data.merge_files import merge

    console = Console(json)
    try:
        done = merge(target, root, console)
    except KeyboardInterrupt:
        raise KitError("interrupted: the same command goes on where it stopped", INTERRUPTED) from None
    mode, count = done.plan.arguments.mode, done.plan.count
    verb = "moved back" if mode == "move" else "copied"
    console.say(f"{done.restored:,} files {verb}, {count - done.restored:,} were there already, with the same bytes")
    console.say(f"{done.root}: {count:,} files" + (f"; {target} is undone" if mode == "move" else ""))
    console.result({"source": target, "target": done.root, "mode": mode, "files": count, "restored": done.restored})
