"""The csv for Kaggle: `Id,Predicted`, class numbers separated by spaces."""

from pathlib import Path

import numpy as np
import pandas as pd

from kit.plugin import Finding
from kit.plugin.data import Index, base_of
from kit.plugin.files import atomic
from kit.plugin.predictions import Predictions
from kit.plugin.submission import bad_rows, check_rows
from kit_protein.dataset import CLASSES, SAMPLE

VOCABULARY = frozenset(str(number) for number in range(len(CLASSES)))
COLUMN = "Predicted"


def write(predictions: Predictions, index: Index, path: Path) -> None:
    """Write the predicted classes of each test id, in the order of the sample submission; at least one per row."""
    ordered = predictions.mean_by_id().reorder(index.test["id"].to_numpy(object))
    texts = [" ".join(map(str, np.flatnonzero(row))) for row in ordered.predicted()]
    table = pd.DataFrame({"Id": ordered.ids, COLUMN: texts})
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def check(path: Path, root: Path) -> list[Finding]:
    """Check the csv at `path` against the sample submission in `root` and the 28 class numbers."""
    table, findings = check_rows(path, base_of(root, SAMPLE) / SAMPLE, without_endings=True)
    return findings if table is None else [*findings, *_check_labels(table)]


def _check_labels(table: pd.DataFrame) -> list[Finding]:
    texts = table[COLUMN]
    rows = [text.split() for text in texts]
    unknown = np.array([not VOCABULARY.issuperset(words) for words in rows], bool)
    doubled = np.array([len(set(words)) < len(words) for words in rows], bool) & ~unknown
    empty = np.array([not words for words in rows], bool)
    last = len(CLASSES) - 1
    findings = [
        *bad_rows(table, unknown, f"{COLUMN} is not a list of class numbers 0 to {last} separated by spaces", COLUMN),
        *bad_rows(table, doubled, f"{COLUMN} names a class twice", COLUMN),
        # Kaggle accepts it, but every image has a label.
        *bad_rows(table, empty, f"{COLUMN} is empty, which is never right", level="warning"),
    ]
    if not findings and len(texts) > 1 and texts.nunique() == 1:
        findings.append(Finding("warning", f"{COLUMN} is {texts.iloc[0]!r} in every row, as in a sample submission"))
    return findings
