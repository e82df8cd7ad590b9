"""Checks of a dataset: its index, its reader, and what else it offers."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from kit.data.folds import make_folds
from kit.data.index import Index
from kit.errors import KitError
from kit.hooks.leash import reason
from kit.hooks.returns import shown
from kit.hooks.specs import Picture
from kit.paths import IMAGE
from kit.testing import watch
from kit.testing.check import Broken, check, need, suppose
from kit.testing.data import copied, data_of, index_error, index_of, other_order, read, same_frames, samples, variant_of
from kit.testing.subject import Subject

FOLDS = 2


@check("dataset/index", "return kit.plugin.data.Index(root, task, classes, train, test)")
def index_is_made(subject: Subject) -> str:
    """`index` returns an index with training and test samples."""
    data = data_of(subject, subject.spec)
    try:
        index = subject.spec.index(data.root)
    except KitError as error:
        suppose(variant_of(subject, subject.spec) is None, f"the miniature lacks what it reads: {error}")
        raise
    need(isinstance(index, Index), f"index() returns {shown(index)}, not a kit.plugin.data.Index")
    need(len(index.train), "index().train is empty")
    need(len(index.test), "index().test is empty")
    return f"{len(index.train):,} training and {len(index.test):,} test rows"


@check("dataset/decodes-no-image", "tell samples by names and tables: 220,025 images take minutes to decode")
def decodes_no_image(subject: Subject) -> None:
    """`index` decodes no image."""
    with copied(subject, data_of(subject, subject.spec)) as root, _decoders() as decoded:
        _ = _quietly(lambda: subject.spec.index(root))
    need(not decoded, f"index() decodes images, by {decoded[0] if decoded else ''}, {len(decoded)} times")


@check("dataset/opens-no-image", "read sizes and labels from tables: every start of training makes the index", "advice")
def opens_no_image(subject: Subject) -> None:
    """`index` opens no image."""
    with copied(subject, data_of(subject, subject.spec)) as root:
        opened: list[str] = []
        with watch.opening(opened):
            _ = _quietly(lambda: subject.spec.index(root))
    found = [path for path in opened if IMAGE.search(path)]
    need(not found, f"index() opens {len(found)} image files, such as {found[0].rpartition('/')[2] if found else ''}")


@check("dataset/unique-ids", "give each sample an id of its own, or several samples of an id a column `sample`")
def unique_ids(subject: Subject) -> None:
    """Ids are unique, or a column `sample` tells the samples of one id apart."""
    error = index_error(subject, subject.spec)
    need("two different values" not in error, error)
    for name, frame in _frames(subject):
        key = ["id", "sample"] if "sample" in frame else ["id"]
        twice = frame.duplicated(key, keep=False)
        first = frame["id"][twice].iloc[0] if twice.any() else ""
        need(not twice.any(), f"index().{name} has {int(twice.sum())} rows of ids that are not unique, such as {first}")


@check("dataset/text-ids", "make ids text: read_table keeps them so, pandas.read_csv makes numbers of 007")
def text_ids(subject: Subject) -> None:
    """Ids are text in both parts, without blanks around them."""
    error = index_error(subject, subject.spec)
    need(": the id of" not in error, error)
    for name, frame in _frames(subject):
        odd = [value for value in frame["id"] if not isinstance(value, str) or value != value.strip()]
        need(not odd, f"index().{name} has the id {odd[0]!r}" if odd else "")


@check("dataset/targets", "count classes from 0, in the order of `classes`; several labels are a tuple")
def targets(subject: Subject) -> None:
    """Every target is one of the task."""
    error = index_error(subject, subject.spec)
    need(": the target of" not in error, error)
    index = index_of(subject, subject.spec)
    values = index.targets(index.train)
    need(len(values) == len(index.train), "there are fewer targets than rows")


@check("dataset/every-class", "count classes from 0, and name only those that occur")
def every_class(subject: Subject) -> None:
    """Every class has a training sample."""
    counts = index_of(subject, subject.spec).class_counts()
    absent = [name for name, count in counts.items() if not count]
    from_one = "; do targets count from 1?" if absent and absent[0] == next(iter(counts)) else ""
    need(not absent, f"no training sample has the class {', '.join(absent[:3])}{from_one}")


@check("dataset/train-test-apart", "leave test samples out of the training frame")
def apart(subject: Subject) -> None:
    """No id and no file is both in train and in test."""
    index = index_of(subject, subject.spec)
    both = set(index.train["id"]) & set(index.test["id"])
    need(not both, f"{len(both)} ids are both in train and in test, such as {min(both) if both else ''}")
    files = [{name for row in frame["files"] for name in row} for frame in (index.train, index.test)]
    shared = files[0] & files[1]
    need(not shared, f"{len(shared)} files are both in train and in test, such as {min(shared) if shared else ''}")


@check("dataset/groups-apart", "leave the groups of test samples out of train, or the column out of test")
def groups_apart(subject: Subject) -> None:
    """No group is both in train and in test."""
    index = index_of(subject, subject.spec)
    suppose("group" in index.train and "group" in index.test, "only one part has groups")
    both = set(index.train["group"].dropna()) & set(index.test["group"].dropna())
    need(not both, f"{len(both)} groups are both in train and in test, such as {min(map(str, both), default='')}")


@check("dataset/test-without-target", "leave the column out: what is predicted must not be known", "advice")
def test_without_target(subject: Subject) -> None:
    """The test frame has no target."""
    need("target" not in index_of(subject, subject.spec).test, "index().test has a column target")


@check("dataset/grouped-by", "say grouped_by=..., what the groups are; without it they are ignored")
def grouped_by(subject: Subject) -> None:
    """An index with groups says what they are."""
    index = index_of(subject, subject.spec)
    known = "group" in index.train and bool(index.train["group"].notna().any())
    need(not known or index.grouped_by, "index().train has a column group, and grouped_by is empty: folds ignore it")


@check("dataset/files-exist", "name files relative to the root, with their endings")
def files_exist(subject: Subject) -> None:
    """Every file that the index names is there."""
    index = index_of(subject, subject.spec)
    for name, frame in _frames(subject):
        absent = [file for files in frame["files"] for file in files if not (index.root / file).is_file()]
        need(not absent, f"index().{name} names {len(absent)} files that are not there, such as {absent[:1]}")


@check("dataset/relative-files", "name files relative to the root: the folder may lie elsewhere tomorrow")
def relative_files(subject: Subject) -> None:
    """Files are named relative to the root, so that the folder can be moved."""
    for name, frame in _frames(subject):
        odd = [file for files in frame["files"] for file in files if file.startswith(("/", "~")) or ".." in file]
        need(not odd, f"index().{name} names {odd[0] if odd else ''}, which is not relative to the root")


@check("dataset/same-again", "sort what is listed, and draw nothing at random")
def same_again(subject: Subject) -> None:
    """The index is the same from call to call."""
    differs = same_frames(index_of(subject, subject.spec), subject.spec.index(data_of(subject, subject.spec).root))
    need(not differs, f"index() differs from call to call: {differs}")


@check("dataset/any-order-of-folders", "sort what os.listdir, glob and iterdir list: each disk has its own order")
def any_order(subject: Subject) -> None:
    """The index does not depend on the order in which a disk lists its folders."""
    first = index_of(subject, subject.spec)
    with other_order():
        again = subject.spec.index(data_of(subject, subject.spec).root)
    differs = same_frames(first, again)
    need(not differs, f"index() depends on the order in which folders are listed: {differs}")


@check("dataset/any-place", "begin with the root that index() is given, and keep nothing from call to call")
def any_place(subject: Subject) -> None:
    """The same folder in another place gives the same index."""
    first = index_of(subject, subject.spec)
    with copied(subject, data_of(subject, subject.spec)) as root:
        moved = subject.spec.index(root)
        need(moved.root.resolve() == root.resolve(), f"index() of {root.name} has the root {moved.root}")
        differs = same_frames(first, moved)
    need(not differs, f"the same data in another folder gives another index: {differs}")


@check("dataset/writes-nothing", "keep what is computed in memory: data may be read-only")
def writes_nothing(subject: Subject) -> None:
    """Neither `index` nor `read` writes a file."""
    index, before = index_of(subject, subject.spec), len(watch.written)
    subject.spec.index(index.root)
    read(subject.spec, index, samples(index)[0])
    written = watch.written[before:]
    need(not written, f"index() or read() writes {written[0] if written else ''}")


@check("dataset/names-what-is-missing", "raise KitError: one line, what is missing and how to get it", "advice")
def names_missing(subject: Subject) -> None:
    """Of an empty folder `index` says in one line what is missing."""
    empty = subject.folder / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    empty.mkdir()
    try:
        subject.spec.index(empty)
    except KitError:
        return
    except Exception as error:
        raise Broken(f"of an empty folder index() raises {reason(error)}, not a KitError") from None


@check("dataset/folds", "give each class, or each group, more samples")
def folds(subject: Subject) -> None:
    """Folds can be made, and each has training and validation samples of several classes."""
    index = index_of(subject, subject.spec)
    made = make_folds(index, FOLDS, 0)
    counts = np.bincount(made.of(index.train), minlength=FOLDS)
    need(counts.min() > 0, "a fold is empty")


@check("dataset/reads-uint8", "return uint8 of HxWxC, with C = channels")
def reads_uint8(subject: Subject) -> None:
    """`read` returns uint8 of HxWxC."""
    index, channels = index_of(subject, subject.spec), subject.spec.channels
    for files in samples(index):
        image = read(subject.spec, index, files)
        need(_is_image(image, channels), f"read() returns {shown(image)}, not uint8 of HxWx{channels}")


@check("dataset/reads-the-same", "draw nothing at random: augmentation is kit's")
def reads_the_same(subject: Subject) -> None:
    """`read` returns the same pixels for the same files, whatever was done to those that it returned before."""
    index = index_of(subject, subject.spec)
    for files in samples(index)[:2]:
        image = np.array(read(subject.spec, index, files))
        again = read(subject.spec, index, files)
        need(np.array_equal(image, again), "read() returns different pixels for the same files")
        if isinstance(again, np.ndarray) and again.flags.writeable:
            again[...] = 0
        third = read(subject.spec, index, files)
        need(np.array_equal(image, third), "read() returns an array that it keeps: writing into it changes the next")


@check("dataset/reads-rgb", "turn the channels round: OpenCV reads blue first, kit.plugin.images.read_rgb red")
def reads_rgb(subject: Subject) -> None:
    """Colours come in the order red, green, blue."""
    from PIL import Image

    index = index_of(subject, subject.spec)
    suppose(subject.spec.channels == 3, "it does not have three channels")
    for files in samples(index):
        suppose(len(files) == 1, "a sample has several files")
        image = np.asarray(read(subject.spec, index, files), np.float64)
        with Image.open(index.root / files[0]) as file:
            suppose(file.mode == "RGB" and file.size == (image.shape[1], image.shape[0]), "they are stored otherwise")
            known = np.asarray(file, np.float64)
        plain, turned = (np.abs(known - each).mean() for each in (image, image[..., ::-1]))
        need(plain <= max(2 * turned, 1.0), "read() returns blue, green, red")


@check("dataset/composite", "return uint8 of HxWx3, of the same height and width")
def composite(subject: Subject) -> None:
    """`composite` makes an RGB picture of what `read` returns."""
    suppose(subject.spec.composite is not None, "it has none: the first three channels are shown")
    index = index_of(subject, subject.spec)
    image = read(subject.spec, index, samples(index)[0])
    picture = subject.spec.composite(image)
    shape = getattr(picture, "shape", None)
    right = shape == (*image.shape[:2], 3) and picture.dtype == np.uint8
    need(right, f"composite() returns {shown(picture)}, not uint8 of HxWx3")


@check("dataset/likeness", "return uint8 of HxW")
def likeness(subject: Subject) -> None:
    """`likeness` returns a grey picture."""
    suppose(subject.spec.likeness is not None, "it has none")
    index = index_of(subject, subject.spec)
    picture = subject.spec.likeness(tuple(index.root / name for name in samples(index)[0]))
    right = getattr(picture, "ndim", 0) == 2 and picture.dtype == np.uint8
    need(right, f"likeness() returns {shown(picture)}, not uint8 of HxW")


@check("dataset/statistics", "return mean and standard deviation, each nxC, for pixels of 0 to 1, or None")
def statistics(subject: Subject) -> None:
    """`statistics` gives a mean and a standard deviation of each row's channels."""
    suppose(subject.spec.statistics is not None, "it has none: kit measures them")
    index = index_of(subject, subject.spec)
    found = subject.spec.statistics(index, index.train.head(4))
    suppose(found is not None, "the data does not provide them")
    for values, name in zip(found, ("mean", "standard deviation"), strict=True):
        shape = (min(4, len(index.train)), subject.spec.channels)
        need(np.shape(values) == shape, f"the {name} is {shown(values)}, not of {shape[0]}x{shape[1]}")
        need(np.isfinite(values).all() and np.min(values) >= 0 and np.max(values) <= 1, f"a {name} is not in 0 to 1")


