"""The data that checks read: a miniature, drawn once, or else the competition's own where this disk has it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kit.data.index import Index
from kit.hooks.specs import Competition, DatasetSpec
from kit.images.levels import reading
from kit.paths import IMAGE, data_dir, holds_data
from kit.testing.check import Skipped, suppose
from kit.testing.subject import Subject, specs_of

DONE = ".done"
SMALL = 5000  # files of a folder that is copied


@dataclass(frozen=True)
class Data:
    """The data of a dataset.

    Args:
        spec: the dataset.
        root: its folder.
        drawn: whether it is the miniature.
    """

    spec: DatasetSpec
    root: Path
    drawn: bool


def data_of(subject: Subject, spec: DatasetSpec) -> Data:
    """Return the data of a dataset; raise `Skipped` if there is none."""
    if spec.miniature is not None:
        return Data(spec, miniature_of(subject, spec), True)
    base = variant_of(subject, spec)
    if base is not None:
        return Data(spec, miniature_of(subject, base), True)
    for competition in subject.own("competition"):
        if competition.dataset == spec.name and holds_data(root := data_dir(competition.slug), set()):
            return Data(spec, root, False)
    raise Skipped(f"dataset {spec.name} has no miniature, and its data is not on this disk")


def variant_of(subject: Subject, spec: DatasetSpec) -> DatasetSpec | None:
    """Return the dataset whose data this one reads in another way (`--set dataset=NAME`): that of the plugin's one
    competition, if it has a miniature; None for a dataset that stands alone."""
    competitions = subject.own("competition")
    if spec.miniature is not None or len(competitions) != 1 or competitions[0].dataset == spec.name:
        return None
    bases = [each for each in subject.own("dataset") if each.name == competitions[0].dataset]
    return bases[0] if bases and bases[0].miniature is not None else None


def miniature_of(subject: Subject, spec: DatasetSpec) -> Path:
    """Return the folder of the miniature of seed 0, which is drawn once; raise `Skipped` if that fails."""
    root = subject.folder / f"miniature-{subject.plugin.name}-{spec.name}"
    if not root.with_suffix(DONE).exists():
        shutil.rmtree(root, ignore_errors=True)
        try:
            draw(spec, root, 0)
        except Exception as error:
            raise Skipped("the miniature can't be drawn: see miniature/draws") from error
        root.with_suffix(DONE).touch()
    return root


def draw(spec: DatasetSpec, root: Path, seed: int) -> None:
    """Draw a miniature into a new folder."""
    if spec.miniature is None:
        raise Skipped(f"dataset {spec.name} has no miniature")
    root.mkdir(parents=True)
    spec.miniature(root, seed)


def index_of(subject: Subject, spec: DatasetSpec) -> Index:
    """Return the index, which is made once; raise `Skipped` if that fails."""
    key = f"index {spec.name}"
    if key not in subject.kept:
        data = data_of(subject, spec)
        try:
            subject.kept[key] = spec.index(data.root)
        except Exception as error:
            subject.kept[key] = error
    found = subject.kept[key]
    suppose(isinstance(found, Index), "there is no index: see dataset/index")
    index: Index = found
    return index


def index_error(subject: Subject, spec: DatasetSpec) -> str:
    """Return the message of the error with which the index fails; empty if it does not."""
    with suppress(Skipped):
        index_of(subject, spec)
    return str(subject.kept.get(f"index {spec.name}", "")) if not _has_index(subject, spec) else ""


def _has_index(subject: Subject, spec: DatasetSpec) -> bool:
    return isinstance(subject.kept.get(f"index {spec.name}"), Index)


def read(spec: DatasetSpec, index: Index, files: tuple[str, ...]) -> Any:
    """Read one sample."""
    with reading(index.root):
        return spec.read(tuple(index.root / name for name in files))


def samples(index: Index) -> list[tuple[str, ...]]:
    """Return the files of some samples of both parts."""
    return [*index.train["files"].head(3), *index.test["files"].head(2)]


def competition_of(subject: Subject, field: str) -> Competition:
    """Return the plugin's competition whose field names the subject's spec; raise `Skipped` if it has none."""
    for competition in subject.own("competition"):
        if getattr(competition, field) == subject.name:
            return competition
    raise Skipped(f"no competition of this plugin has this {field}")


def dataset_of(subject: Subject, competition: Competition) -> DatasetSpec:
    """Return the dataset of a competition, as its plugin gives it; raise `Skipped` if no plugin does."""
    for plugin in subject.registry.plugins.records:
        for spec in specs_of(subject.registry.plugins.module_of(plugin), "dataset"):
            if spec.name == competition.dataset:
                return spec
    raise Skipped(f"no dataset is called {competition.dataset}")


@contextmanager
def copied(subject: Subject, data: Data) -> Iterator[Path]:
    """Give a copy of the data's folder in another place, in which tables may be changed; images are linked."""
    suppose(data.drawn, "the data is not a miniature, and too much to copy")
    target = subject.folder / "copy"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(data.root, target, copy_function=_link)
    try:
        yield target
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _link(source: str, target: str) -> None:
    os.link(source, target) if IMAGE.search(source) else shutil.copy2(source, target)


@contextmanager
def other_order() -> Iterator[None]:
    """Within the block, folders are listed in another order, as another disk would."""
    plain_list, plain_scan = os.listdir, os.scandir

    class Scan:
        def __init__(self, *where: Any) -> None:
            with plain_scan(*where) as entries:
                self.entries = iter(list(entries)[::-1])

        def __iter__(self) -> Iterator[Any]:
            return self.entries

        def __next__(self) -> Any:
            return next(self.entries)

        def __enter__(self) -> "Scan":
            return self

        def __exit__(self, *_: object) -> None: ...

        def close(self) -> None: ...

    os.listdir = lambda *where: sorted(plain_list(*where), reverse=True)  # type: ignore[assignment]
    os.scandir = Scan  # type: ignore[assignment]
    try:
        yield
    finally:
        os.listdir, os.scandir = plain_list, plain_scan


def same_frames(one: Index, other: Index) -> str:
    """Say in which frame and column two indexes differ; empty if they are the same."""
    for name in ("train", "test", "external", "controls"):
        left, right = getattr(one, name), getattr(other, name)
        if list(left.columns) != list(right.columns) or len(left) != len(right):
            return f"{name} has {len(left)} rows, then {len(right)}"
        for column in left.columns:
            if not _same(left[column], right[column]):
                return f"{name}'s column {column} differs"
    return "" if one.classes == other.classes else "the classes differ"


def _same(one: pd.Series, other: pd.Series) -> bool:
    if one.dtype == object or other.dtype == object:
        return list(map(str, one)) == list(map(str, other))
    return np.array_equal(one.to_numpy(), other.to_numpy(), equal_nan=one.dtype.kind == "f")
