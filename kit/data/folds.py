"""Folds: which training images validate which network."""

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired

import numpy as np
import pandas as pd
from typing_extensions import TypedDict

from kit.console import Console
from kit.data.index import Index
from kit.data.near_duplicates import near_pairs, training_hashes, with_near_duplicates
from kit.data.store import Store
from kit.errors import KitError
from kit.files import locked, open_plain, read_json, write_bytes
from kit.run import Run
from kit.tables import read_exact

FOLDER = "folds"
FEWEST = 2  # folds


class FoldFacts(TypedDict):
    """What was written beside folds that are not sealed."""

    count: NotRequired[int]
    seed: int
    grouped_by: str
    ignores: NotRequired[str]
    digest: str


@dataclass(frozen=True)
class Folds:
    """The fold of every training id.

    Args:
        table: columns `id` and `fold` (0 .. count - 1), in the order of the index, and, where something kept samples
            together, `group`: the group's name, missing for ids without one.
        count: number of folds.
        seed: of the shuffle.
        grouped_by: what kept samples together (`slide`); empty when nothing did.
        ignores: the groups that span folds on purpose (`experiment`); empty when none do.
        run: the run whose own folds they are; empty for those beside the data.
    """

    table: pd.DataFrame
    count: int
    seed: int
    grouped_by: str
    ignores: str = ""
    run: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over all pairs of id and fold; equal folds have equal digests in any order."""
        digest, ids, fold = hashlib.sha256(), self.table["id"].to_numpy(object), self.table["fold"].to_numpy()
        for row in np.argsort(ids):
            digest.update(f"{ids[row]},{fold[row]}\n".encode())
        return digest.hexdigest()

    @property
    def facts(self) -> dict[str, Any]:
        """Everything but the table, as JSON."""
        return {
            "count": self.count,
            "seed": self.seed,
            "grouped_by": self.grouped_by,
            "ignores": self.ignores,
            "digest": self.digest,
        }

    def of(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the fold of each row of a frame of the index."""
        fold = frame["id"].map(self.fold_of)
        new, gone = frame["id"][fold.isna()], self.table["id"][~self.table["id"].isin(frame["id"])]
        if len(new) or len(gone):
            what = f"{new.iloc[0]} is in no fold" if len(new) else f"{gone.iloc[0]} is gone from the data"
            whose, mend = "the saved folds do", f"kit folds COMPETITION --folds {self.count} makes them again"
            if self.run:
                whose = f"the folds of run {self.run} (its own folds.csv) do"
                mend = "restore the tables and images that it learned from, or start a new run with kit train"
            count = len(new) + len(gone)
            ids = f"{count} ids, the first: " if count > 1 else ""
            raise KitError(f"{whose} not fit the data ({ids}{what}): {mend}")
        return fold.to_numpy(np.int64)

    @cached_property
    def fold_of(self) -> pd.Series:
        """The fold of each training id, indexed by id."""
        return self.table.set_index("id")["fold"]

    def of_ids(self, ids: np.ndarray) -> np.ndarray:
        """Return the fold of each of these training ids."""
        return self.fold_of.loc[ids].to_numpy()

    def groups(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the group number of each row of a frame of the index, for the groups these folds were made with."""
        if "group" not in self.table:
            return group_codes(frame)
        return group_codes(frame.assign(group=frame["id"].map(self.table.set_index("id")["group"])))

    def csv(self) -> bytes:
        """Return the table as csv."""
        buffer = io.BytesIO()
        self.table.to_csv(buffer, index=False, lineterminator="\n")
        return buffer.getvalue()


def make_folds(index: Index, count: int, seed: int) -> Folds:
    """Make stratified folds that keep groups together.

    An id without a known group is a group of its own. Without groups and with one class per id, scikit-learn's
    `StratifiedKFold` splits; otherwise a greedy algorithm assigns the groups (scikit-learn's grouped splitter needs
    19 s for 220,000 rows and supports one class only), and ids by the tenths of numbers.
    """
    frame = index.train.drop_duplicates("id")
    smallest = min(index.class_counts().values(), default=0)
    _refuse_few(len(frame), "training ids", count, "more are needed: kit check shows what the data lacks")
    grouped = index.grouped_by != "" and "group" in frame
    if not grouped and index.task.single_label and index.task.has_classes and smallest >= count:
        from sklearn.model_selection import StratifiedKFold

        fold = np.empty(len(frame), np.int64)
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
        for number, (_, held_out) in enumerate(splitter.split(frame, frame["target"])):
            fold[held_out] = number
    else:
        groups = group_codes(frame) if grouped else np.arange(len(frame))
        _refuse_few(int(groups.max()) + 1, "groups", count, "--ignore-groups splits them")
        fold = _greedy(_labels(index, frame), groups, count, seed)
    table = pd.DataFrame({"id": frame["id"].to_numpy(), "fold": fold})
    if grouped:
        table["group"] = frame["group"].to_numpy(object)
    return Folds(table, count, seed, index.grouped_by if grouped else "")


def _refuse_few(there: int, what: str, count: int, mend: str) -> None:
    """Raise `KitError` if there are fewer ids or groups than folds; `mend` is for fewer than two, which make none."""
    if there < count:
        mend = f"give --folds {there}" + (" or fewer" if there > FEWEST else "") if there >= FEWEST else mend
        raise KitError(f"{there} {what if there != 1 else what[:-1]} can't make {count} folds: {mend}")


def new_folds(
    store: Store, index: Index, count: int, seed: int, near: bool | None, console: Console, ignore_groups: bool = False
) -> Folds:
    """Make folds, keeping near-duplicates together if `near`; None: if the dataset has a `likeness` to tell them by.

    With `ignore_groups` the split is stratified but otherwise random: its scores flatter, to compare with honest ones.
    """
    if ignore_groups:
        return replace(make_folds(replace(index, grouped_by=""), count, seed), ignores=index.grouped_by)
    if store.dataset.likeness is not None if near is None else near:
        index = with_near_duplicates(store, index, console)
    return make_folds(index, count, seed)


def group_codes(frame: pd.DataFrame) -> np.ndarray:
    """Return the group number of each row; rows without a group get one of their own."""
    group = frame["group"] if "group" in frame else pd.Series(pd.NA, index=frame.index)
    codes, known = pd.factorize(group)
    alone = codes < 0
    codes[alone] = len(known) + np.arange(alone.sum())
    return codes


def _labels(index: Index, frame: pd.DataFrame) -> np.ndarray:
    """Return one column per class, tenth or given stratum, and one of ones to balance fold sizes too."""
    hot = _hot(index, frame)
    if "stratum" in frame:
        codes, known = pd.factorize(frame["stratum"])
        hot = np.eye(len(known), dtype=np.float32)[codes]
    return np.column_stack([hot, np.ones(len(frame), np.float32)])


def _hot(index: Index, frame: pd.DataFrame) -> np.ndarray:
    """Return targets as nxK of 0 and 1, with two columns for a binary task."""
    return index.task.strata(index.targets(frame), len(index.classes)).astype(np.float32)


def _greedy(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Assign each group, large ones first, to the fold that most lacks its labels.

    This choice reduces the sum of squared deviations of the folds' label shares the most.
    """
    shares = np.zeros((groups.max() + 1, labels.shape[1]))
    np.add.at(shares, groups, labels)
    # Weighting by rarity makes a rare class count as much as a frequent one.
    shares /= np.maximum(labels.sum(0), 1)
    shuffled = np.random.default_rng(seed).permutation(len(shares))
    order = shuffled[np.argsort(-np.linalg.norm(shares[shuffled], axis=1), kind="stable")]
    lacking = np.full((count, labels.shape[1]), 1 / count)
    fold_of_group = np.empty(len(shares), np.int64)
    for group in order:
        fold = int((lacking @ shares[group]).argmax())
        fold_of_group[group] = fold
        lacking[fold] -= shares[group]
    return fold_of_group[groups]


def groups_spanning_folds(index: Index, folds: Folds) -> int:
    """Count the groups (or ids) in more than one fold; 0 proves that nothing leaks by group."""
    fold = folds.of(index.train)
    # The groups of the data now, and those that the folds were made with.
    both = (group_codes(index.train), folds.groups(index.train))
    return max(int((pd.Series(fold).groupby(groups).nunique() > 1).sum()) for groups in both)


def near_duplicates_spanning_folds(store: Store, index: Index, folds: Folds, console: Console) -> int:
    """Count the pairs of near-duplicates (`kit.data.near_duplicates.near_pairs`) in different folds."""
    fold, pairs = folds.of(index.train), near_pairs(training_hashes(store, index, console), console)
    return int((fold[pairs[:, 0]] != fold[pairs[:, 1]]).sum())


@dataclass(frozen=True)
class Deviation:
    """The deviation of a label's share in a fold from its overall share: (share in the fold / overall share) - 1."""

    label: str
    fold: int
    ids: int
    in_all: int
    relative: float


def largest_deviation(index: Index, folds: Folds) -> Deviation:
    """Return the label and fold with the largest deviation."""
    rows = counts_by_fold(index, folds)
    sizes = np.array([row["ids"] for row in rows], np.float64)
    names = list(rows[0]["labels"])
    counts = np.array([list(row["labels"].values()) for row in rows], np.float64)
    expected = counts.sum(0) * (sizes / sizes.sum())[:, None]
    relative = np.where(expected > 0, counts / np.where(expected > 0, expected, 1) - 1, 0)
    fold, label = np.unravel_index(np.abs(relative).argmax(), relative.shape)
    own, in_all = int(counts[fold, label]), int(counts[:, label].sum())
    return Deviation(names[label], int(fold), own, in_all, float(relative[fold, label]))


def counts_by_fold(index: Index, folds: Folds) -> list[dict[str, Any]]:
    """Count each fold's `ids`, `groups` and, as `labels` and `strata`, its ids per class (or tenth) and stratum."""
    frame = index.train.drop_duplicates("id")
    fold, groups = folds.of(index.train)[~index.train["id"].duplicated()], folds.groups(frame)
    labels, names = _hot(index, frame), index.task.strata_names(index.targets(frame), index.classes)
    stratum = frame["stratum"].to_numpy(object) if "stratum" in frame else np.empty(0, object)
    strata = sorted(set(stratum))
    return [
        {
            "ids": int((fold == number).sum()),
            "groups": len(np.unique(groups[fold == number])),
            "labels": {name: int(n) for name, n in zip(names, labels[fold == number].sum(0), strict=True)},
            "strata": {name: int((stratum[fold == number] == name).sum()) for name in strata},
        }
        for number in range(folds.count)
    ]


def saved_folds(store: Store, count: int) -> Folds | None:
    """Return the `count` folds that `kit folds` or an earlier run left beside the data; None if there are none.

    Raises:
        KitError: the file was damaged, or written or changed by hand.
    """
    path = store.kept(f"{FOLDER}/{count}.csv")
    if not os.path.lexists(path):
        return None
    try:
        with open_plain(path, "r") as file:
            content: bytes = file.buffer.read()  # type: ignore[attr-defined]
        folds = _unsealed(path, content) or _of_a_pair(path, content)
        if folds.count != count:
            raise KitError(f"it holds {folds.count} folds")
    except _NewerError:
        raise
    except (KitError, OSError) as error:
        again = f"kit folds {store.competition.name} --folds {count} makes it again"
        raise KitError(f"{path} was damaged or changed by hand ({error}): {again}") from None
    return folds


def made_folds(store: Store, index: Index, count: int, console: Console) -> Folds:
    """Return the saved folds of this number; make and save them if there are none, one process at a time."""
    found = saved_folds(store, count)
    if found is not None:
        return found
    with _lock(store, count, console):
        found = saved_folds(store, count)
        if found is None:
            found = new_folds(store, index, count, 0, None, console)
            _save(store, found)
    return found


def save_folds(store: Store, folds: Folds, console: Console) -> Path:
    """Save folds beside the data, for every later run with that number of folds."""
    with _lock(store, folds.count, console):
        return _save(store, folds)


def folder_of(store: Store) -> Path:
    """Return the folder of the folds; raise `KitError` if nothing can be written into it."""
    return store.writable(store.own / FOLDER)


@contextlib.contextmanager
def _lock(store: Store, count: int, console: Console) -> Iterator[None]:
    folder_of(store)
    waiting = f"{count} folds: another process is making them: waiting for it"
    with locked(_path(store, count).with_suffix(".lock"), on_wait=lambda: console.say(waiting)):
        yield


def _save(store: Store, folds: Folds) -> Path:
    """Write one file, in one rename: the table as csv, and behind its column names the facts and a checksum of all."""
    path = _path(store, folds.count)
    names, _, rows = folds.csv().partition(b"\n")
    facts = json.dumps({**folds.facts, "sha256": ""})
    seal = hashlib.sha256(b"\n".join([names, facts.encode(), rows])).hexdigest()
    cell = facts.replace('"sha256": ""', f'"sha256": "{seal}"').replace('"', '""')
    write_bytes(path, names + f',"{cell}"\n'.encode() + rows)
    # Before, the facts were a file beside the csv.
    path.with_suffix(".json").unlink(missing_ok=True)
    return path


class _NewerError(KitError):
    """Folds that a later kit wrote: they are whole, and must not be made again in its place."""


def _unsealed(path: Path, content: bytes) -> Folds | None:
    """Read what `_save` wrote; None if there is no seal."""
    head, _, rows = content.partition(b"\n")
    names, found, cell = head.partition(b',"{')
    if not found:
        return None
    facts = "{" + cell.decode(errors="replace").removesuffix('"').replace('""', '"')
    seal = re.search(r'"sha256": "([0-9a-f]{64})"}$', facts)
    unsealed = facts[: seal.start(1)] + facts[seal.end(1) :] if seal else ""
    whole = b"\n".join([names, unsealed.encode(), rows])
    if seal is None or hashlib.sha256(whole).hexdigest() != seal[1] or not head.endswith(b'}"'):
        raise KitError("its checksum differs")
    known = json.loads(facts)
    if "format" in known:  # this kit's have none
        unknown = f"{path} has format {known['format']}, which this kit does not know"
        raise _NewerError(f"{unknown}: use the kit that wrote it")
    return _parsed(names + b"\n" + rows, known)


def _of_a_pair(path: Path, content: bytes) -> Folds:
    """Read folds whose facts are in a file beside them, as kit wrote them before it sealed one file."""
    if not path.with_suffix(".json").is_file():
        raise KitError("it has no checksum")
    facts = read_json(path.with_suffix(".json"), FoldFacts, "it belongs to the csv", sealed=False)
    folds = _parsed(content, facts)
    if folds.digest != facts["digest"]:
        raise KitError("its digest differs")
    return folds


def read_folds(path: Path, facts: Mapping[str, Any]) -> Folds:
    """Read a csv made by `Folds.csv`, with the `facts` saved beside it."""
    try:
        return _parsed(path.read_bytes(), facts)
    except (KitError, OSError) as error:
        raise KitError(f"{path} can't be read as folds ({error}): restore it, or train again") from None


def _parsed(content: bytes, facts: Mapping[str, Any]) -> Folds:
    """Read a table of folds, strictly: every id once, every fold below their number."""
    try:
        table = read_exact(content)
        table["fold"] = table["fold"].astype(np.int64)
        ids, fold = table["id"], table["fold"]
        count = int(facts.get("count", fold.max() + 1))
        seed, grouped_by, ignores = int(facts["seed"]), str(facts["grouped_by"]), str(facts.get("ignores", ""))
    except (ValueError, OverflowError, KeyError, TypeError) as error:
        raise KitError(f"it is no table of id and fold: {error}") from None
    if not len(table) or ids.duplicated().any() or fold.min() < 0 or fold.max() >= count:
        raise KitError(f"an id is listed twice, or a fold is not one of 0 to {count - 1}")
    if "group" in table:
        table["group"] = table["group"].astype(object).where(table["group"] != "", None)
    return Folds(table, count, seed, grouped_by, ignores)


def folds_of_run(run: Run) -> Folds:
    """Read the folds that a run was trained on, checked against its manifest."""
    return replace(read_folds(run.reading("folds.csv"), run.record["folds"]), run=run.id)


def _path(store: Store, count: int) -> Path:
    return store.own / FOLDER / f"{count}.csv"
