"""`kit models`: list the networks, their cost and whether their pretrained weights are on disk; or one's layers."""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import Json, Settings
from kit.errors import KitError

if TYPE_CHECKING:
    from kit.console import Console
    from kit.hooks.learning import ModelRequest, ModelSpec
    from kit.hooks.registry import Registry

OFFLINE = {True: "on disk", False: "to download", None: "none exist"}


def command(
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="Shell pattern of names; 'timm/*lite*' searches timm.")
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Print the layers of one network as it will be built.")
    ] = False,
    competition: Annotated[
        str | None, typer.Option("--competition", metavar="NAME", help="With --layers: as this competition trains it.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option("--channels", min=1, max=1024, help="With --layers: channels of the input.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option("--classes", min=1, max=1_000_000, help="With --layers: number of classes.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=8, max=4096, help="With --layers: side of the input in pixels.")
    ] = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """List the networks, their cost and their pretrained weights.

    Parameters and GFLOPs at 224 pixels are counted with three channels, a linear head and 1,000 outputs. A GFLOP is
    10^9 multiply-adds, as papers count. --layers prints one network, by default with the same input and outputs.

    \b
    Example:
        kit models
        kit models 'resnet*'
        kit models 'timm/*lite*'
        kit models 'timm/resnet50.*' --json
        kit models resnet18 --layers --channels 6 --classes 1108 --size 512
        kit models --layers --competition protein --set head=concat_pool
    """
    from kit.cli.context import current_registry
    from kit.console import Console

    console = Console(json)
    registry = current_registry()
    if layers:
        request, side = _request(registry, pattern, competition, channels, classes, size, settings)
        console.result(_print_layers(registry, console, request, side))
        return
    if any(each is not None for each in (competition, channels, classes, size, settings)):
        raise KitError("--competition, --channels, --classes, --size and --set say what --layers prints: add --layers")
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


def _request(
    registry: "Registry",
    name: str | None,
    competition: str | None,
    channels: int | None,
    classes: int | None,
    size: int | None,
    settings: list[str] | None,
) -> tuple["ModelRequest", int]:
    """Return the network to show, and the side of its images in pixels."""
    from kit.config import validate
    from kit.data.store import Store
    from kit.model.build import request_of
    from kit.model.cost import OUTPUTS
    from kit.model.losses import loss_outputs, loss_terms
    from kit.resolve import parse_settings, resolve
    from kit.task import task_of

    if competition is None:
        if name is None:
            raise KitError("which network? kit models NAME --layers (kit models lists them), or --competition NAME")
        nothing = {"competition": "none", "dataset": "none", "loss": "none", "size": 224}
        config = validate({**nothing, **parse_settings(settings or []), "model": name})
        outputs = classes or (1 if config.two_units else OUTPUTS)
        return request_of(config, registry, channels or 3, outputs, 0, pretrained=False), size or config.size
    store = Store.of(registry, competition)
    config, _ = resolve(store.competition, store.is_miniature, None, {"model": name, "size": size}, settings)
    store = Store.of(registry, competition, config.dataset)
    metadata, names = 0, tuple(map(str, range(classes or 0))) or store.competition.classes
    outputs = len(task_of(store.competition.task).outputs(names))
    if store.origin is not None or config.metadata or not names:
        index = store.index().with_metadata(config.metadata)  # data says more than facts: another dataset's classes
        metadata = len(index.metadata)
        if not classes:
            outputs = loss_outputs(loss_terms(config.loss, registry, index.task.name), index)
    channels = channels or store.dataset.channels
    return request_of(config, registry, channels, outputs, metadata, pretrained=False), config.size


def _print_layers(registry: "Registry", console: "Console", request: "ModelRequest", size: int) -> dict[str, Any]:
    """Print the layers of a network; return them as a document."""
    from kit.model.cost import layers

    found, cost = layers(registry.models.get(request.name), request, size)
    console.table(
        f"{request.name}, head {request.head}: {request.channels} x {size} x {size} -> {request.outputs} outputs",
        ("layer", "type", "output", "parameters"),
        [
            (
                layer.name,
                layer.kind,
                " x ".join(map(str, layer.shape or ())),
                f"{layer.parameters:,}" if layer.parameters else "",
            )
            for layer in found
        ],
    )
    gflops = "" if cost.multiply_adds is None else f", {cost.multiply_adds / 1e9:.2f} GFLOPs an image"
    console.say(f"{cost.parameters:,} parameters{gflops}")
    return {
        "name": request.name,
        "head": str(request.head),
        "channels": request.channels,
        "size": size,
        "metadata": request.metadata,
        "outputs": request.outputs,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "layers": [layer._asdict() for layer in found],
    }
