"""Six images of 20 x 20 on the disk as a data set, and samples of them, packed or not."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from helpers.warp_cases import config
from kit.console import Console
from kit.data.images import read_rgb
from kit.data.index import Index
from kit.data.store import Store
from kit.hooks.specs import Competition, DatasetSpec
from kit.pixels.pack import packs_for
from kit.pixels.samples import Samples


class Leaves:
    """Six images of 20 x 20 on the disk, a store around them, and what reads them."""

    def __init__(self, root: Path) -> None:
        random = np.random.default_rng(0)
        (root / "leaves").mkdir(parents=True)
        names = [f"{number}.png" for number in range(6)]
        for name in names:
            cv2.imwrite(str(root / "leaves" / name), random.integers(0, 256, (20, 20, 3), np.uint8))
        frame = pd.DataFrame({"id": names, "files": [(name,) for name in names], "target": [0, 1] * 3})
        self.index = Index(root / "leaves", "binary", ("no", "yes"), frame, frame[["id", "files"]])
        spec = DatasetSpec("d", 3, index=lambda root: self.index, read=lambda files: read_rgb(files[0]))
        facts = Competition("leaves", "Leaves", "leaves", "binary", "roc_auc", "d", "s")
        self.store = Store(facts, spec, root / "leaves")
        self.store.set_origin("archive", "made here")

    def samples(self, size: int, pack: bool, crop: float = 1.0) -> Samples:
        settings = config(size=size, pack=pack, crop=crop)
        packs = packs_for(self.store, self.index, "train", settings, [size], Console(json=True))
        assert bool(packs) == pack
        return Samples.of(self.index, self.index.train, self.store.dataset, size, packs, crop=crop)
