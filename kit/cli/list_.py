"""`kit list`: list the competitions and the state of their data."""

from typing import Any

from kit.cli.options import Json


def command(json: Json = False) -> None:
    """List the competitions and whether their data is on disk.

    \b
    Example:
        kit list
        kit list --json
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.data.store import data_state
    from kit.paths import data_dir

    console = Console(json)
    registry = current_registry()
    rows: list[dict[str, Any]] = [
        {
            "name": competition.name,
            "aliases": competition.aliases,
            "title": competition.title,
            "task": competition.task,
            "metric": competition.metric,
            "data": data_state(data_dir(competition.slug)),
            "folder": data_dir(competition.slug),
        }
        for competition in registry.competitions
    ]
    console.table(
        "",
        ("name", "aliases", "task", "metric", "data"),
        [(row["name"], ", ".join(row["aliases"]), row["task"], row["metric"], row["data"]) for row in rows],
    )
    plugins, clashes = registry.problems()
    broken = [plugin for plugin in plugins if plugin.error]
    for plugin in broken:
        console.warn(f"broken, with all that it has: {plugin.title}: {plugin.error}")
    if clashes:
        console.warn("some names are given by two plugins: kit plugins says which")
    console.result({"competitions": rows, "broken": {plugin.title: plugin.error for plugin in broken}})
