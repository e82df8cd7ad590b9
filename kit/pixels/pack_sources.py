"""What a pack is made from: the files as they are now, and their content as far as it is on record.

Files are identified by the pixels that the dataset reads for three samples, and by the name, length and modification
time of each, not by their content: reading 7.8 GB takes minutes, and asking 220,025 files for their length half a
second. A changed file that keeps its length and time goes unnoticed. Where no pack has the key of today, as after a
copy that lost the times, one that was made from the same content by kit's own record gets it.
"""

import hashlib
import os
from pathlib import Path

import pandas as pd
from pandas.api.extensions import ExtensionArray

from kit.data.checksums import Checksums
from kit.data.images import read_sample
from kit.data.index import Index
from kit.errors import KitError
from kit.hooks.specs import DatasetSpec
from kit.pixels.packed import Split


def frame_of(index: Index, split: Split) -> pd.DataFrame:
    """Return the rows of a split of the index."""
    frame: pd.DataFrame = getattr(index, split)
    return frame


def sources_of(dataset: DatasetSpec, root: Path, files: ExtensionArray) -> tuple[str, int]:
    """Digest the files as they are now: 2 us each, and nothing is kept in memory.

    Returns:
        The digest, and the side of the first image if that is square, otherwise 0.
    """
    probes = [read_sample(dataset, root, files[row]) for row in (0, len(files) // 2, -1)]
    height, width = probes[0].shape[:2]
    digest = hashlib.sha256()
    for probe in probes:
        digest.update(repr(probe.shape).encode() + probe.tobytes())
    try:
        for row in files:
            for name in row:
                state = os.stat(os.path.join(root, name))
                digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
            digest.update(b"\n")
    except OSError as error:
        raise KitError(f"{error.filename} can't be read ({error.strerror}): kit check names all such files") from None
    return digest.hexdigest(), height if height == width else 0


def contents(root: Path, files: ExtensionArray) -> str:
    """Digest name, length and CRC-32 of every file; empty if one is not on record, or has another length now.

    It is the same after a copy that lost the files' times. Looking a file up takes ten times as long as its state.
    """
    digest, known = hashlib.sha256(), Checksums.of(root)
    for row in files:
        for name in row:
            record = known.get(name)
            if record is None or record.crc is None or os.stat(os.path.join(root, name)).st_size != record.size:
                return ""
            digest.update(f"{name}\0{record.size}\0{record.crc}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()
