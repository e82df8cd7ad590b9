"""`kit explore`: draw pictures of the data."""

from kit.cli.options import CompetitionName, Json


def command(competition: CompetitionName, json: Json = False) -> None:
    """Draw pictures of the training data.

    They go to $KIT_DATA/<slug>/explore/, or to $KIT_CACHE where kit does not write into the data's folder.

    \b
    Example:
        kit explore histo
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.data.store import Store
    from kit.reports.explore import write_pictures

    console = Console(json)
    store = Store.of(current_registry(), competition)
    folder = store.writable(store.pictures)
    written = write_pictures(store.dataset, store.index(), folder, console)
    for path, caption in written:
        console.say(f"{path}  {caption}")
    console.result(
        {
            "competition": store.competition.name,
            "folder": str(folder),
            "pictures": [{"path": str(path), "caption": caption} for path, caption in written],
        }
    )
