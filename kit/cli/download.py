"""`kit download`: get the data of a competition from Kaggle, from an archive, or as a synthetic miniature."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import CompetitionName, Json
from kit.errors import INTERRUPTED, KitError

if TYPE_CHECKING:
    from kit.archives.unpack import Arrival
    from kit.console import Console
    from kit.data.store import Store


def command(
    competition: CompetitionName,
    archive: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="ARCHIVE|FOLDER",
            help="Unpack an archive (or csv) from your browser, or link what lies in a folder; repeatable.",
        ),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Add what --from unpacks to the data already there.")] = False,
    miniature: Annotated[bool, typer.Option("--miniature", help="Write a small synthetic miniature instead.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the miniature; by default 0.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PATTERN", help="Download only these files, e.g. '*.csv'; repeatable."),
    ] = None,
    dest: Annotated[
        Path | None, typer.Option("--dest", metavar="DIR", help="Store the data there, with a link in $KIT_DATA.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the archive after unpacking it.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Download again and replace other data already there.")
    ] = False,
    json: Json = False,
    sample: Annotated[bool, typer.Option("--sample", hidden=True)] = False,
) -> None:
    """Download a competition's data, or write a miniature of it.

    The data comes from Kaggle by default and goes to $KIT_DATA/<slug>/ (by default ./data/<slug>/). After an
    interruption, the same command resumes where it stopped. Data in folders is linked, and nothing is written there;
    what lies in $KIT_DATA/<slug>/ or Kaggle's /kaggle/input/<slug>/ is used as it is.

    \b
    Example:
        kit download histo
        kit download histo --dest /mnt/large --keep
        kit download histo --only '*.csv'
        kit download histo --from histopathologic-cancer-detection.zip
        kit download ham10000 --from HAM10000/ --from ISIC2018_Task3_Test_Input/
        kit download ham10000 --add --from ISIC2018_Task3_Test_Input.zip
        kit download histo --miniature
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.data.store import Store

    miniature = miniature or sample  # scripts of before may still say so
    if sum((bool(archive), miniature, bool(only))) > 1:
        raise KitError("--from, --miniature and --only exclude each other: give one of them")
    if add and not archive:
        raise KitError("--add needs data to add: give it with --from ARCHIVE")
    if seed is not None and not miniature:
        raise KitError("--seed is the seed of the miniature: give --miniature too")
    if keep and (archive or miniature or only):
        raise KitError("--keep is for the archive downloaded from Kaggle: drop --from, --miniature or --only")
    found, console = Store.of(current_registry(), competition), Console(json)
    store = found.to_fill()
    try:
        in_place = {os.path.realpath(path) for path in archive or [found.root]} == {os.path.realpath(found.root)}
        if in_place and not (miniature or only or force or dest) and _lies_there(found, bool(archive), console):
            return
        with _linked(store, dest):
            if only:
                _some(store, only, force, console)
                return
            if add and found.root != store.root:
                _from(store, [found.root], False, force, console)
            _all(store, archive or [], add, miniature, seed, keep, force, console)
    except KeyboardInterrupt:
        raise KitError("interrupted: the same command resumes where it stopped", INTERRUPTED) from None


def _all(
    store: "Store",
    archives: list[Path],
    add: bool,
    miniature: bool,
    seed: int | None,
    keep: bool,
    force: bool,
    console: "Console",
) -> None:
    from kit.archives.unpack import from_miniature

    kept = None
    if archives:
        arrival = _from(store, archives, add, force, console)
    elif miniature:
        with console.waiting("drawing the miniature"):
            arrival = from_miniature(store, seed, force)
    else:
        from kit.kaggle.download import from_kaggle

        arrival, kept = from_kaggle(store, keep, force, console)
    name = store.competition.name
    document: dict[str, Any] = {
        "competition": name,
        "folder": store.root,
        "origin": store.origin,
        "changed": arrival is not None,
    }
    if arrival is None:
        store.check_links()
        console.say(f"{store.root} already holds this {store.origin} ({store.note['source']}): nothing to do")
        console.result({**document, "source": store.note["source"]})
        return
    _tell(store, arrival, console)
    if kept:
        console.say(f"archive kept: {kept}")
    console.say(f"next: kit check {name}")
    console.result({**document, **vars(arrival), "archive": kept})


def _lies_there(store: "Store", is_named: bool, console: "Console") -> bool:
    """Say that data which others made is used as it lies; return False if there is none.

    What can't be used is an error where the person has named it; otherwise the download goes on.
    """
    if not store.is_foreign:
        return False
    try:
        store.index()
    except KitError:
        if is_named:
            raise
        return False
    name = store.competition.name
    console.say(f"{store.root} holds the data of {name}, which is used as it lies: nothing to do")
    console.say(f"next: kit check {name}")
    console.result({"competition": name, "folder": store.root, "origin": store.origin, "changed": False})
    return True


def _from(store: "Store", paths: list[Path], add: bool, force: bool, console: "Console") -> "Arrival | None":
    """Unpack archives, or link folders."""
    from kit.archives.folders import from_folders
    from kit.archives.unpack import from_archives

    if any(os.path.isdir(path) for path in paths):
        return from_folders(store, paths, force, add, console)
    return from_archives(store, paths, force, console, add)


def _tell(store: "Store", arrival: "Arrival", console: "Console") -> None:
    for text, count in (
        ("files of earlier data removed", arrival.removed),
        ("files were there already", arrival.kept),
        ("files written", arrival.written),
    ):
        if count:
            console.say(f"{count:,} {text}")
    name = store.competition.name
    console.say(f"{store.root}: {arrival.train:,} training and {arrival.test:,} test ids of {name}")


def _some(store: "Store", patterns: list[str], force: bool, console: "Console") -> None:
    from kit.kaggle.download import some_from_kaggle

    fetched, there = some_from_kaggle(store, patterns, force, console)
    if there:
        console.say(f"{len(there):,} files were there already")
    console.say(f"{len(fetched):,} files written to {store.root}")
    name = store.competition.name
    document = {"competition": name, "folder": store.root, "origin": store.origin, "changed": bool(fetched)}
    console.result({**document, "files": fetched, "there": there})


@contextlib.contextmanager
def _linked(store: "Store", dest: Path | None) -> Iterator[None]:
    """Make the data's folder a link to `dest`, where every other command finds it too; an error takes it away again."""
    from kit.data.store import data_state
    from kit.files import cant_write

    root = store.root
    if dest is None or (root.is_dir() and root.resolve() == dest.resolve()):
        yield
        return
    if root.is_symlink() or root.exists():
        raise KitError(f"{root} already exists, so the data can't go to {dest}: move it there, or drop --dest")
    if dest.exists() and not dest.is_dir():
        raise KitError(f"{dest} is not a folder: give --dest a new or an empty one")
    is_new = not dest.exists()
    try:
        dest.mkdir(parents=True, exist_ok=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        root.symlink_to(dest.resolve(), target_is_directory=True)
    except OSError as error:
        raise cant_write(dest, error) from None
    try:
        yield
    except KitError:
        if data_state(root) == "absent":
            root.unlink()
            if is_new:
                with contextlib.suppress(OSError):
                    dest.rmdir()
        raise
