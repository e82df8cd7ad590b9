"""Packed pixels: every image of a split, decoded once into one memory-mapped file of uint8 that all readers share.

A pack lies in `<data>/.kit/packed/` as `<dataset>-<split>-<size>-<key>.pixels`, N x size x size x C bytes and nothing
else, with a manifest `.json` beside it. Its key identifies its sources: competition, dataset, split, size, kit's
format, the version of its reader (`kit.images.decode`), and the files (`kit.pixels.pack_sources`).

The file of an unfinished pack ends in `.part`, and a `.journal` names its finished chunks. After an interruption these
are read back, compared with their checksums, and kept. Only a complete pack gets its final name.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pandas.api.extensions import ExtensionArray

from kit import __version__
from kit.config import TrainConfig
from kit.console import Console
from kit.console import size as in_bytes
from kit.data.images import stored_side
from kit.data.index import Index
from kit.data.store import Store
from kit.errors import DISK, INTERRUPTED, KitError
from kit.files import locked, not_plain, write_bytes, write_json
from kit.hooks.specs import DatasetSpec
from kit.images.decode import VERSION
from kit.pixels.pack_sources import contents, frame_of, sources_of
from kit.pixels.pack_workers import Job, Layout, MixedSizesError, Workers
from kit.pixels.packed import FOLDER, FORMAT, Packed, PackManifest, Split, digest_of, read_manifest, verify_pack


def packed(store: Store, index: Index, split: Split, size: int, console: Console, workers: int | None = None) -> Packed:
    """Open the pack of a split, or make it with `workers` processes (None: one per core) if it does not exist.

    Resume where an interrupted call stopped; wait for another process that is making the same pack.

    Raises:
        KitError: an image can't be read, the disk is too small or can't be written, or Ctrl-C was pressed.
    """
    wanted = _Wanted.of(store, index, split, size)
    found = wanted.find()
    if found is not None:
        journal = found.path.with_suffix(".journal")
        if journal.is_file():  # a kill just after the pack got its name left it
            with contextlib.suppress(OSError):
                journal.unlink()
        return found
    with wanted.lock(console):
        return wanted.find(console.warn) or _adopted(wanted) or _make(wanted, console, workers)


def packs_for(
    store: Store, index: Index, split: Split, config: TrainConfig, sizes: Iterable[int], console: Console
) -> dict[int, Packed]:
    """Return the packs that serve these sizes, made if missing; none if none are wanted, or of few images (`limit`)."""
    if not config.pack or (split == "train" and config.limit is not None):
        return {}
    return {size: packed(store, index, split, stored_side(size, config.crop), console) for size in sorted(set(sizes))}


def find_packed(store: Store, index: Index, split: Split, size: int) -> Packed | None:
    """Return the complete pack of a split that matches its files as they are now, or None."""
    return _Wanted.of(store, index, split, size).find()


def mend_packed(
    store: Store, index: Index, split: Split, size: int, console: Console, workers: int | None = None
) -> list[range]:
    """Check a complete pack against its checksums; remake its damaged chunks and return their rows.

    Without a whole manifest, all of it is remade.
    """
    wanted = _Wanted.of(store, index, split, size)
    with wanted.lock(console):
        plan = next((plan for plan in wanted.plans() if plan.file("pixels").is_file()), None)
        if plan is None:
            kept = wanted.find(console.warn)
            if kept is None:
                raise KitError(
                    f"no complete pack of {split} at {size} px fits the data: "
                    f"kit pack {store.competition.name} --size {size} makes one"
                )
            # It lies beside read-only data: if it is damaged, another one takes its place.
            return [range(_make(wanted, console, workers).count)] if verify_pack(kept.path, console) else []
        found = plan.find(console.warn)
        if found is None:
            return [range(_make(wanted, console, workers).count)]
        noted = dict(enumerate(found.checksums or ()))
        with Workers(plan.job(plan.file("pixels")), workers) as pool:
            good = _still_good(pool, noted, plan, console)
        damaged = [plan.layout.rows(chunk) for chunk in noted if chunk not in good]
        if damaged:
            _write_journal(plan, good)
            os.replace(plan.file("pixels"), plan.file("part"))
            _write(plan, console, workers)
    return damaged


def _nothing(text: str) -> None:
    """Say nothing."""


BY_PILLOW = "OpenCV can't read some of the images, Pillow does, several times slower: kit check names their kinds"


@dataclass(frozen=True)
class _Wanted:
    """A request for a pack, and what the files on the disk say about it.

    Args:
        competition: slug.
        mend: the command that mends packs of this split, without its size; empty if there is none.
        dataset: reads the samples.
        split: the split of the index.
        size: the requested side.
        root: the folder that file names are relative to.
        files: the files of each row.
        folders: where packs may lie; they are made in the first.
        native: the side of the first image if that is square, otherwise 0.
        sources: digest of everything the pixels are made from.
    """

    competition: str
    mend: str
    dataset: DatasetSpec
    split: Split
    size: int
    root: Path
    files: ExtensionArray
    folders: tuple[Path, ...]
    native: int
    sources: str

    @classmethod
    def of(cls, store: Store, index: Index, split: Split, size: int) -> "_Wanted":
        frame = frame_of(index, split)
        if not len(frame):
            raise KitError(
                f"{store.competition.name} has no {split} images to pack: kit check {store.competition.name}"
            )
        files, dataset = frame["files"].array, store.dataset
        sources, native = sources_of(dataset, index.root, files)
        folders = tuple([place / FOLDER for place in store.places])
        slug, name = store.competition.slug, store.competition.name
        has_command = split in ("train", "test") and dataset.name == store.competition.dataset
        mend = f"kit pack {name} --split {split} --verify" if has_command else ""
        return cls(slug, mend, dataset, split, size, index.root, files, folders, native, sources)

    @property
    def folder(self) -> Path:
        return self.folders[0]

    @cached_property
    def contents(self) -> str:
        return contents(self.root, self.files)

    def plans(self) -> list["_Plan"]:
        """Return what may be made: a pack of the native size if that is smaller, and one of the requested size."""
        return [_Plan(self, side) for side in ([self.native] if 0 < self.native < self.size else []) + [self.size]]

    def find(self, say: Callable[[str], None] = _nothing) -> Packed | None:
        """Return the complete pack, if any; `say` is told of a damaged one."""
        return next((found for plan in self.plans() if (found := plan.find(say)) is not None), None)

    @contextlib.contextmanager
    def lock(self, console: Console) -> Iterator[None]:
        """Let one process at a time make the packs of a split.

        Worker processes inherit the lock, so it is held until the last of them has stopped writing too.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{self.dataset.name}-{self.split}.lock"
            path.touch()
        except OSError as error:
            raise KitError(
                f"{self.folder} can't be written ({error.strerror}): make it writable, set KIT_CACHE to a "
                "folder that is, or train with --set pack=false",
                DISK,
            ) from None
        waiting = f"pack {self.split}: another process is making it: waiting for it"
        with locked(path, on_wait=lambda: console.say(waiting)):
            yield


