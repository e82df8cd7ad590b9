"""`kit list`: list the competitions and the state of their data; or the names that a key of the configuration takes."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import Json

if TYPE_CHECKING:
    from kit.console import Console
    from kit.hooks.registry import Registry, Specs


class Kind(StrEnum):
    """What can be listed; networks have a command of their own, `kit models`."""

    competitions = "competitions"
    datasets = "datasets"
    heads = "heads"
    losses = "losses"
    metrics = "metrics"
    optimizers = "optimizers"
    steps = "steps"
    submissions = "submissions"
    trackers = "trackers"


def command(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"One of {', '.join(Kind)}.")] = Kind.competitions,
    json: Json = False,
) -> None:
    """List the competitions, or the names of another KIND.

    Competitions with whether their data is on disk; what else plugins add with what it is and who provides it.

    \b
    Example:
        kit list
        kit list heads
        kit list steps --json
    """
    from kit.cli.context import current_registry
    from kit.console import Console

    console, registry = Console(json), current_registry()
    document: dict[str, Any] = {str(kind): _competitions(registry, console) if kind == "competitions" else None}
    if kind != "competitions":
        document[kind] = _named(registry, kind, console)
    plugins, clashes = registry.problems()
    broken = [plugin for plugin in plugins if plugin.error]
    for plugin in broken:
        console.warn(f"broken, with all that it has: {plugin.title}: {plugin.error}")
    if clashes:
        console.warn("some names are given by two plugins: kit plugins says which")
    console.result({**document, "broken": {plugin.title: plugin.error for plugin in broken}})


def _competitions(registry: "Registry", console: "Console") -> list[dict[str, Any]]:
    from kit.data.store import data_state
    from kit.paths import data_dir

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
    return rows


def _named(registry: "Registry", kind: Kind, console: "Console") -> list[dict[str, Any]]:
    from kit.config import describe
    from kit.hooks.learning import FUSED_STEPS

    specs: Specs[Any] = registry.augmentations if kind == "steps" else getattr(registry, kind)
    rows = [_row(specs, spec) for spec in specs]
    if kind == "steps":
        own = [{"name": name, "set": f"{name}=...", "description": describe()[name]} for name in FUSED_STEPS]
        rows = [*({**row, "plugin": "kit"} for row in own), *rows]
    said = {"tasks": "tasks", "set": "--set"}
    # What no spec of this kind says has no column.
    columns = ["name", *(key for key in (*said, "description") if any(row.get(key) for row in rows)), "plugin"]
    cells = [[_tasks(row[key]) if key == "tasks" else str(row[key]) for key in columns] for row in rows]
    console.table("", [said.get(key, key) for key in columns], cells)
    return rows


def _tasks(names: list[str]) -> str:
    from kit.hooks.specs import TASK_NAMES

    return "all" if set(names) == set(TASK_NAMES) else ", ".join(names)


def _row(specs: "Specs[Any]", spec: Any) -> dict[str, Any]:
    description = getattr(spec, "description", "") or getattr(spec, "label", "")
    row = {"name": spec.name, "plugin": specs.owner(spec.name), "description": description}
    if hasattr(spec, "tasks"):
        row["tasks"] = list(spec.tasks)
    if hasattr(spec, "low"):
        row |= {"set": f"steps={spec.name}={spec.low:g}..{spec.high:g}", "low": spec.low, "high": spec.high}
    return row
