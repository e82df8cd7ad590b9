"""Which classes are taken for which, and which ids stand behind each count."""

from typing import Any

import numpy as np

from kit.reports.page.scored import Scored
from kit.scoring.table import label_confusion

ALL = 30  # so many classes have a row and a column each
MOST = 20  # of more classes those that are most confused
PAIRS = 30
IMAGES = 24  # ids a cell


def confusion(scored: Scored) -> dict[str, Any]:
    """The matrix, the pairs of classes that are most confused, and the worst ids of each cell.

    Rows are the truth, columns the answers. Of a multi-label task a cell counts the ids that lack the one label and are
    given the other instead, the diagonal those whose label was found. With more than `ALL` classes, the classes of the
    matrix are those of the most frequent pairs.

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
        "pairs": [{"truth": row, "answer": column, "count": int(counts[row, column])} for row, column in pairs],
        "cells": {
            f"{row},{column}": scored.ids[worst[_members(scored, row, column)[worst]][:IMAGES]].tolist()
            for row, column in wanted
        },
    }


def _counts(scored: Scored) -> np.ndarray:
    """KxK."""
    if not scored.task.single_label:
        return label_confusion(scored.truth, scored.predicted)
    classes = len(scored.classes)
    codes = scored.truth.argmax(1) * classes + scored.predicted.argmax(1)
    return np.bincount(codes, minlength=classes**2).reshape(classes, classes)


def _members(scored: Scored, row: int, column: int) -> np.ndarray:
    """Which ids a cell counts, n truth values."""
    truth, decided = scored.truth, scored.predicted
    members: np.ndarray = truth[:, row] & decided[:, column]
    if not scored.task.single_label and row != column:
        members &= ~decided[:, row] & ~truth[:, column]
    return members