@dataclass(frozen=True)
class _Plan:
    """A pack to make: its layout, its key, its files."""

    wanted: _Wanted
    size: int

    @property
    def layout(self) -> Layout:
        return Layout(len(self.wanted.files), self.size, self.wanted.dataset.channels)

    @property
    def _facts(self) -> list[object]:
        wanted, dataset = self.wanted, self.wanted.dataset
        return [FORMAT, VERSION, wanted.competition, dataset.name, dataset.channels, wanted.split, self.size]

    @cached_property
    def key(self) -> str:
        return hashlib.sha256(json.dumps([*self._facts, self.wanted.sources]).encode()).hexdigest()

    @cached_property
    def content_key(self) -> str:
        """The key by content instead of times; empty where kit has no record of all files."""
        content = self.wanted.contents
        return hashlib.sha256(json.dumps([*self._facts, content]).encode()).hexdigest() if content else ""

    @property
    def prefix(self) -> str:
        return f"{self.wanted.dataset.name}-{self.wanted.split}-{self.size}-"

    def file(self, ending: str) -> Path:
        return self.wanted.folder / f"{self.prefix}{self.key[:8]}.{ending}"

    def job(self, path: Path) -> Job:
        native = self.size if self.size < self.wanted.size else None
        return Job(path, self.layout, self.wanted.root, self.wanted.dataset, native)

    def find(self, say: Callable[[str], None] = _nothing) -> Packed | None:
        """Return the complete pack, if any; a file of another length or without a whole manifest does not count."""
        name, split = self.file("pixels").name, self.wanted.split
        path = next((folder / name for folder in self.wanted.folders if (folder / name).is_file()), None)
        if path is None:
            return None
        try:
            manifest, layout = read_manifest(path, "the pack is made anew")
        except KitError as error:
            say(f"pack {split}: {error}")
            return None
        if manifest["key"] != self.key or layout != self.layout:
            return None
        mend = f"{self.wanted.mend} --size {self.size} repairs it" if self.wanted.mend else "remove it to have it anew"
        checksums = tuple(manifest["checksums"])
        return Packed(path, split, layout, manifest["digest"], checksums=checksums, mend=mend)

    def outdated(self) -> list[Path]:
        """List the files, finished or not, of packs of the same name whose sources have changed since."""
        own = self.key[:8]
        pattern = re.compile(re.escape(self.prefix) + r"([0-9a-f]{8})\.(pixels|json|part|journal)")
        names = sorted(path.name for path in self.wanted.folder.iterdir())
        found = [match for name in names if (match := pattern.fullmatch(name)) and match[1] != own]
        return [self.wanted.folder / match[0] for match in found]


