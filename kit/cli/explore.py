"""`kit explore`: draw pictures of the data."""

from typing import Annotated

import typer

from kit.cli.options import CompetitionName, ConfigFile, Json, Settings
from kit.errors import KitError


def command(
    competition: CompetitionName,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Draw training images before and after augmentation instead.")
    ] = False,
    config: ConfigFile = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Draw pictures of the training data.

    They go to $KIT_DATA/<slug>/explore/, or to $KIT_CACHE where kit does not write into the data's folder. --augmented
    draws one, augmented.png: what training makes of some images, with the numbers drawn for each; --set and --config
    change the steps.

    \b
    Example:
        kit explore histo
        kit explore histo --augmented --set rotate=90 --set brightness_range=0.2..1.2
        kit explore histo --augmented --set steps=stain=0.1,cutout=0.3
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.data.store import Store
    from kit.reports.explore import write_pictures

    console, registry = Console(json), current_registry()
    if not augmented and (config or settings):
        raise KitError("--config and --set say how --augmented augments: give it too, or drop them")
    store = Store.of(registry, competition)
    more = {}
    folder = store.writable(store.pictures)
    if augmented:
        from kit.reports.augmented import write_augmented
        from kit.resolve import resolve

        resolved, _ = resolve(store.competition, store.is_miniature, config, None, settings)
        store = Store.of(registry, competition, resolved.dataset)
        written, drawn = write_augmented(registry, store.dataset, store.index(), resolved, folder, console)
        more = {"drawn": drawn}
    else:
        written = write_pictures(store.dataset, store.index(), folder, console)
    for path, caption in written:
        console.say(f"{path}  {caption}")
    console.result(
        {
            "competition": store.competition.name,
            "folder": str(folder),
            "pictures": [{"path": str(path), "caption": caption} for path, caption in written],
            **more,
        }
    )
