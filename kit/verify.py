"""Compare everything that kit wrote with the digests on record: runs here, data and packs in their own rooms."""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.console import Console
from kit.data.checksums import FILES, verify_data
from kit.data.folds import saved_folds
from kit.data.open_run import OpenRun
from kit.data.store import ORIGIN, UNFINISHED, Store
from kit.errors import KitError
from kit.files import read_cache, read_json, refuse_links, sha256
from kit.hooks.registry import Registry
from kit.pixels.pack import mend_packed
from kit.pixels.packed import FOLDER, read_manifest, verify_pack, verify_packs
from kit.record import FORMAT, LOSS_PICTURE, CheckpointRecord, FoldResult, Manifest, RuleRecord, RunRecord, read_history
from kit.run import Run

# The JSON files of a run by the pattern of their names; each carries its own digest.
SEALED: dict[str, type[Any]] = {
    r"run\.json": RunRecord,
    r"manifest\.json": Manifest,
    r"thresholds\.json": RuleRecord,
    r"fold-\d+/checkpoint\.json": CheckpointRecord,
    r"fold-\d+/result\.json": FoldResult,
    r"fold-\d+/not-finite\.json": dict[str, Any],
    r"gradcam/gradcam\.json": dict[str, Any],
}


@dataclass(frozen=True)
class Fault:
    """One file that is not as it was written.

    Args:
        file: its path.
        what: what is wrong with it.
        mend: the command that mends it, or what else to do.
    """

    file: str
    what: str
    mend: str


def faults_of_data(store: Store, console: Console) -> list[Fault]:
    """Check every file of a competition's data, its folds and its packs."""
    name, found = store.competition.name, []
    source = {"miniature": " --miniature", "kaggle": "", "folder": " --from FOLDER"}.get(
        store.origin or "", " --from ARCHIVE"
    )
    mend = f"kit download {name}{source} --force, or kit verify {name} --accept takes it as it is"
    try:
        found += [Fault(str(store.root / file), what, mend) for file, what in verify_data(store, console)]
    except KitError as error:
        found.append(Fault(str(store.inside), str(error), mend))
    if store.is_whole and not (store.inside / FILES).is_file():
        found.append(Fault(str(store.inside / FILES), "is gone: nothing is on record of the data", mend))
    if not (store.inside / ORIGIN).is_file() and any((store.inside / each).is_file() for each in (FILES, UNFINISHED)):
        found.append(Fault(str(store.inside / ORIGIN), "is gone, or the data has not arrived completely", mend))
    for path in caches(store):
        if read_cache(path) is None:
            found.append(Fault(str(path), "its checksum differs", f"kit verify {name} --repair"))
    for path in sorted(path for place in store.places for path in (place / "folds").glob("[0-9]*")):
        count = path.name.split(".")[0]
        try:
            saved_folds(store, int(count) if count.isdigit() else 0)
        except KitError as error:
            found.append(Fault(str(path), str(error), f"kit folds {name} --folds {count}"))
    return found + [
        Fault(str(path), what, f"kit verify {name} --repair") for path, what in verify_packs(store, console)
    ]


def caches(store: Store) -> list[Path]:
    """Return the files of what was computed from the images, which is made again where it is damaged."""
    kinds = ("likeness-*.npy", "statistics-*.npy")
    return sorted(path for place in store.places for kind in kinds for path in place.glob(kind))


def faults_of_pack(path: Path, console: Console) -> list[Fault]:
    """Check one pack against its manifest."""
    mend = "kit verify COMPETITION --repair"
    return [Fault(str(path.with_name(file)), what, mend) for file, what in verify_pack(path, console)]


