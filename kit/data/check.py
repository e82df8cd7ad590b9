"""Check that the data on disk is complete and consistent: decode every image, compare everything with everything."""

import contextlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd

from kit.console import Console, Progress
from kit.data.folds import group_codes, make_folds
from kit.data.images import read_sample
from kit.data.index import Index, odd_labels
from kit.data.verify import Decoded, decode_all
from kit.errors import KitError
from kit.hooks.specs import DatasetSpec
from kit.images.levels import known_ranges, reading

SIDES = re.compile(r"\d+x\d+ ")
FOLDS = 5  # of the random split that is checked for leaks


@dataclass(frozen=True)
class Check:
    """One check and its outcome.

    Args:
        name: what was checked.
        result: the outcome, in a few words.
        offenders: every wrong id or file, with what is wrong about it; empty when nothing is.
    """

    name: str
    result: str
    offenders: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the check found nothing wrong."""
        return not self.offenders


@dataclass(frozen=True)
class Report:
    """All checks of a competition's data.

    Args:
        images: number of samples in train and test.
        checks: in the order in which they ran.
        classes: number of training ids per class; empty for numbers.
        targets: of each target of a regression, its figures (`Index.target_figures`).
    """

    images: dict[str, int]
    checks: tuple[Check, ...]
    classes: dict[str, int]
    targets: dict[str, dict[str, float]]

    @property
    def ok(self) -> bool:
        """Whether every check found nothing wrong."""
        return all(check.ok for check in self.checks)


@dataclass(frozen=True)
class Samples:
    """One decoded split.

    Args:
        frame: the index's frame; the other fields follow its rows.
        digests: 16 bytes per row, over its pixels; empty where a file failed.
        kinds: one per row, `96x96 RGB` (`96x96 RGB + 48x48 L` where its files differ); empty where a file failed.
        errors: row -> the file that failed and why.
        second: what Pillow had to read -> number of rows.
    """

    frame: pd.DataFrame
    digests: np.ndarray
    kinds: list[str]
    errors: dict[int, str]
    second: Counter[str]

    def file(self, row: int) -> str:
        """Return the first file of a row, which names the sample in messages."""
        return self.frame["files"].iat[row][0]


def check_data(dataset: DatasetSpec, index: Index, console: Console) -> Report:
    """Decode every image of train and test and compare ids, labels, sizes, channels and pixels.

    Time grows linearly with the number of images; memory by some 30 bytes per image, besides the index.
    """
    for frame in (index.train, index.test):  # what is deep is measured once, not by every process
        for row in (0, len(frame) // 2, -1) if len(frame) else ():
            _try(dataset, index.root, frame["files"].iat[row])
    files = chain(index.train["files"], index.test["files"])
    # Processes are forked here, before a progress bar starts its thread.
    decoded = decode_all(str(index.root), files, read=dataset.read)
    with console.progress("decoding", len(index.train) + len(index.test)) as bar:
        train = _decode(index.train, decoded, bar)
        test = _decode(index.test, decoded, bar)
    checks = (
        *_random_split(index),
        *(Check(name, str(len(ids)) if ids else "none", ids) for name, ids in index.missing.items()),
        _labels(index),
        _decoding(train, test),
        *_second_reader(train, test),
        *_levels(dataset, index.root, train, test),
        _sizes(dataset, train, test),
        _channels(dataset, index.root, train, test),
        _duplicates(train),
        _shared_ids(train, test),
        _shared_pixels(train, test),
    )
    classes = index.class_counts() if index.task.has_classes else {}
    return Report({"train": len(index.train), "test": len(index.test)}, checks, classes, index.target_figures())


def _try(dataset: DatasetSpec, root: Path, files: tuple[str, ...]) -> None:
    """Read a sample; what can't be read is named with all others."""
    with contextlib.suppress(Exception):  # of foreign code
        read_sample(dataset, root, files)


def _decode(frame: pd.DataFrame, every: Iterator[Decoded], bar: Progress) -> Samples:
    digests = np.zeros(len(frame), "S16")
    kinds: list[str] = []
    errors: dict[int, str] = {}
    second: Counter[str] = Counter()
    for row, decoded in enumerate(islice(every, len(frame))):
        digests[row] = decoded.digest
        # Interned: there are few kinds, and one string per row would take most of the memory.
        kinds.append("" if decoded.error else sys.intern(" + ".join(dict.fromkeys(decoded.kinds))))
        if decoded.error:
            errors[row] = decoded.error
        second[decoded.second] += 1
        bar.advance()
    del second[""]
    return Samples(frame, digests, kinds, errors, second)


def _decoding(*splits: Samples) -> Check:
    offenders = tuple(error for samples in splits for error in samples.errors.values())
    total = sum(len(samples.frame) for samples in splits)
    result = f"{len(offenders)} of {total} can't be decoded" if offenders else f"all {total} decode"
    return Check("images decode", result, offenders)


def _second_reader(*splits: Samples) -> Iterator[Check]:
    """Say what OpenCV can't read: no fault, but it takes several times as long."""
    kinds = sum((samples.second for samples in splits), Counter[str]())
    if kinds:
        total = sum(len(samples.frame) for samples in splits)
        yield Check("read by Pillow, slower", f"{kinds.total():,} of {total:,}: {', '.join(sorted(kinds))}")


def _levels(dataset: DatasetSpec, root: Path, *splits: Samples) -> Iterator[Check]:
    """Say what becomes black and white in images of more than eight bits: the same for all of them."""
    for samples in splits:
        bands = {SIDES.sub("", kind): row for row, kind in enumerate(samples.kinds) if kind}
        for row in bands.values():  # whoever read the deep ones, this process has to
            _try(dataset, root, samples.frame["files"].iat[row])
    ranges = known_ranges(root)
    texts = [f"{dtype}: {low:,.6g} to {high:,.6g} become 0 to 255" for dtype, (low, high) in sorted(ranges.items())]
    if texts:
        yield Check("levels of more than 8 bits", "; ".join(texts))


