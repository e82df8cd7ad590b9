"""Which classes are confused with which, and the ids behind each count."""

from typing import Any

import numpy as np

from kit.reports.page.scored import Scored
from kit.scoring.table import label_confusion

ALL = 30  # up to so many classes, the matrix shows all
MOST = 20  # of more classes it shows the most confused
PAIRS = 30
IMAGES = 24  # ids per cell


def confusion(scored: Scored) -> dict[str, Any]:
    """Return the matrix, the most confused pairs of classes, and the worst ids of each cell.

    Rows are the truth, columns the predicted classes. For a multi-label task a cell counts the ids whose row label was
    missed and whose column label was predicted instead, the diagonal those whose label was found. With more than `ALL`
    classes, the classes of the matrix are those of the most frequent pairs.

    Returns:
        `classes` (numbers), `counts`, `support` (ids that have the class), `pairs`, and `cells`: ids by "row,column".
    """
    counts = _counts(scored)
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(cell), len(errors)) for cell in order if errors.flat[cell]]
    if len(counts) <= ALL:
        shown = list(range(len(counts)))
    else:
        shown = sorted(list(dict.fromkeys(number for pair in pairs for number in pair))[:MOST])
    worst = np.argsort(-scored.losses, kind="stable")
    wanted = dict.fromkeys([*((row, column) for row in shown for column in shown if counts[row, column]), *pairs])
    return {
        "classes": shown,
        "counts": counts[np.ix_(shown, shown)].tolist(),
        "support": scored.truth.sum(0)[shown].tolist(),
        "pairs": [{"truth": row, "predicted": column, "count": int(counts[row, column])} for row, column in pairs],
        "cells": {
            f"{row},{column}": scored.ids[worst[_members(scored, row, column)[worst]][:IMAGES]].tolist()
            for row, column in wanted
        },
    }


def _counts(scored: Scored) -> np.ndarray:
    """Count the ids of each true and predicted class, KxK."""
    if not scored.task.single_label:
        return label_confusion(scored.truth, scored.predicted)
    classes = len(scored.classes)
    codes = scored.truth.argmax(1) * classes + scored.predicted.argmax(1)
    return np.bincount(codes, minlength=classes**2).reshape(classes, classes)


def _members(scored: Scored, row: int, column: int) -> np.ndarray:
    """Return which ids a cell counts, n truth values."""
    truth, predicted = scored.truth, scored.predicted
    members: np.ndarray = truth[:, row] & predicted[:, column]
    if not scored.task.single_label and row != column:
        members &= ~predicted[:, row] & ~truth[:, column]
    return members
