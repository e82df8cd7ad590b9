"""`kit models`: list the networks, their cost, and whether their pretrained weights are on disk."""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import Json
from kit.errors import KitError

if TYPE_CHECKING:
    from kit.hooks.registry import Registry
    from kit.hooks.specs import ModelSpec

OFFLINE = {True: "on disk", False: "to download", None: "none exist"}


def command(
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="Shell pattern of names; 'timm/*lite*' searches timm.")
    ] = None,
    json: Json = False,
) -> None:
    """List the networks, their cost and their pretrained weights.

    Parameters and GFLOPs at 224 pixels are counted with three channels, a linear head and 1,000 outputs. A GFLOP is
    10^9 multiply-adds, as papers count.

    \b
    Example:
        kit models
        kit models 'resnet*'
        kit models 'timm/*lite*'
        kit models 'timm/resnet50.*' --json
    """
    from kit.cli.context import current_registry
    from kit.console import Console

    console = Console(json)
    registry = current_registry()
    names = _names(registry, pattern)
    documents = []
    with console.progress("counting", len(names), "networks") as progress:
        for name in names:
            documents.append(_describe(registry.models.get(name), name))
            progress.advance(note=name)
    console.table(
        "",
        ("name", "million\nparameters", "GFLOPs\nat 224", "pretrained\nweights", "description"),
        [_row(document) for document in documents],
    )
    wanted = registry.models if pattern is None else ()
    sizes = {spec.name: len(spec.names(spec.name)) for spec in wanted if spec.names is not None}
    for name, count in sizes.items():
        console.say(f"{name}: {count:,} more; kit models '{name[:-1]}*NAME*' lists those with matching names")
    console.result({"models": documents, "families": sizes})


def _names(registry: "Registry", pattern: str | None) -> list[str]:
    """Return the full names of the networks that match; search a family only if the pattern has its prefix."""
    plain = [spec.name for spec in registry.models if not spec.name.endswith("/*")]
    if pattern is None:
        return plain
    if not any(mark in pattern for mark in "*?["):
        registry.models.get(pattern)
        return [pattern]
    names = [name for name in plain if fnmatchcase(name, pattern)]
    for spec in registry.models:
        if spec.names is not None and pattern.startswith(spec.name[:-1]):
            names += spec.names(pattern)
    if not names:
        raise KitError(f"no network is called like {pattern!r}: kit models lists them")
    return names


def _describe(spec: "ModelSpec", name: str) -> dict[str, Any]:
    from kit.model.cost import cost

    parameters, multiply_adds = cost(spec, name)
    return {
        "name": name,
        "parameters": parameters,
        "gflops_224": None if multiply_adds is None else round(multiply_adds / 1e9, 4),
        "offline": None if spec.offline is None else spec.offline(name),
        "description": spec.description,
    }


def _row(document: dict[str, Any]) -> tuple[str, str, str, str, str]:
    gflops = document["gflops_224"]
    return (
        document["name"],
        f"{document['parameters'] / 1e6:10.2f}",
        "other sizes only" if gflops is None else f"{gflops:6.2f}",
        OFFLINE[document["offline"]],
        document["description"],
    )