def _labels(index: Index) -> Check:
    """Count the classes that occur, and say what is odd about the labels; data of one class can't be learned from."""
    odd = odd_labels(index)
    if not index.task.has_classes:
        result = f"{len(index.classes) - len(odd)} of {len(index.classes)} with different numbers"
        return Check("targets", "; ".join([result, *odd]), tuple(odd))
    counts = index.class_counts()
    present = sum(count > 0 for count in counts.values())
    result = f"{present} of {len(counts)} classes have training images"
    return Check("labels", "; ".join([result, *odd]), tuple(odd[:1]) if present == 1 else ())


def _random_split(index: Index) -> Iterator[Check]:
    """Count what a split that ignores the groups would leak: held-out ids whose group is trained on too.

    This is no fault of the data, so there are no offenders.
    """
    if not index.grouped_by or index.train["id"].nunique() < FOLDS:
        return
    folds = make_folds(replace(index, grouped_by=""), FOLDS, 0)
    frame = index.train.drop_duplicates("id")
    fold, group = folds.of(index.train)[~index.train["id"].duplicated()], group_codes(frame)
    together = pd.Series(1, index=range(len(frame))).groupby([group, fold]).transform("sum").to_numpy()
    alike = pd.Series(1, index=range(len(frame))).groupby(group).transform("sum").to_numpy()
    leaking = int((alike > together).sum())
    yield Check(
        f"{index.grouped_by}s and a random split",
        f"{leaking:,} of {len(frame):,} ids ({leaking / len(frame):.1%}) have their {index.grouped_by} on both sides "
        f"of a random {FOLDS}-fold split; kit folds keeps them together ({int((alike > 1).sum()):,} ids share theirs)",
    )


def _sizes(dataset: DatasetSpec, *splits: Samples) -> Check:
    """Compare sizes and bands with those of most images, but for what may differ."""

    def compared(kind: str) -> list[tuple[str, str]]:
        parts = [file_kind.split(" ", 1) for file_kind in kind.split(" + ")]
        return [("" if dataset.any_size else size, "" if dataset.any_bands else bands) for size, bands in parts]

    counts = Counter(kind for samples in splits for kind in samples.kinds if kind)
    if not counts:
        return Check("size and bands", "no image to measure")
    norm = compared(counts.most_common(1)[0][0])
    offenders = tuple(
        f"{samples.file(row)}: {kind}"
        for samples in splits
        for row, kind in enumerate(samples.kinds)
        if kind and compared(kind) != norm
    )
    return Check("size and bands", ", ".join(f"{count} of {kind}" for kind, count in counts.most_common(5)), offenders)


def _channels(dataset: DatasetSpec, root: Path, *splits: Samples) -> Check:
    """Read one sample of each kind with the dataset's own reader."""
    first: dict[str, tuple[str, ...]] = {}
    for samples in splits:
        for row, kind in enumerate(samples.kinds):
            if kind and kind not in first:
                first[kind] = samples.frame["files"].iat[row]
    wrong = {files[0]: _misread(dataset, root, tuple(root / name for name in files)) for files in first.values()}
    offenders = tuple(f"{name}: {text}" for name, text in wrong.items() if text)
    result = f"{len(offenders)} kinds of image are read differently" if offenders else "as the dataset says"
    return Check(f"read as {dataset.channels} channels", result, offenders)


def _misread(dataset: DatasetSpec, root: Path, files: tuple[Path, ...]) -> str:
    try:
        with reading(root):
            array = dataset.read(files)
    except KitError as error:
        return str(error)
    right = array.ndim == 3 and array.shape[2] == dataset.channels and array.dtype == np.uint8
    return "" if right else f"returns {array.dtype} of {'x'.join(map(str, array.shape))}"


def _duplicates(train: Samples) -> Check:
    """Find training samples with the same pixels as an earlier one."""
    _, first, number = np.unique(train.digests, return_index=True, return_inverse=True)
    earlier, offenders = first[number].tolist(), []
    for row in np.flatnonzero((earlier != np.arange(len(earlier))) & (train.digests != b"")).tolist():
        own, other = (train.frame["target"].iat[which] for which in (row, earlier[row]))
        conflict = "" if own == other else f" (labels {own} and {other})"
        offenders.append(f"{train.file(row)} = {train.file(earlier[row])}{conflict}")
    return Check("exact duplicates in train", str(len(offenders)) if offenders else "none", tuple(offenders))


def _shared_ids(train: Samples, test: Samples) -> Check:
    shared = tuple(test.frame["id"][test.frame["id"].isin(train.frame["id"])].unique())
    return Check("ids in train and test", str(len(shared)) if shared else "none", shared)


def _shared_pixels(train: Samples, test: Samples) -> Check:
    if not len(train.digests):
        return Check("pixels in train and test", "none")
    pixels, first = np.unique(train.digests, return_index=True)
    number = np.searchsorted(pixels, test.digests).clip(max=len(pixels) - 1)
    shared = (pixels[number] == test.digests) & (test.digests != b"")
    rows = zip(np.flatnonzero(shared).tolist(), first[number[shared]].tolist(), strict=True)
    offenders = tuple(f"{test.file(row)} = {train.file(earlier)}" for row, earlier in rows)
    return Check("pixels in train and test", str(len(offenders)) if offenders else "none", offenders)