def faults_of_run(path: Path, console: Console) -> list[Fault]:
    """Check every file of a run against the run's own records, in the order of their names."""
    try:
        refuse_links(path)
    except KitError as error:
        return [Fault(str(path), str(error), "remove it")]
    names = sorted(each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
    found: dict[str, str] = {}
    for name in names:
        schema = next((schema for pattern, schema in SEALED.items() if re.fullmatch(pattern, name)), None)
        if schema is not None:
            try:
                read_json(path / name, schema, "", FORMAT if name == "run.json" else None)
            except KitError as error:
                found[name] = str(error).removesuffix(": ")
    whole = "manifest.json" not in found and "run.json" not in found
    on_record = dict(_digests(path, names, found)) if whole else {}
    found |= dict.fromkeys(_expected(path, names, found) - set(names), "is gone")
    with console.progress(f"verifying {path.name}", len(on_record), "files") as bar:
        for name, digests in on_record.items():
            if not (path / name).is_file():
                found[name] = "is gone"
            elif _digest(path / name, digests) not in digests:
                found[name] = "its checksum differs"
            bar.advance()
    for name in names:
        if re.fullmatch(r"fold-\d+/history\.csv", name) and name not in on_record and name not in found:
            try:
                read_history(path / name)
            except KitError as error:
                found[name] = str(error)
    return [Fault(str(path / name), what, _mend(path, name)) for name, what in sorted(found.items())]


def _digests(path: Path, names: list[str], found: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each file on record with the digests that it may have; of a file that grows `bytes:digest`."""
    manifest = Run(path, {}).manifest  # type: ignore[typeddict-item]
    yield from manifest["files"].items()
    for name, grown in manifest["grown"].items():
        if name not in manifest["files"]:
            yield name, [f"{grown['bytes']}:{grown['sha256']}"]
    for name in names:
        folder = name.rpartition("/")[0]
        if name in found:
            continue
        if name.endswith("/checkpoint.json"):
            content = read_json(path / name, CheckpointRecord)
            for entry in (content["last"], content["best"], *content["kept"]):
                for part in (entry["weights"], entry.get("state")) if entry else ():
                    if part:
                        yield f"{folder}/{part['file']}", [part["sha256"]]
        elif name == "gradcam/gradcam.json":
            for file, digest in read_json(path / name).get("files", {}).items():
                yield f"gradcam/{file}", [digest]


def _expected(path: Path, names: list[str], found: Mapping[str, str]) -> set[str]:
    """Return the files with a seal of their own, so not on record elsewhere, that a run has as far as it has come."""
    expected = {"run.json", "manifest.json"}
    if any(name.startswith("gradcam/") for name in names):
        expected.add("gradcam/gradcam.json")
    if "run.json" in names and "run.json" not in found:
        record = read_json(path / "run.json", RunRecord, "", FORMAT)
        folds = record["planned"] if record["state"] == "finished" else ()
        expected |= {f"fold-{fold}/{name}" for fold in folds for name in ("checkpoint.json", "result.json")}
    return expected


def _digest(path: Path, known: list[str]) -> str:
    length = known[0].partition(":")[0] if ":" in known[0] else ""
    if not length:
        return sha256(path)
    with path.open("rb") as file:
        return f"{length}:{hashlib.sha256(file.read(int(length))).hexdigest()}"


def _mend(path: Path, name: str) -> str:
    """Return what makes a file of a run anew."""
    run, last = path.name, name.rpartition("/")[2]
    fold = re.match(r"fold-(\d+)/", name)
    if name == "test.npz":
        return f"kit predict {run}"
    if name in ("submission.csv", "thresholds.json", "report.html", "report.json") or name.startswith("gradcam/"):
        return f"kit verify {run} --repair"
    if name == "oof.npz" or (fold and (last.endswith(".safetensors") or last in REMADE)):
        return f"kit train --resume {run}"
    return "restore it from a copy, or train again"


REMADE = ("checkpoint.json", "result.json", "oof.npz", "history.csv", LOSS_PICTURE)


def repair_data(registry: Registry, store: Store, faults: Sequence[Fault], console: Console) -> None:
    """Draw a miniature again, and make damaged packs anew from the images."""
    from kit.archives.unpack import from_miniature

    packs, own = {place / FOLDER for place in store.places}, tuple(map(str, store.places))
    if store.is_miniature and any(not fault.file.startswith(own) for fault in faults):
        from_miniature(store, None, force=True)
    for path in {Path(fault.file) for fault in faults} & set(caches(store)):
        path.unlink()
        console.say(f"removed {path}: the next command that needs it makes it again")
    for path in {Path(fault.file).with_suffix(".pixels") for fault in faults if Path(fault.file).parent in packs}:
        try:
            manifest, layout = read_manifest(path, "")
            with_reader = Store.of(registry, store.competition.name, manifest["dataset"])
            mend_packed(with_reader, with_reader.index(), manifest["split"], layout.size, console)
        except (KitError, OSError):
            # What fits neither its manifest nor the data is of no use: the next command packs anew.
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
        console.say(f"repaired {path}")


def repair_run(registry: Registry, path: Path, faults: Sequence[Fault], console: Console) -> None:
    """Make anew what a run's predictions give: rule, submission, report; remove Grad-CAM pictures that were damaged."""
    from kit.decision.tune import Wish, tune_run
    from kit.reports.page.report import write_report
    from kit.submission.write import write_submission

    names = {Path(fault.file).relative_to(path).as_posix() for fault in faults if fault.file.startswith(f"{path}/")}
    if any(name.startswith("gradcam/") for name in names):
        shutil.rmtree(path / "gradcam")
        console.say(f"removed {path / 'gradcam'}: kit gradcam {path.name} makes it again")
    remade: dict[str, Callable[[Run], object]] = {
        "thresholds.json": lambda run: tune_run(OpenRun(registry, run), Wish(), console),
        "submission.csv": lambda run: write_submission(registry, run),
        "report.html": lambda run: write_report(registry, [run], run.path, console),
        "report.json": lambda run: write_report(registry, [run], run.path, console),
    }
    for name in sorted(names & remade.keys()):
        try:
            remade[name](Run.open(path))
            console.say(f"repaired {path / name}")
        except KitError as error:
            console.warn(f"{path / name} can't be made anew: {error}")