def _adopted(wanted: _Wanted) -> Packed | None:
    """Give a pack that was made from the same content, before a copy lost the files' times, the key of today."""
    for plan in wanted.plans():
        for old in sorted(wanted.folder.glob(f"{plan.prefix}*.pixels")):
            with contextlib.suppress(KitError):
                manifest, _ = read_manifest(old, "the pack is made anew")
                if old != plan.file("pixels") and plan.content_key == (manifest.get("content_key") or "none"):
                    write_json(plan.file("json"), {**manifest, "key": plan.key})
                    os.replace(old, plan.file("pixels"))
                    old.with_suffix(".json").unlink()
                    return plan.find()
    return None


def _make(wanted: _Wanted, console: Console, workers: int | None) -> Packed:
    *smaller, requested = wanted.plans()
    # A .part file of the requested size comes from an earlier call that found mixed sizes: skip the native size.
    for plan in smaller if not requested.file("part").is_file() else ():
        try:
            return _write(plan, console, workers)
        except MixedSizesError:
            plan.file("part").unlink()
            plan.file("journal").unlink(missing_ok=True)
            console.say(f"pack {wanted.split}: not all images are {plan.size} px: resizing all to {requested.size}")
    return _write(requested, console, workers)


def _write(plan: _Plan, console: Console, workers: int | None) -> Packed:
    """Decode the missing chunks, then give the pack its final name."""
    split, layout, target = plan.wanted.split, plan.layout, plan.file("part")
    console.say(
        f"pack {split}: {layout.count:,} images at {layout.size} px, {in_bytes(layout.bytes)} in {target.parent}"
    )
    _check_space(plan)
    for path in (target, plan.file("journal")):
        if path.is_symlink():  # which would be written through
            raise not_plain(path)
    try:
        with target.open("ab") as file:
            file.truncate(layout.bytes)
        with Workers(plan.job(target), workers) as pool:
            done = _read_journal(plan, pool, console)
            missing = [chunk for chunk in range(layout.chunks) if chunk not in done]
            start = sum(len(layout.rows(chunk)) for chunk in done)
            files = plan.wanted.files
            with (
                plan.file("journal").open("a", encoding="ascii", buffering=1) as journal,
                console.progress(f"packing {split}", layout.count, start=start) as bar,
            ):
                for chunk, crc in pool.fill(missing, lambda rows: files[rows.start : rows.stop].tolist()):
                    journal.write(f"{chunk} {crc}\n")
                    done[chunk] = crc
                    bar.advance(len(layout.rows(chunk)))
                rate = bar.rate()
            if pool.read_by_pillow:
                console.say(f"pack {split}: {BY_PILLOW}")
    except KeyboardInterrupt:
        raise KitError(f"packing {split} was interrupted: the same command resumes it", INTERRUPTED) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise KitError(
            f"{target.parent}: the disk is full: free some space, then the same command resumes", DISK
        ) from None
    return _finish(plan, [done[chunk] for chunk in range(layout.chunks)], rate, console)


