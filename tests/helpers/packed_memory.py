"""Pack many tiny images and print the peak RssAnon (kB) of this process and of a worker (`pixels/test_pack.py`).

python tests/helpers/packed_memory.py FOLDER COUNT
"""

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.index import Index
from kit.data.store import Store
from kit.hooks.specs import Competition, DatasetSpec
from kit.pixels.pack import packed

peaks = [0, 0]


def read(files: tuple[Path, ...]) -> np.ndarray:
    return np.full((16, 16, 3), int(files[0].stem), np.uint8)


def anonymous(process: str) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def watch() -> None:
    while True:
        children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
        try:
            now = [anonymous("self"), max(map(anonymous, children), default=0)]
        except OSError:
            continue  # one has ended meanwhile
        peaks[:] = map(max, peaks, now)
        time.sleep(0.02)


def main(folder: Path, count: int) -> None:
    files = [(f"{number}.png",) for number in range(8)]
    for (name,) in files:
        (folder / name).touch()
    # The rows share their names, so that what grows is not the index.
    rows = {"id": [name for (name,) in files] * (count // 8), "files": files * (count // 8)}
    frame = pd.DataFrame({**rows, "target": np.zeros(count, np.int8)})
    index = Index(folder, "binary", ("no", "yes"), frame, frame.iloc[:0])
    dataset = DatasetSpec("many", 3, lambda root: index, read)
    store = Store(Competition("many", "Many", "many", "binary", "roc_auc", "many", "many"), dataset, folder)
    store.set_origin("archive", "made here")
    threading.Thread(target=watch, daemon=True).start()
    packed(store, index, "train", 16, Console(json=True), 2)
    print(*peaks)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
