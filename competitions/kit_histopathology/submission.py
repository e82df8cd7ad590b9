"""The csv that Kaggle takes: `id,label`, the label being the probability of tumour."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from kit.errors import KitError
from kit.plugin import Finding
from kit.plugin.data import Index, read_table
from kit.plugin.files import atomic
from kit.plugin.predictions import Predictions
from kit.plugin.submission import check_table


def write(predictions: Predictions, index: Index, path: Path) -> None:
    """Write the probability of tumour of each test id, in the order of the sample submission.

    Nine significant digits: every float32 keeps its rank, and rank is what ROC AUC sees.
    """
    ordered = predictions.mean_by_id().reorder(index.test["id"].to_numpy(object))
    table = pd.DataFrame({"id": ordered.ids, "label": ordered.values[:, 0]})
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n")


def check(path: Path, root: Path) -> list[Finding]:
    """Findings about the csv at `path`, held against the sample submission in `root`."""
    return check_table(path, root / "sample_submission.csv", ("label",))


def grade(path: Path, truth: Path) -> Mapping[str, float]:
    """ROC AUC of the csv at `path`, and accuracy at 0.5, over the ids of a csv `id,label` of labels 0 and 1.

    Raises:
        KitError: the ids are not those of the truth, or a value is no number.
    """
    from sklearn.metrics import accuracy_score, roc_auc_score

    given = read_table(path, ("id", "label"), "kit submit histopathology --dry-run writes one").set_index("id")["label"]
    known = read_table(truth, ("id", "label"), "give --truth a csv with id and label").set_index("id")["label"]
    if given.index.has_duplicates or set(given.index) != set(known.index):
        raise KitError(
            f"{path} ({len(given)} rows) and {truth} ({len(known)}) are not of the same ids: "
            "give the truth of these test images"
        )
    target, values = (pd.to_numeric(column.loc[known.index], errors="coerce") for column in (known, given))
    if target.isna().any() or values.isna().any():
        raise KitError(f"a label of {truth if target.isna().any() else path} is no number: correct it")
    area, right = roc_auc_score(target, values), accuracy_score(target, values >= 0.5)
    return {"roc_auc": float(area), "accuracy": float(right), "images": float(len(target))}
