"""`kit verify`: compare data, packs and runs with the digests on record."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import Json
from kit.errors import KitError

if TYPE_CHECKING:
    from kit.console import Console
    from kit.data.store import Store
    from kit.hooks.registry import Registry
    from kit.verify import Fault

SHOWN = 40  # faults that are printed; --json lists all


def command(
    target: Annotated[
        str | None,
        typer.Argument(metavar="RUN|COMPETITION|PACK", help="By default all data and all runs on this machine."),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Make anew what can be made from what is whole.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take a competition's data files as they are now, from now on.")
    ] = False,
    json: Json = False,
) -> None:
    """Compare every file of data, packs and runs with its digest.

    Exit with 2 if one was damaged, changed by hand or lost.

    \b
    Example:
        kit verify
        kit verify histo
        kit verify histopathology-20260101-120000 --repair
        kit verify histo --accept
    """
    from kit.cli.context import current_registry
    from kit.console import Console

    console, registry = Console(json), current_registry()
    stores, packs, runs = _targets(registry, target)
    if accept:
        _accept(stores, target, console)
    faults = _faults(stores, packs, runs, console)
    if repair and faults:
        _repair(registry, stores, runs, faults, console)
        faults = _faults(stores, packs, runs, console)
    for fault in faults[:SHOWN]:
        console.say(f"{fault.file}: {fault.what}: {fault.mend}")
    if len(faults) > SHOWN:
        console.say(f"and {len(faults) - SHOWN} more: --json lists all")
    whole = [*(store.competition.name for store in stores), *(str(path) for path in packs), *(run.name for run in runs)]
    console.result(
        {"verified": whole, "ok": not faults, "faults": [vars(fault) for fault in faults]},
    )
    if faults:
        what = "1 file is" if len(faults) == 1 else f"{len(faults)} files are"
        raise KitError(f"{what} not as written, the first is {faults[0].file}: see above")
    console.say(f"all files are as they were written: {', '.join(whole) or 'there is no data and no run yet'}")


def _targets(registry: "Registry", target: str | None) -> tuple[list["Store"], list[Path], list[Path]]:
    """Return the stores, single packs and runs to verify."""
    from kit.data.store import Store
    from kit.paths import runs_dir
    from kit.runs import find_run_path

    if target is None:
        stores = [Store.of(registry, competition.name) for competition in registry.competitions]
        # A run that has lost its record still has its manifest.
        records = [*runs_dir().glob("*/run.json"), *runs_dir().glob("*/manifest.json")]
        folders = sorted({path.parent for path in records if not path.parent.name.startswith(".")})
        return [store for store in stores if store.root.is_dir()], [], folders
    if target.endswith((".pixels", ".json")) and Path(target).with_suffix(".pixels").is_file():
        return [], [Path(target).with_suffix(".pixels")], []
    try:
        store = Store.of(registry, target)
    except KitError as error:
        found = find_run_path(target)
        if found is None:
            raise KitError(f"{target!r} is no competition, no run and no pack: {error}") from None
        return [], [], [found]
    if not store.root.is_dir():
        raise KitError(f"no data for {target} in {store.root}: kit download {target}")
    return [store], [], []


def _accept(stores: list["Store"], target: str | None, console: "Console") -> None:
    from kit.data.checksums import accept_data

    if target is None or len(stores) != 1:
        raise KitError("--accept takes the data of one competition: kit verify COMPETITION --accept")
    accept_data(stores[0], stores[0].files())
    console.say(f"{stores[0].root}: its files are on record as they are now")


def _faults(stores: list["Store"], packs: list[Path], runs: list[Path], console: "Console") -> list["Fault"]:
    from kit.verify import faults_of_data, faults_of_pack, faults_of_run

    found: list[Fault] = []
    for store in stores:
        found += faults_of_data(store, console)
    for pack in packs:
        found += faults_of_pack(pack, console)
    for run in runs:
        found += faults_of_run(run, console)
    return found


def _repair(
    registry: "Registry", stores: list["Store"], runs: list[Path], faults: list["Fault"], console: "Console"
) -> None:
    """Make anew what whole files allow to; what is left is listed with the command that mends it."""
    from kit.verify import repair_data, repair_run

    for store in stores:
        folders = (f"{store.root}/", f"{store.own}/")
        own = [fault for fault in faults if fault.file.startswith(folders)]
        if own:
            repair_data(registry, store, own, console)
    for run in runs:
        own = [fault for fault in faults if fault.file.startswith(f"{run}/")]
        if own:
            repair_run(registry, run, own, console)
