"""The csv for Kaggle: `Id,Predicted`, class numbers separated by spaces."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin import Finding
from kit.plugin.data import Index, base_of
from kit.plugin.files import atomic
from kit.plugin.predictions import Predictions
from kit.plugin.submission import bad_rows, beside_truth, check_rows
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


def grade(path: Path, truth: Path) -> Mapping[str, float]:
    """Return macro F1 of the csv at `path` against a csv `Id,Target` (as `train.csv`) or `Id,Predicted`, and what is
    behind it.

    As scikit-learn's `f1_score(average="macro", zero_division=0)` over all 28 classes: a class that is neither true nor
    predicted counts 0.

    Raises:
        KitError: the ids are not those of the truth, or a class number is unknown.
    """
    from kit.plugin.metrics import f1_by_class

    given, known = beside_truth(path, truth, COLUMN, ("Target", COLUMN), "Id")
    predicted, target = _multi_hot(given, path), _multi_hot(known, truth)
    by_class = f1_by_class(target, predicted)
    scores = {"macro_f1": float(by_class.mean())}
    scores |= {f"f1_{name}": float(f1) for name, f1 in zip(CLASSES, by_class, strict=True)}
    exact = float((target == predicted).all(1).mean())
    return scores | {"exact_match": exact, "classes_in_truth": float(target.any(0).sum()), "images": float(len(target))}


def _multi_hot(texts: pd.Series, path: Path) -> np.ndarray:
    """Return class numbers separated by spaces as truth values nx28."""
    rows = [text.split() for text in texts]
    for id_, words in zip(texts.index, rows, strict=True):
        if not VOCABULARY.issuperset(words):
            text = " ".join(words)[:40]
            raise KitError(
                f"{path}: {id_} has {text!r}, which are not class numbers 0 to {len(CLASSES) - 1}: correct it"
            )
    hot = np.zeros((len(rows), len(CLASSES)), bool)
    for row, words in enumerate(rows):
        hot[row, [int(word) for word in words]] = True
    return hot
