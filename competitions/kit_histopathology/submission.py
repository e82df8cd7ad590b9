"""The csv for Kaggle: `id,label`, where the label is the probability of tumour."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.plugin import Finding
from kit.plugin.data import Index, base_of, numbers_of
from kit.plugin.files import atomic
from kit.plugin.predictions import Predictions
from kit.plugin.submission import beside_truth, check_table
from kit_histopathology.dataset import SAMPLE


def write(predictions: Predictions, index: Index, path: Path) -> None:
    """Write the probability of tumour of each test id, in the order of the sample submission.

    Nine significant digits keep the rank of every float32, and rank is all that ROC AUC sees.
    """
    ordered = predictions.mean_by_id().reorder(index.test["id"].to_numpy(object))
    table = pd.DataFrame({"id": ordered.ids, "label": ordered.values[:, 0]})
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n")


def check(path: Path, root: Path) -> list[Finding]:
    """Check the csv at `path` against the sample submission in `root`."""
    return check_table(path, base_of(root, SAMPLE) / SAMPLE, ("label",), without_endings=True)


def grade(path: Path, truth: Path) -> Mapping[str, float]:
    """Return ROC AUC of the csv at `path`, and accuracy at 0.5, against a csv `id,label` with labels 0 and 1.

    Raises:
        KitError: the ids are not those of the truth, or a value is not a number.
    """
    from sklearn.metrics import accuracy_score, roc_auc_score

    texts = beside_truth(path, truth, "label", ("label",))
    given, known = _numbers(texts[0], path), _numbers(texts[1], truth)
    if set(known) != {0, 1}:
        raise KitError(f"{truth}: its labels must be 0 and 1, both of them: give the published truth")
    area, accuracy = roc_auc_score(known, given), accuracy_score(known, given >= 0.5)
    return {"roc_auc": float(area), "accuracy": float(accuracy), "images": float(len(known))}


def _numbers(labels: pd.Series, path: Path) -> np.ndarray:
    """Return labels as finite numbers."""
    return numbers_of(labels.to_frame("label"), "label", path, "correct it, or give another csv with id and label")
