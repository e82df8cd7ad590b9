"""`kit pack`: decode every image once."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kit.cli.options import CompetitionName, Json
from kit.errors import KitError

if TYPE_CHECKING:
    from kit.pixels.pack import Split


def command(
    competition: CompetitionName,
    size: Annotated[
        int | None, typer.Option("--size", min=8, max=4096, help="Side in pixels; by default the configuration's.")
    ] = None,
    split: Annotated[Literal["train", "test", "both"], typer.Option("--split", help="Images to pack.")] = "both",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="Processes; by default one per core.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the packs' checksums; on damage, repair and exit 2.")
    ] = False,
    json: Json = False,
) -> None:
    """Decode every image once into one file of pixels.

    Training and prediction read from that file. kit train packs too, before its first epoch. After an interruption,
    the same command resumes where it stopped.

    \b
    Example:
        kit pack histo
        kit pack histo --size 64 --split train
        kit pack histo --verify
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.console import size as in_bytes
    from kit.data.store import Store
    from kit.pixels.pack import mend_packed, packed, stored_side
    from kit.resolve import resolve

    console = Console(json)
    store = Store.of(current_registry(), competition)
    index = store.index()
    config = resolve(store.competition, store.is_miniature)[0]
    side = size or stored_side(config.size, config.crop)
    wanted: list[Split] = ["train", "test"] if split == "both" else [split]
    if split == "both" and not len(index.test):
        wanted.remove("test")
    damaged, packs = [], []
    for name in wanted:
        if verify:
            damaged += [
                f"{name} {rows.start}..{rows.stop - 1}"
                for rows in mend_packed(store, index, name, side, console, workers)
            ]
        pack = packed(store, index, name, side, console, workers)
        made = pack.images_per_second is not None
        speed = f"packed, {pack.images_per_second:,.0f} images/s" if made else "already packed"
        console.say(f"{name}: {speed}: {pack.path} ({in_bytes(pack.layout.bytes)})")
        packs.append(
            {
                "split": name,
                "path": pack.path,
                "count": pack.count,
                "size": pack.size,
                "channels": pack.layout.channels,
                "bytes": pack.layout.bytes,
                "digest": pack.digest,
                "made": made,
                "images_per_second": pack.images_per_second,
            }
        )
    if damaged:
        raise KitError(
            f"chunks damaged on disk and rebuilt now: {len(damaged)} (rows {', '.join(damaged[:5])}"
            f"{', ...' if len(damaged) > 5 else ''}): train again what was trained on them"
        )
    console.result({"competition": store.competition.name, "packs": packs})