@check("dataset/figures", "yield kit.plugin.Picture(name, caption, figure), each with a name of its own")
def figures(subject: Subject) -> None:
    """`figures` yields pictures with names of their own."""
    suppose(subject.spec.figures is not None, "it has none of its own")
    import matplotlib as mpl

    mpl.use("agg")
    names = []
    for picture in subject.spec.figures(index_of(subject, subject.spec)):
        need(isinstance(picture, Picture), f"figures() yields {shown(picture)}, not a kit.plugin.Picture")
        need(picture.caption.strip(), f"picture {picture.name} has no caption")
        names.append(picture.name)
    need(len({*names}) == len(names), f"two pictures have the name {max(names, key=names.count, default='')}")


def _frames(subject: Subject) -> Iterator[tuple[str, pd.DataFrame]]:
    index = index_of(subject, subject.spec)
    yield "train", index.train
    yield "test", index.test


def _is_image(image: Any, channels: int) -> bool:
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == channels


def _quietly(work: Any) -> Any:
    try:
        return work()
    except Exception:  # dataset/index and dataset/any-place say so
        return None


@contextmanager
def _decoders() -> Iterator[list[str]]:
    """Within the block, note each image that is decoded, by whichever library."""
    import cv2
    from PIL import Image, ImageFile

    places: list[tuple[Any, str]] = [(cv2, name) for name in ("imread", "imdecode", "imreadmulti")]
    places += [(ImageFile.ImageFile, "load"), (Image.Image, "convert"), (Image.Image, "resize")]
    decoded: list[str] = []
    plain = [(place, name, getattr(place, name)) for place, name in places]

    def noting(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            decoded.append(name)
            return function(*arguments, **options)

        return call

    for place, name, function in plain:
        setattr(place, name, noting(f"{place.__name__}.{name}", function))
    try:
        yield decoded
    finally:
        for place, name, function in plain:
            setattr(place, name, function)
