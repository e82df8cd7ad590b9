"""kit download: the data of a competition, from an archive or as a synthetic miniature."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import CompetitionName, Json
from kit.errors import KitError

if TYPE_CHECKING:
    from kit.data.store import Store

INTERRUPTED = 130


def command(
    competition: CompetitionName,
    archive: Annotated[
        Path | None, typer.Option("--from", metavar="ARCHIVE.zip", help="Unpack the archive fetched by browser.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Write a small synthetic miniature instead.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the miniature; by default 0.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace other data that is there.")] = False,
    json: Json = False,
) -> None:
    """Bring the data of a competition to $KIT_DATA/<slug>/ (by default ./data/<slug>/).

    A call that was interrupted goes on where it stopped when it is given again.

    \b
    Example:
        kit download histo --from histopathologic-cancer-detection.zip
        kit download histo --sample
    """
    from kit.console import Console
    from kit.data.arrival import from_archive, from_sample
    from kit.data.store import Store
    from kit.plugin.registry import Registry

    store = Store.of(Registry(), competition)
    console = Console(json)
    if archive is None and not sample:
        raise _no_source(store)
    if archive is not None and (sample or seed is not None):
        raise KitError("--from and --sample (with its --seed) exclude each other: give one of them")
    try:
        arrival = from_archive(store, archive, force, console) if archive else from_sample(store, seed, force)
    except KeyboardInterrupt:
        raise KitError("interrupted: the same command goes on where it stopped", INTERRUPTED) from None
    name = store.competition.name
    document = {"competition": name, "folder": store.root, "origin": store.origin, "changed": arrival is not None}
    if arrival is None:
        console.say(f"{store.root} holds this {store.origin} ({store.note['source']}) already: nothing to do")
        console.result({**document, "source": store.note["source"]})
        return
    for text, count in (
        ("files of earlier data removed", arrival.removed),
        ("files were there already", arrival.kept),
        ("files written", arrival.written),
    ):
        if count:
            console.say(f"{count:,} {text}")
    console.say(f"{store.root}: {arrival.train:,} training and {arrival.test:,} test ids of {name}")
    console.say(f"next: kit check {name}")
    console.result({**document, **vars(arrival)})


def _no_source(store: "Store") -> KitError:
    """What to say as long as kit doesn't fetch from Kaggle itself."""
    facts = store.competition
    miniature = f", or kit download {facts.name} --sample for a synthetic miniature" if store.dataset.sample else ""
    page = f" at {facts.url.rstrip('/')}/data" if facts.url else ""
    return KitError(
        f"kit does not fetch from Kaggle itself yet: accept the rules and download the archive in the browser{page}, "
        f"then kit download {facts.name} --from ARCHIVE.zip{miniature}"
    )