def _check_space(plan: _Plan) -> None:
    """Refuse a pack that does not fit on the disk, before anything is written."""
    target = plan.file("part")
    written = target.stat().st_blocks * 512 if target.is_file() else 0
    needed, free = plan.layout.bytes - written, shutil.disk_usage(target.parent).free
    if needed > free:
        outdated = [path.name for path in plan.outdated() if path.suffix == ".pixels"]
        raise KitError(
            f"pack {plan.wanted.split} at {plan.size} px needs {in_bytes(needed)}, {in_bytes(free)} is free in "
            f"{target.parent}: free some, {f'remove the outdated {outdated[0]} there, ' if outdated else ''}"
            "choose a smaller --size, or train with --set pack=false",
            DISK,
        )


def _read_journal(plan: _Plan, pool: Workers, console: Console) -> dict[int, int]:
    """Return the chunks that an interrupted call left, with their CRC-32, as far as the disk really holds them.

    A kill loses nothing that was written, but a power cut may have kept the journal and lost pixels.
    """
    journal = plan.file("journal")
    text = journal.read_text(encoding="ascii", errors="replace") if journal.is_file() else ""
    lines = [match for line in text.splitlines(keepends=True) if (match := re.fullmatch(r"(\d+) (\d+)\n", line))]
    noted = {int(line[1]): int(line[2]) for line in lines if int(line[1]) < plan.layout.chunks}
    good = _still_good(pool, noted, plan, console) if noted else {}
    _write_journal(plan, good)
    return good


def _write_journal(plan: _Plan, done: dict[int, int]) -> None:
    write_bytes(plan.file("journal"), "".join(f"{chunk} {crc}\n" for chunk, crc in done.items()).encode())


def _still_good(pool: Workers, noted: dict[int, int], plan: _Plan, console: Console) -> dict[int, int]:
    """Return the chunks whose bytes still match the noted CRC-32."""
    good = {}
    with console.progress(f"checking {plan.wanted.split}", sum(len(plan.layout.rows(chunk)) for chunk in noted)) as bar:
        for chunk, crc in pool.sums(noted):
            if crc == noted[chunk]:
                good[chunk] = crc
            bar.advance(len(plan.layout.rows(chunk)))
    return good


def _finish(plan: _Plan, checksums: list[int], rate: float, console: Console) -> Packed:
    """Write the manifest, then rename the pack: a file of the final name is complete and has its manifest."""
    target, wanted, layout = plan.file("part"), plan.wanted, plan.layout
    with target.open("rb") as file:
        os.fsync(file.fileno())
    manifest: PackManifest = {
        "format": FORMAT,
        "competition": wanted.competition,
        "dataset": wanted.dataset.name,
        "split": wanted.split,
        "size": layout.size,
        "channels": layout.channels,
        "count": layout.count,
        "key": plan.key,
        "content_key": plan.content_key,
        "digest": digest_of(layout, checksums),
        "kit": __version__,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "checksums": checksums,
    }
    write_json(plan.file("json"), dict(manifest))
    os.replace(target, plan.file("pixels"))
    plan.file("journal").unlink(missing_ok=True)
    for path in plan.outdated():
        path.unlink()
        if path.suffix == ".pixels":
            console.say(f"pack {wanted.split}: removed the outdated {path.name}")
    made = plan.find()
    if made is None:
        raise KitError(f"{plan.file('pixels')} was changed while it was made: run the same command again")
    return replace(made, images_per_second=rate)
