"""Labels that may be wrong, by confident learning (Northcutt, Jiang and Chuang 2021).

A class is a candidate for a row when its probability reaches the mean probability of rows with that label (which makes
up for classes of which the network is never sure). The likeliest candidate is what the row seems to be; where that is
not its label, the label is a suspect. The predictions must be out-of-fold.
"""

import numpy as np

from kit.task import Task


def find_suspects(task: Task, truth: np.ndarray, probabilities: np.ndarray) -> list[tuple[int, int, int, float]]:
    """Find the suspects, the surest first: row, class in question, class that it seems to be, margin.

    The margin is the probability of what it seems to be minus that of the label. In a multi-label task each label is a
    question of its own, yes or no, and both classes are that label.

    Args:
        task: of the competition.
        truth: nxK truth values.
        probabilities: nxK; two columns for a binary task.
    """
    found = []
    if not task.single_label:
        for label in range(truth.shape[1]):
            positive, values = truth[:, label].astype(int), probabilities[:, label].astype(np.float64)
            rows, _, margin = _suspects(positive, np.column_stack([1 - values, values]))
            found += [(row, label, label, own) for row, own in zip(rows.tolist(), margin.tolist(), strict=True)]
    else:
        labels = truth.argmax(1)
        rows, seems, margin = _suspects(labels, probabilities)
        found += list(zip(rows.tolist(), labels[rows].tolist(), seems.tolist(), margin.tolist(), strict=True))
    return sorted(found, key=lambda suspect: -suspect[3])


def _suspects(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, what each seems to be, and margins, from labels n and probabilities nxK."""
    rows, classes = np.arange(len(labels)), probabilities.shape[1]
    own = probabilities[rows, labels]
    count = np.bincount(labels, minlength=classes)
    # A class that labels no row is a candidate for none.
    mean = np.where(count > 0, np.bincount(labels, own, minlength=classes) / np.maximum(count, 1), np.inf)
    candidates = np.where(probabilities >= mean, probabilities, -1.0)
    seems = candidates.argmax(1)
    wrong = np.flatnonzero((candidates[rows, seems] >= 0) & (seems != labels))
    return wrong, seems[wrong], probabilities[wrong, seems[wrong]] - own[wrong]
