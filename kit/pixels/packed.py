"""A complete pack as it is read: its manifest, and its pixels, checked before they are first used.

The manifest holds the CRC-32 of every chunk. Each process compares a chunk with it when it first reads one of its rows,
at some gigabytes per second, and never again; so no command learns or predicts from damaged pixels.
"""

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NotRequired

import numpy as np
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from kit.console import Console
from kit.data.store import Store
from kit.errors import KitError
from kit.files import read_json
from kit.pixels.pack_workers import Layout

FORMAT = 1
FOLDER = "packed"
Split = Literal["train", "test", "external", "controls"]


# A manifest from before manifests were sealed has no seal; that no other key is let in keeps a damaged seal from
# passing for a missing one.
@with_config(ConfigDict(extra="forbid"))
class PackManifest(TypedDict):
    """What is written beside the pixels of a pack."""

    format: int
    competition: str
    dataset: str
    split: Split
    size: int
    channels: int
    count: int
    key: str
    content_key: NotRequired[str]
    digest: str
    kit: str
    at: str
    checksums: list[int]


def digest_of(layout: Layout, checksums: Sequence[int]) -> str:
    """Return the digest of a pack's pixels: of its layout and the CRC-32 of its chunks."""
    content = [layout.count, layout.size, layout.channels, layout.chunk_rows, list(checksums)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_manifest(pixels: Path, mend: str) -> tuple[PackManifest, Layout]:
    """Read the manifest of a file of pixels, whose length must be as it says.

    Raises:
        KitError: either is damaged; it ends in `mend`.
    """
    note = pixels.with_suffix(".json")
    manifest = read_json(note, PackManifest, mend, FORMAT, sealed=False)
    layout = Layout(manifest["count"], manifest["size"], manifest["channels"])
    if (
        min(layout.count, layout.size, layout.channels) < 1
        or digest_of(layout, manifest["checksums"]) != (manifest["digest"])
    ):
        raise KitError(f"{note} does not fit itself: {mend}")
    if pixels.stat().st_size != layout.bytes:
        raise KitError(f"{pixels} has {pixels.stat().st_size:,} bytes, not {layout.bytes:,}: {mend}")
    return manifest, layout


@dataclass(frozen=True)
class Packed:
    """The pixels of all rows of a split of the index, in order.

    Args:
        path: the file of pixels.
        split: the split of the index.
        layout: number of images, side and channels. The side is the requested one, or the native one where all images
            are square, of one size and smaller: enlarged pixels would take space without adding information, and the
            augmentation's warp enlarges in the same step.
        digest: of the pixels (SHA-256 over the chunks' CRC-32); equal pixels have equal digests.
        images_per_second: the speed of packing; None: the pack already existed.
        checksums: the CRC-32 of each chunk; None: nothing is verified, for measurements on pixels that were just drawn.
        mend: what to do when a chunk is damaged, for the error.
    """

    path: Path
    split: Split
    layout: Layout
    digest: str
    images_per_second: float | None = None
    checksums: tuple[int, ...] | None = field(default=None, repr=False)
    mend: str = ""

    @cached_property
    def _pixels(self) -> np.ndarray:
        shape = (self.layout.count, self.layout.size, self.layout.size, self.layout.channels)
        return np.memmap(self.path, np.uint8, "r", shape=shape)

    @cached_property
    def _whole(self) -> np.ndarray:
        """Which chunks this process has found undamaged."""
        return np.full(self.layout.chunks, self.checksums is None)

    def verified(self, rows: np.ndarray) -> np.ndarray:
        """Return the pixels of all rows, N x size x size x C uint8, memory-mapped; `rows` are those that will be read.

        Raises:
            KitError: one of these rows lies in a damaged chunk.
        """
        chunks = rows // self.layout.chunk_rows
        if not self._whole[chunks].all():
            for chunk in np.unique(chunks).tolist():
                self._verify(chunk)
        return self._pixels

    def _verify(self, chunk: int) -> None:
        if self.checksums is None or self._whole[chunk]:
            return
        rows = self.layout.rows(chunk)
        if zlib.crc32(self._pixels[rows.start : rows.stop].data) != self.checksums[chunk]:
            raise KitError(f"{self.path}: rows {rows.start} to {rows.stop - 1} are damaged on this disk: {self.mend}")
        self._whole[chunk] = True

    @property
    def pixels(self) -> np.ndarray:
        """The pixels of all rows, all of them verified."""
        return self.verified(np.arange(self.count))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path, not the pixels, for another process, which verifies for itself."""
        return Packed, tuple(getattr(self, name) for name in self.__dataclass_fields__)

    @property
    def count(self) -> int:
        """Number of images."""
        return self.layout.count

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.layout.size


def verify_packs(store: Store, console: Console) -> list[tuple[Path, str]]:
    """Compare every complete pack of a competition with its manifest; return the bad files, and what is wrong."""
    bad = []
    for folder in (place / FOLDER for place in store.places):
        for note in sorted(folder.glob("*.json")):
            if not note.with_suffix(".pixels").is_file() and not note.with_suffix(".part").is_file():
                bad.append((note, "its pixels are gone: kit pack makes them again"))
        for path in sorted(folder.glob("*.pixels")):
            bad += [(path.with_name(name), what) for name, what in verify_pack(path, console)]
    return bad


def verify_pack(path: Path, console: Console) -> list[tuple[str, str]]:
    """Compare one file of pixels with its manifest; return the bad file, and what is wrong, or nothing."""
    try:
        manifest, layout = read_manifest(path, "kit pack makes it again")
    except KitError as error:
        return [(path.with_suffix(".json").name, str(error))]
    pack = Packed(path, manifest["split"], layout, manifest["digest"], checksums=tuple(manifest["checksums"]))
    bad = []
    with console.progress(f"checking {path.name}", layout.count) as bar:
        for chunk in range(layout.chunks):
            rows = layout.rows(chunk)
            try:
                pack.verified(np.arange(rows.start, rows.stop))
            except KitError:
                bad.append(f"{rows.start} to {rows.stop - 1}")
            bar.advance(len(rows))
    more = f" and {len(bad) - 3} more stretches" if len(bad) > 3 else ""
    return [(path.name, f"rows {', '.join(bad[:3])}{more} are damaged")] if bad else []
