"""The csv that Kaggle takes: `id,label`, the label being the probability of tumour."""

from pathlib import Path

import pandas as pd

from kit.data.index import Index
from kit.files import atomic
from kit.inference.predictions import Predictions
from kit.inference.submission import check_table
from kit.plugin import Finding


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
