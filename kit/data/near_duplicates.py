"""Near-duplicates: photographs of one field that differ in light, noise or by a few pixels, found by a perceptual hash.

The hash (Zauner 2010, pHash) says of each of an image's 256 lowest frequencies whether it is above their median. Two
images are near-duplicates when at most a quarter of the bits differ. When real and drawn cells were shifted by two per
cent of their side, brightened and made noisy, at most a fifth of the bits changed. Between unrelated images at least a
third differed, and half on average with a standard deviation of 3.6 %: the threshold is seven deviations away, one
chance in 10^12 per pair.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from kit.console import Console
from kit.data.images import checked_paths, resize
from kit.data.index import Index
from kit.data.store import Store
from kit.data.verify import cores
from kit.files import read_cache, replace_cache
from kit.hooks.specs import DatasetSpec
from kit.images.decode import VERSION
from kit.images.levels import reading

SIDE, LOW = 64, 16
BITS = LOW * LOW
NEAR = BITS // 4
GROUPED_BY = "near-duplicates"
FORMAT = 1
BLOCK = 2048


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """Hash HxW uint8 to 32 bytes: the 16x16 lowest frequencies of its 64x64 cosine transform against their median."""
    small = resize(image[..., None], SIDE)[..., 0].astype(np.float32)
    low = cv2.dct(small)[:LOW, :LOW].reshape(-1)
    return np.packbits(low > np.median(low))


def hashes(dataset: DatasetSpec, root: Path, files: ExtensionArray, cache: Path, console: Console) -> np.ndarray:
    """Hash each sample, n x 32 bytes, in threads; keep the hashes in `cache` until a file changes.

    Args:
        dataset: its `likeness` (or else its picture in grey) is hashed.
        root: the folder that the file names are relative to.
        files: the file names of each sample.
        cache: a path without suffix; a key of the files and `.npy` are added; one that is damaged is made again.
        console: shows the progress.
    """
    state = _state(dataset, root, files)
    path = cache.with_name(f"{cache.name}-{state}.npy")
    kept = read_cache(path)
    if kept is not None and len(kept) == len(files) * BITS // 8:
        return np.frombuffer(kept, np.uint8).reshape(len(files), BITS // 8)
    result = np.empty((len(files), BITS // 8), np.uint8)

    def work(row: int) -> None:
        with reading(root):
            result[row] = perceptual_hash(_grey(dataset, checked_paths(root, files[row])))

    with ThreadPoolExecutor(cores()) as pool, console.progress("looking for near-duplicates", len(files)) as bar:
        rows = iter(range(len(files)))
        # In portions, so that Ctrl-C or an error need not wait for all of them.
        while portion := list(islice(rows, 512)):
            list(pool.map(work, portion))
            bar.advance(len(portion))
    replace_cache(path, f"{cache.name}-*.npy", result.tobytes())
    return result


def _grey(dataset: DatasetSpec, files: tuple[Path, ...]) -> np.ndarray:
    if dataset.likeness is not None:
        return dataset.likeness(files)
    grey: np.ndarray = cv2.cvtColor(np.ascontiguousarray(dataset.picture(dataset.read(files))), cv2.COLOR_RGB2GRAY)
    return grey


def _state(dataset: DatasetSpec, root: Path, files: ExtensionArray) -> str:
    """Return a key for a set of files: of the dataset, and of each file's name, size and modification time."""
    digest = hashlib.sha256(f"{FORMAT} {VERSION} {dataset.name}".encode())
    for row in files:
        for name in row:
            state = os.stat(root / name)
            digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def near_pairs(hashed: np.ndarray, console: Console) -> np.ndarray:
    """Return the pairs of rows whose hashes differ in at most `NEAR` bits, mx2, each once, the smaller row first.

    Of several rows with the same hash, the first is paired with the others and stands for them: a thousand black images
    are a thousand pairs, not a million, and who is near whom still follows. Different hashes are all compared, as
    products of bits written as 1 and -1: 31,072 rows are half a billion pairs and take some seconds.
    """
    unique, first, number = np.unique(hashed, axis=0, return_index=True, return_inverse=True)
    equal = np.column_stack([first[number.reshape(-1)], np.arange(len(hashed))])
    found = [equal[equal[:, 0] < equal[:, 1]]]
    starts = range(0, len(unique), BLOCK)
    with console.progress("comparing", len(unique)) as bar:
        for low in starts:
            own = _signs(unique[low : low + BLOCK])
            for high in starts[low // BLOCK :]:
                alike = own @ _signs(unique[high : high + BLOCK]).T  # bits that agree minus bits that differ
                a, b = np.nonzero(alike >= BITS - 2 * NEAR)
                pairs = np.column_stack([low + a, high + b])
                found.append(np.sort(first[pairs[pairs[:, 0] < pairs[:, 1]]], axis=1))
            bar.advance(len(own))
    return np.unique(np.concatenate(found), axis=0)


def _signs(hashed: np.ndarray) -> np.ndarray:
    return np.unpackbits(hashed, axis=1).astype(np.float32) * 2 - 1


def training_hashes(store: Store, index: Index, console: Console) -> np.ndarray:
    """Return the hash of each training row, n x 32 bytes."""
    cache = store.own / f"likeness-{store.dataset.name}-train"
    return hashes(store.dataset, index.root, index.train["files"].array, cache, console)


def clusters(count: int, *pairs: np.ndarray) -> np.ndarray:
    """Return a cluster number for each of `count` rows; rows that a chain of pairs (mx2) connects share one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate(pairs)
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    number: np.ndarray = connected_components(graph, directed=False)[1]
    return number


def with_near_duplicates(store: Store, index: Index, console: Console) -> Index:
    """Return the index with near-duplicates in one group, merged with the groups it has."""
    frame = index.train
    columns = [frame[name] for name in ("id", "group") if name in frame]
    near = near_pairs(training_hashes(store, index, console), console)
    found = f"{len(near):,} pair{'s' * (len(near) > 1)}" if len(near) else "none"
    console.say(f"near-duplicates: {found} among {len(frame):,} training images")
    cluster = clusters(len(frame), near, *(_alike(column) for column in columns))
    _, first, size = np.unique(cluster, return_index=True, return_counts=True)
    grouped = size[cluster] > 1
    if "group" in frame:
        grouped |= frame["group"].notna().to_numpy()
    # A cluster is named after the id of its first row.
    names = np.where(grouped, frame["id"].to_numpy(object)[first[cluster]], None)
    grouped_by = f"{index.grouped_by} and {GROUPED_BY}" if index.grouped_by else GROUPED_BY
    return replace(index, train=frame.assign(group=pd.Series(names, frame.index, dtype=object)), grouped_by=grouped_by)


def _alike(column: pd.Series) -> np.ndarray:
    """Pair each row with the first row of the same value; leave out missing values."""
    known = np.flatnonzero(column.notna())
    _, first, number = np.unique(pd.factorize(column.iloc[known])[0], return_index=True, return_inverse=True)
    return np.column_stack([known[first[number]], known])
