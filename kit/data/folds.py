"""Folds: which part of the training data validates which network."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit.data.index import Index
from kit.data.store import Store
from kit.errors import KitError
from kit.files import read_json, write_bytes, write_json
from kit.run import Run


@dataclass(frozen=True)
class Folds:
    """The fold of every training id.

    Args:
        table: columns `id` and `fold` (0 .. count - 1), in the order of the index.
        count: number of folds.
        seed: of the shuffle.
        grouped_by: what kept samples together (`slide`); empty when nothing did.
    """

    table: pd.DataFrame
    count: int
    seed: int
    grouped_by: str

    @property
    def digest(self) -> str:
        """SHA-256 over all pairs of id and fold; equal folds have equal digests whatever their order."""
        digest, ids, fold = hashlib.sha256(), self.table["id"].to_numpy(object), self.table["fold"].to_numpy()
        for row in np.argsort(ids):
            digest.update(f"{ids[row]},{fold[row]}\n".encode())
        return digest.hexdigest()

    def of(self, frame: pd.DataFrame) -> np.ndarray:
        """The fold of each row of a frame of the index."""
        fold = frame["id"].map(self.table.set_index("id")["fold"])
        if fold.isna().any() or len(self.table) != frame["id"].nunique():
            raise KitError(
                f"the folds do not fit the data (first unknown id: {frame['id'][fold.isna()].head(1).tolist()}): "
                "make them again with kit folds"
            )
        return fold.to_numpy(np.int64)

    def csv(self) -> bytes:
        """The table as csv."""
        buffer = io.BytesIO()
        self.table.to_csv(buffer, index=False, lineterminator="\n")
        return buffer.getvalue()


def make_folds(index: Index, count: int, seed: int) -> Folds:
    """Stratified folds that keep groups together.

    Ids without a known group stand alone. Without groups, scikit-learn's `StratifiedKFold` for one label an id;
    otherwise a greedy over groups (scikit-learn's grouped splitter needs 19 s for 220,000 rows and knows one label).
    """
    frame = index.train.drop_duplicates("id")
    smallest = min(index.class_counts().values(), default=0)
    if len(frame) < count:
        raise KitError(f"{len(frame)} training ids can't make {count} folds: give a smaller --folds")
    grouped = index.grouped_by != "" and "group" in frame
    if not grouped and index.task != "multilabel" and smallest >= count:
        from sklearn.model_selection import StratifiedKFold

        fold = np.empty(len(frame), np.int64)
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
        for number, (_, held_out) in enumerate(splitter.split(frame, frame["target"])):
            fold[held_out] = number
    else:
        groups = group_codes(frame)
        if groups.max() + 1 < count:
            raise KitError(f"{groups.max() + 1} groups can't make {count} folds: give a smaller --folds")
        fold = _greedy(_labels(index, frame), groups, count, seed)
    table = pd.DataFrame({"id": frame["id"].to_numpy(), "fold": fold})
    return Folds(table, count, seed, index.grouped_by if grouped else "")


def group_codes(frame: pd.DataFrame) -> np.ndarray:
    """A number a group for each row; rows without a group get one of their own."""
    group = frame["group"] if "group" in frame else pd.Series(pd.NA, index=frame.index)
    codes, known = pd.factorize(group)
    alone = codes < 0
    codes[alone] = len(known) + np.arange(alone.sum())
    return codes


def _labels(index: Index, frame: pd.DataFrame) -> np.ndarray:
    """One column a class, and one of ones so that the folds' sizes are balanced too."""
    targets = index.targets(frame)
    if index.task != "multilabel":
        targets = np.eye(len(index.classes), dtype=np.float32)[targets.reshape(-1).astype(np.int64)]
    return np.column_stack([targets, np.ones(len(frame), np.float32)])


def _greedy(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Give each group, large ones first, to the fold that most lacks the labels it brings.

    That choice lowers the sum of squared deviations of the folds' label shares most.
    """
    brings = np.zeros((groups.max() + 1, labels.shape[1]))
    np.add.at(brings, groups, labels)
    # Weighting by rarity makes a rare class count as much as a frequent one.
    brings /= np.maximum(labels.sum(0), 1)
    shuffled = np.random.default_rng(seed).permutation(len(brings))
    order = shuffled[np.argsort(-np.linalg.norm(brings[shuffled], axis=1), kind="stable")]
    lacking = np.full((count, labels.shape[1]), 1 / count)
    fold_of_group = np.empty(len(brings), np.int64)
    for group in order:
        fold = int((lacking @ brings[group]).argmax())
        fold_of_group[group] = fold
        lacking[fold] -= brings[group]
    return fold_of_group[groups]


def groups_spanning_folds(index: Index, folds: Folds) -> int:
    """How many groups (or ids) stand in more than one fold; 0 is the proof that nothing leaks by group."""
    groups = group_codes(index.train)
    fold = folds.of(index.train)
    return int((pd.Series(fold).groupby(groups).nunique() > 1).sum())


def counts_by_fold(index: Index, folds: Folds) -> list[dict[str, int]]:
    """For each fold its ids, its groups and its ids of each class."""
    frame = index.train.drop_duplicates("id")
    fold, groups = folds.of(index.train)[~index.train["id"].duplicated()], group_codes(frame)
    labels = _labels(index, frame)[:, :-1]
    return [
        {
            "ids": int((fold == number).sum()),
            "groups": len(np.unique(groups[fold == number])),
            **{name: int(n) for name, n in zip(index.classes, labels[fold == number].sum(0), strict=True)},
        }
        for number in range(folds.count)
    ]


def saved_folds(store: Store, count: int) -> Folds | None:
    """The folds of that number that `kit folds` or an earlier run left beside the data."""
    path = _path(store, count)
    if not path.is_file():
        return None
    facts = read_json(path.with_suffix(".json"))
    folds = read_folds(path, facts["seed"], facts["grouped_by"])
    if folds.digest != facts["digest"]:
        raise KitError(f"{path} was changed by hand: kit folds {store.competition.name} --folds {count} makes it anew")
    return folds


def save_folds(store: Store, folds: Folds) -> Path:
    """Keep folds beside the data, for every later run with that number of folds."""
    path = _path(store, folds.count)
    write_bytes(path, folds.csv())
    facts = {"count": folds.count, "seed": folds.seed, "grouped_by": folds.grouped_by, "digest": folds.digest}
    write_json(path.with_suffix(".json"), facts)
    return path


def read_folds(path: Path, seed: int, grouped_by: str) -> Folds:
    """Read a csv of `Folds.csv`."""
    table = pd.read_csv(path, dtype={"id": str, "fold": np.int64}, keep_default_na=False)
    return Folds(table, int(table["fold"].max()) + 1, seed, grouped_by)


def folds_of_run(run: Run) -> Folds:
    """The folds that a run was trained on, held against its manifest."""
    facts = run.record["folds"]
    return read_folds(run.reading("folds.csv"), facts["seed"], facts["grouped_by"])


def _path(store: Store, count: int) -> Path:
    return store.root / ".kit" / "folds" / f"{count}.csv"
