"""A competition of small images whose packing can be counted, slowed down and broken."""

import os
import shutil
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.images import read_grey
from kit.data.index import Index
from kit.data.store import Store
from kit.errors import KitError
from kit.hooks.specs import Competition, DatasetSpec
from kit.pixels.pack import Packed, find_packed, packed

CONSOLE = Console()


class Made:
    """A competition of samples with a grey png a channel, whose reading can be counted, slowed down and broken."""

    def __init__(self, folder: Path, sides: list[tuple[int, int]], channels: int = 3) -> None:
        self.folder, self.log = folder, folder / "reads.log"
        self.slow, self.broken = 0.0, folder / "broken"
        folder.mkdir(parents=True)
        random = np.random.default_rng(1)
        for row, side in enumerate(sides):
            for channel in range(channels):
                image = random.integers(0, 256, side, dtype=np.uint8)
                cv2.imwrite(str(folder / f"{row}_{channel}.png"), image)
        files = [tuple(f"{row}_{channel}.png" for channel in range(channels)) for row in range(len(sides))]
        frame = pd.DataFrame({"id": [f"i{row}" for row in range(len(sides))], "files": files})
        self.index = Index(folder, "binary", ("no", "yes"), frame.assign(target=0), frame[:3])
        dataset = DatasetSpec("grey", channels, lambda root: self.index, self.read)
        competition = Competition("made", "Made", "made", "binary", "roc_auc", "grey", "made")
        self.store = Store(competition, dataset, folder)
        self.store.set_origin("archive", "made here")

    def read(self, files: tuple[Path, ...]) -> np.ndarray:
        descriptor = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, f"{files[0].stem.split('_')[0]}\n".encode())
        os.close(descriptor)
        if self.broken.is_file() and files[0].name == self.broken.read_text():
            raise KitError(f"{files[0]} can't be read as an image: kit check names all such files")
        time.sleep(self.slow)
        return np.dstack([read_grey(path) for path in files])

    def reads(self) -> Counter[int]:
        """How often each row was read since the last call."""
        lines = self.log.read_text().split() if self.log.is_file() else []
        self.log.unlink(missing_ok=True)
        return Counter(map(int, lines))

    def pack(self, size: int = 8, **changes: object):
        return packed(self.store, self.index, "train", size, CONSOLE, **changes)

    def find(self, size: int = 8):
        return find_packed(self.store, self.index, "train", size)

    def files(self) -> set[str]:
        """Endings."""
        return {path.suffix for path in (self.folder / ".kit" / "packed").iterdir()} - {".lock"}

    def take(self, pack: Packed) -> bytes:
        """Remove all packs; the bytes of this one."""
        content = pack.path.read_bytes()
        shutil.rmtree(pack.path.parent)
        return content

    def noted(self) -> set[int]:
        """The chunks that the journal names."""
        journals = list((self.folder / ".kit" / "packed").glob("*.journal"))
        lines = journals[0].read_text().splitlines(keepends=True) if journals else []
        return {int(line.split()[0]) for line in lines if line.endswith("\n")}

    def path(self, ending: str) -> Path:
        [path] = (self.folder / ".kit" / "packed").glob(f"*.{ending}")
        return path


def probed(count: int) -> Counter[int]:
    """The rows that every call reads, to see whether the dataset still reads as it did."""
    return Counter([0, count // 2, count - 1])
