"""A competition of four files: its index, its archives, what of them lies in its folder."""

from pathlib import Path

import pandas as pd

from kit.data.index import Index, read_table
from kit.data.store import Store


def read_index(root: Path) -> Index:
    table = read_table(root / "train.csv", ("id", "label"), "bring it")
    files = [(f"train/{name}",) for name in table["id"]]
    train = pd.DataFrame({"id": table["id"], "files": files, "target": table["label"].astype(int)})
    test = pd.DataFrame({"id": pd.Series(["c"], dtype=str), "files": [("test/c",)]})
    return Index(root, "binary", ("no", "yes"), train, test)


def contents(store: Store) -> dict[str, bytes]:
    """All files but kit's notes."""
    files = {path.relative_to(store.root).as_posix(): path for path in store.root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(".kit/")}
