"""The csv for Kaggle: `id,label`, where the label is the probability of tumour."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from kit.errors import KitError
from kit.plugin import Finding
from kit.plugin.data import Index, base_of, numbers_of, refuse_repeated
from kit.plugin.files import atomic
from kit.plugin.predictions import Predictions
from kit.plugin.submission import check_table
from kit_histopathology.dataset import SAMPLE, read_labels


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

    mend = "correct it, or give another csv with id and label"
    ours, known = (_labels(csv, mend) for csv in (path, truth))
    if set(ours.index) != set(known.index):
        raise KitError(
            f"{path} ({len(ours)} rows) and {truth} ({len(known)}) do not list the same ids: "
            "give the truth of these test images"
        )
    target, values = known, ours.loc[known.index]
    if set(target) != {0, 1}:
        raise KitError(f"{truth}: its labels must be 0 and 1, both of them: give the published truth")
    area, accuracy = roc_auc_score(target, values), accuracy_score(target, values >= 0.5)
    return {"roc_auc": float(area), "accuracy": float(accuracy), "images": float(len(target))}


def _labels(path: Path, mend: str) -> pd.Series:
    """Return the labels of a csv by id, finite numbers; raise `KitError` if an id appears twice."""
    table = read_labels(path, mend)
    refuse_repeated(table["id"], path, mend)
    return pd.Series(numbers_of(table, "label", path, mend), index=table["id"])
