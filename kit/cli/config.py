"""`kit config`."""

from typing import Annotated

import typer

from kit.cli.options import ConfigFile, Json, Settings


def command(
    target: Annotated[str, typer.Argument(metavar="COMPETITION|RUN", help="What to show the configuration of.")],
    config: ConfigFile = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Show each value of the resolved configuration, where it came from and what it means.

    \b
    Example:
        kit config histo
        kit config histo --set rotate=45
    """
    from kit.config import describe, resolve
    from kit.console import Console
    from kit.data.store import Store
    from kit.errors import KitError
    from kit.plugin.registry import Registry
    from kit.run import find_run

    console, registry = Console(json), Registry()
    try:
        store = Store.of(registry, target)
    except KitError as unknown:
        try:
            run = find_run(target)
        except KitError:
            raise unknown from None
        if config or settings:
            raise KitError("a run's configuration is fixed: leave --config and --set out") from None
        resolved, sources = run.config, run.record["sources"]
    else:
        resolved, sources = resolve(store.competition, store.is_sample, config, None, settings)
    descriptions, values = describe(), resolved.model_dump(mode="json")
    console.table(
        "",
        ["key", "value", "from", "meaning"],
        [[key, "none" if value is None else str(value), sources[key], descriptions[key]]
         for key, value in values.items()],
    )  # fmt: skip
    console.result({key: {"value": value, "source": sources[key]} for key, value in values.items()})
