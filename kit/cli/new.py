"""`kit new`: write a plugin package that works, to start from."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import Json

ALSO = {"optimizer": "optimiser"}


def command(
    context: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="competition, dataset, model, loss, metric, submission, tracker, head, optimiser, augmentation "
            "or command.",
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: small letters, digits, - and _.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The package's folder; by default kit-NAME.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a plugin package that works at once, to change.

    It is installed with pip install -e DIR. A folder of images and tables becomes a competition with kit adapt.

    \b
    Example:
        kit new metric brier
        pip install -e kit-brier
        kit test-plugin brier
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.errors import KitError, nearest
    from kit.scaffold.new import KINDS, new_files
    from kit.scaffold.package import free_folder, package_names, write_package

    kind = ALSO.get(kind, kind)
    if kind not in KINDS:
        raise KitError(f"{kind!a} is no kind of plugin: {nearest(kind, list(KINDS))}")
    names, registry = package_names(name), current_registry()
    taken = [record for record in registry.plugins.records if record.distribution == names.distribution]
    if taken:
        raise KitError(f"the package {names.distribution} is installed already: give another name, or uninstall it")
    if kind == "command":
        owner = "kit" if name in getattr(context.find_root().command, "commands", {}) else ""
    else:
        owner = getattr(registry, KINDS[kind]).owner(name)
    if owner:
        raise KitError(f"a {kind} {name!r} is there already, provided by {owner}: give another name")
    place = write_package(free_folder(folder or Path(names.distribution)), new_files(kind, names))
    console = Console(json)
    console.say(f"{place}: a package with the {kind} {name}")
    console.say(f"next: pip install -e {place}, then kit test-plugin {name}")
    console.result({"folder": place, "kind": kind, "name": name, "module": names.module})
