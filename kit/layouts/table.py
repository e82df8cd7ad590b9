"""The most common layout in one call: a csv of ids and labels, two folders of images, a sample submission."""

from pathlib import Path

import numpy as np

from kit.data.index import Index
from kit.image_files import base_of
from kit.layouts.frames import with_images
from kit.layouts.labels import read_labels, target_of


def index_of_table(
    root: Path,
    task: str,
    classes: tuple[str, ...] = (),
    *,
    target: str | tuple[str, ...],
    id: str = "id",
    table: str = "train.csv",
    train: str = "train",
    test: str = "test",
    sample: str = "sample_submission.csv",
) -> Index:
    """Read a table of labels with the images of its ids, and the sample submission with those of the test.

    Ids may have the ending of a file or lack it. Rows without an image are left out, and lines of `kit check`.

    Args:
        root: the folder of the data; all of it may lie in a folder more.
        task: the name of a `kit.task.Task`.
        classes: in the order of the outputs; the labels in the table are their names or their numbers from 0. Empty:
            the labels that there are, sorted. Of several columns and of numbers, the names of the columns.
        target: the column of labels or numbers, or one for each class (0 or 1) or each number.
        id: the column of ids, of both tables.
        table: name of the csv of labels.
        train: folder of its images.
        test: folder of the test images.
        sample: name of the sample submission, whose ids are those to predict.

    Raises:
        KitError: a table or a column is not there, or a label is none.
    """
    root = base_of(root, table)
    columns = (target,) if isinstance(target, str) else target
    labels = read_labels(root / table, (id, *columns)).rename(columns={id: "id"})
    classes, texts = _classes(labels[columns[0]].tolist(), task, classes, columns)
    labels["target"] = target_of(labels, target, task, texts, root / table)
    ids = read_labels(root / sample, (id,)).rename(columns={id: "id"})
    known, absent = with_images(labels[["id", "target"]], "id", root, train)
    others, absent_too = with_images(ids[["id"]], "id", root, test)
    missing = {f"ids of {table} without an image": absent, f"ids of {sample} without an image": absent_too}
    return Index(root, task, classes, known, others, missing=missing)  # type: ignore[arg-type]


def _classes(
    values: list[str], task: str, classes: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes, and how the table writes them."""
    if task == "regression" or len(columns) > 1:
        return classes or columns, classes or columns
    found = set(np.unique(" ".join(values).split())) if task == "multilabel" else set(values)
    if not classes:
        classes = tuple(
            sorted(found, key=lambda text: (not text.isdecimal(), int(text) if text.isdecimal() else 0, text))
        )
    numbers = tuple(map(str, range(len(classes))))
    return classes, numbers if not found <= set(classes) and found <= set(numbers) else classes
