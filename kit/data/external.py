"""External data: further labelled images, in the training set of every fold and in no validation set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.console import Console
from kit.data.file_names import find_images
from kit.data.folds import Folds
from kit.data.index import Index
from kit.data.near_duplicates import clusters, hashes, near_pairs, training_hashes
from kit.data.store import Store
from kit.errors import KitError, MisuseError
from kit.image_files import TABLES
from kit.paths import is_litter
from kit.run import Run
from kit.tables import read_table

FILE = "external.csv"


def with_external(store: Store, index: Index, path: Path, console: Console) -> Index:
    """Return the index with the external samples of a csv or folder added, except those whose id is a training id.

    Raises:
        KitError: the path does not exist, is not in the competition's form, or holds nothing new.
    """
    name = store.competition.name
    if store.dataset.external is None:
        raise KitError(f"{name} takes no external training data: drop --external")
    if not path.exists():
        raise KitError(f"no external training data at {path}: give --external a csv, or a folder with one")
    frame = store.dataset.external(path, index)
    if not len(frame):
        raise KitError(f"{path} lists no image: give --external a csv with labels, or drop it")
    known = frame["id"].isin(index.train["id"])
    if known.all():
        raise KitError(f"{path}: all {len(frame)} ids are already training ids of {name}: drop --external")
    if known.any():
        console.warn(f"{int(known.sum())} ids of {path} are already training ids of {name}: skipped")
    given = frame[~known].assign(given=True)
    own = index.external.assign(given=False)
    rows = pd.concat([own, given], ignore_index=True) if len(own) else given.reset_index(drop=True)
    try:
        return replace(index, external=rows)
    except MisuseError as error:
        raise KitError(f"{error}: correct {path}, or external of dataset {store.dataset.name}") from None


def table_of(path: Path, columns: str) -> Path:
    """Return the csv given with `--external`: the file itself, or the only csv of a folder; otherwise a `KitError`.

    `columns` tells the message what the csv must hold.
    """
    if not path.is_dir():
        return path
    there = (file for file in path.iterdir() if not file.name.startswith(".") and not is_litter(file.name))
    tables = sorted(file for file in there if file.suffix.lower() in TABLES)
    if len(tables) != 1:
        names = ", ".join(table.name for table in tables[:3]) or "none"
        raise KitError(f"{path} holds {len(tables)} csv files ({names}): give --external the csv with {columns}")
    return tables[0]


def external_files(path: Path, ids: pd.Series, index: Index, suffixes: Sequence[str] = ("",)) -> np.ndarray:
    """Return the files of external samples: beside their csv, in a folder there, or the competition's own.

    Args:
        path: the csv, for its folder and for messages.
        ids: n ids.
        index: of the competition, whose images need not be beside the csv.
        suffixes: as for `find_images`.

    Returns:
        n tuples of paths.

    Raises:
        KitError: an id has no image.
    """
    found = find_images(ids, index.root, str(path.parent.absolute()), suffixes, depth=1)
    files = np.empty(len(ids), object)
    files[:] = list(found.files)
    wanted = set(ids[~found.there])
    own = {
        id_: files
        for frame in (index.train, index.test)
        for id_, files in zip(frame["id"], frame["files"], strict=True)
        if id_ in wanted
    }
    absent = [id_ for id_ in ids[~found.there] if id_ not in own]
    if absent:
        names = ", ".join(f"{absent[0]}{suffix}.png" for suffix in suffixes)
        raise KitError(
            f"{path}: {len(absent)} of {len(ids)} ids have no image beside it or in the competition, the first is "
            f"{absent[0]}: put {names} beside it"
        )
    for row in np.flatnonzero(~found.there):
        files[row] = own[ids.iat[row]]
    return files


def left_out(store: Store, index: Index, folds: Folds, console: Console) -> np.ndarray:
    """Find the external samples that are near-duplicates of a fold's validation images, m x folds of booleans.

    Training on them would leak the labels of the images that judge the network. Only samples given with `--external`
    are compared; the dataset's own (controls) are other wells.
    """
    given = index.external["given"].to_numpy(bool)
    own = training_hashes(store, index, console)
    cache = store.own / f"likeness-{store.dataset.name}-external"
    hashed = np.concatenate(
        [own, hashes(store.dataset, index.root, index.external["files"].array[given], cache, console)]
    )
    cluster, fold = clusters(len(hashed), near_pairs(hashed, console)), folds.of(index.train)
    result = np.zeros((len(given), folds.count), bool)
    for number in range(folds.count):
        result[given, number] = np.isin(cluster[len(own) :], cluster[: len(own)][fold == number])
    return result


def write_left_out(index: Index, out: np.ndarray, path: Path) -> None:
    """Write a run's `external.csv`: each external id with the folds it is left out of, and its target."""
    folds = [" ".join(map(str, np.flatnonzero(row))) for row in out]
    columns = {"id": index.external["id"], "left_out_of": folds, "target": _targets(index)}
    pd.DataFrame(columns).to_csv(path, index=False, lineterminator="\n")


def _targets(index: Index) -> list[str]:
    return [str(target) for target in index.external["target"]]


def external_rows(run: Run, index: Index, fold: int) -> pd.DataFrame:
    """Return the external samples a fold of a run trains on; raise `KitError` if they have changed since."""
    if not len(index.external):
        return index.external
    table = read_table(run.reading(FILE), ("id", "left_out_of"), "restore it, or start a new run")
    # Before, kit did not keep the targets.
    same = "target" not in table or table["target"].tolist() == _targets(index)
    if table["id"].tolist() != index.external["id"].tolist() or not same:
        raise KitError(f"{run.config.external} has changed since run {run.id} started: restore it, or start a new run")
    used = [str(fold) not in folds.split() for folds in table["left_out_of"]]
    return index.external[used]
