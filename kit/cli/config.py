"""`kit config`: show the resolved configuration."""

from typing import Annotated

import typer

from kit.cli.options import ConfigFile, Json, Settings


def command(
    target: Annotated[str | None, typer.Argument(metavar="COMPETITION|RUN", help="By default the newest run.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Show each configuration value, its source and its meaning.

    \b
    Example:
        kit config histo --set rotate=45
        kit config histopathology-20260101-120000
    """
    from kit.cli.context import current_registry
    from kit.config import SECTIONS, describe
    from kit.console import Console
    from kit.data.store import Store
    from kit.errors import KitError
    from kit.resolve import resolve
    from kit.runs import find_run

    console, registry = Console(json), current_registry()
    try:
        store = None if target is None else Store.of(registry, target)
    except KitError as unknown:
        store = None
        try:
            find_run(target)
        except KitError:
            raise unknown from None
    if store is not None:
        resolved, sources = resolve(store.competition, store.is_miniature, config, None, settings)
    elif config or settings:
        raise KitError("a run's configuration is fixed: name a competition, or drop --config and --set")
    else:
        run = find_run(target)
        resolved, sources = run.config, run.record["sources"]
    descriptions, values = describe(), resolved.model_dump(mode="json")
    for section, fields in SECTIONS.items():
        rows = [
            [key, "none" if values[key] is None else str(values[key]), sources[key], descriptions[key]]
            for key in fields.model_fields
        ]
        console.table(section, ["key", "value", "from", "meaning"], rows)
    console.result({key: {"value": value, "source": sources[key]} for key, value in values.items()})
