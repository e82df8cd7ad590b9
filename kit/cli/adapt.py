"""`kit adapt`: read a folder that no plugin knows, and write a plugin for it."""

import re
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import Json
from kit.errors import BAD_INPUT, KitError

if TYPE_CHECKING:
    from kit.adapt.proposal import Proposal
    from kit.console import Console
    from kit.hooks.registry import Registry

WIDTH = 78
SHOWN = 60  # signs of a value
UNITS = {"train": "images", "test": "images"}


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The competition's data, or its archive.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the competition; by default the folder's.")
    ] = None,
    dest: Annotated[
        Path | None, typer.Option("--dest", metavar="DIR", help="Folder of the package; by default ./kit-NAME.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Answer beforehand; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a plugin for a folder that no plugin knows.

    The folder is only read. Each value is shown with its reason and what else it could be; --set gives another one:
    table, task, id, target, classes, group, train, test, metric, submission or metadata.

    \b
    Example:
        kit adapt aerial-cactus-identification
        kit adapt data/leaves --name leaves --dest plugins/kit-leaves
        kit adapt data/leaves --set target=species --set group=none
        pip install -e kit-leaves
        kit download leaves --from data/leaves
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.scaffold.package import free_folder, package_names, write_package

    console, registry = Console(json), current_registry()
    given = _answers(settings or [])
    name = _free_name(name, folder, registry)
    names = package_names(name)
    place = free_folder(dest or Path(names.distribution))
    found = _proposed(folder, name, given, console)
    if found.missing:
        console.result({**found.document(), "package": None, "error": found.missing[0], "code": BAD_INPUT})
        if json:
            from kit.console import print_error

            print_error(found.missing[0])
            raise typer.Exit(BAD_INPUT)
        raise KitError(found.missing[0])
    from kit.adapt.package import package_files

    _check_metric(found, registry)
    write_package(place, package_files(found))
    _tell(found, console)
    console.say(f"\nwritten: {place}")
    for line in (f"pip install -e {quote(str(place))}", f"kit download {name} --from {quote(str(folder))}"):
        console.say(f"next: {line}")
    console.say(f"next: kit check {name}")
    console.result({**found.document(), "package": place})


def _free_name(given: str | None, folder: Path, registry: "Registry") -> str:
    """Return the name of the competition; raise `KitError` for one that another plugin's has."""
    name = given or _name_of(folder)
    kinds = (registry.competitions, registry.datasets, registry.submissions)
    owner = next(filter(None, (specs.owner(name) for specs in kinds)), "")
    # What an earlier call wrote may be installed.
    earlier = owner.replace("_", "-").endswith((f"kit-{name.replace('_', '-')})", f" ({name.replace('_', '-')})"))
    if not owner or (earlier and "competition-kit" not in owner):
        return name
    if given is None:
        return _free_name(f"my-{name}"[:60], folder, registry)
    raise KitError(f"{owner} has a competition of the name {name} already: give another --name, such as my-{name}")


def _check_metric(found: "Proposal", registry: "Registry") -> None:
    """Raise `KitError` for a metric that nobody provides, or that is not for this task."""
    metric = registry.metrics.get(found.metric)
    if found.task not in metric.tasks:
        known = ", ".join(each.name for each in registry.metrics if found.task in each.tasks)
        raise KitError(f"{found.metric} is no metric of a {found.task} task: give --set metric=NAME, one of {known}")


def _proposed(folder: Path, name: str, given: dict[str, str], console: "Console") -> "Proposal":
    """Return the proposal; on a terminal a person answers what nothing tells."""
    from kit.adapt.folder import Folder
    from kit.adapt.propose import propose

    with Folder(folder, console) as found:
        while True:
            try:
                with console.waiting("reading tables and names"):
                    return propose(found, name, given)
            except KitError as error:
                key = _asked(str(error), given)
                if key is None or console.json or not _is_terminal():
                    raise
                console.say(str(error))
                given[key] = typer.prompt(key)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _asked(message: str, given: dict[str, str]) -> str | None:
    """Return the key for which an error asks, unless it has been given already."""
    wanted = re.findall(r"--set (\w+)=", message)
    return wanted[0] if wanted and wanted[0] not in given else None


def _answers(settings: list[str]) -> dict[str, str]:
    given = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key or not value:
            raise KitError(f"--set {setting} is not KEY=VALUE: give, for instance, --set target=COLUMN")
        given[key.strip()] = value.strip()
    return given


def _name_of(folder: Path) -> str:
    """Return the name of a folder or archive, as one that a competition can have."""
    stem = re.sub(r"\.(zip|7z|tar|tgz|tar\.\w+)$", "", folder.resolve().name, flags=re.IGNORECASE)
    made = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    made = re.sub(r"^[^a-z]+", "", made)[:60].strip("-")
    if not made:
        raise KitError(f"{folder} has no name that a competition can have: give --name NAME")
    return made


def _tell(found: "Proposal", console: "Console") -> None:
    document = found.document()
    for key in (
        "task",
        "table",
        "id",
        "target",
        "classes",
        "group",
        "metadata",
        "train",
        "test",
        "metric",
        "submission",
    ):
        if key == "table" and not document["table"]:
            continue
        console.say(f"{key:>10}  {_short(_shown(key, document[key]))}")
        for line in _wrapped(found.reasons.get(key, "")):
            console.say(f"{'':>10}    {line}")
        other = document["could_be"].get(key)
        if other:
            for line in _wrapped(f"or: {', '.join(other[:6])} (--set {key}=...)"):
                console.say(f"{'':>10}    {line}")
    for note in found.notes:
        console.warn(note)


def _shown(key: str, value: Any) -> str:
    if key == "submission":
        return "none" if value is None else f"{value['file'] or 'no sample'}: {value['id']} and {value['holds']}"
    if isinstance(value, list):
        named = ", ".join(map(str, value[:8]))
        return f"{len(value):,}: {named}{' ...' if len(value) > 8 else ''}" if value else "none"
    if isinstance(value, int):
        return f"{value:,} {UNITS.get(key, '')}"
    return "none" if value is None else str(value)


def _short(value: str) -> str:
    value = " ".join(value.split())  # a name may have a line of its own
    return value if len(value) <= SHOWN else f"{value[: SHOWN - 4]} ..."


def _wrapped(words: str) -> list[str]:
    from textwrap import wrap

    return wrap(words, WIDTH - 14)
